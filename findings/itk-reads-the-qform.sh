#!/usr/bin/env bash
# A NIfTI file whose sform (code 2 to 4) and qform (code 1) differ, as after a registration to a template.
#
# SimpleITK 2.5.7, ANTsPy 0.6.3, nibabel 5.4.2.
# From memory: every reader takes the sform where its code is not 0.
# Seen: ITK and so ANTsPy take the sform only where its code is 1 (scanner); for 2, 3 and 4 (aligned, Talairach, MNI) they take the
# qform, and place the image elsewhere than nibabel does. Where the slope is 0 and the intercept is not, ITK adds the
# intercept, and nibabel, as the standard says, neither.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
sform code 1 at z = 100, qform code 1 at z = 5: nibabel 100, SimpleITK 100, ANTsPy 100
sform code 2 at z = 100, qform code 1 at z = 5: nibabel 100, SimpleITK 5, ANTsPy 5
sform code 3 at z = 100, qform code 1 at z = 5: nibabel 100, SimpleITK 5, ANTsPy 5
sform code 4 at z = 100, qform code 1 at z = 5: nibabel 100, SimpleITK 5, ANTsPy 5
stored 7, slope 0, intercept 10: nibabel 7, SimpleITK 17
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 nibabel==5.4.2 SimpleITK==2.5.7 antspyx==0.6.3
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import struct

import ants
import nibabel
import numpy as np
import SimpleITK

sform, qform = np.eye(4), np.eye(4)
sform[2, 3], qform[2, 3] = 100, 5
for code in (1, 2, 3, 4):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), "float32"), None)
    image.header.set_sform(sform, code)
    image.header.set_qform(qform, 1)
    nibabel.save(nibabel.Nifti1Image(image.dataobj, None, image.header), "forms.nii")
    places = nibabel.load("forms.nii").affine[2, 3], SimpleITK.ReadImage("forms.nii").GetOrigin()[2]
    of_nibabel, of_itk, of_ants = map(round, (*places, ants.image_read("forms.nii").origin[2]))
    print(f"sform code {code} at z = 100, qform code 1 at z = 5: ", end="")
    print(f"nibabel {of_nibabel}, SimpleITK {of_itk}, ANTsPy {of_ants}")
nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), 7, "int16"), np.eye(4)), "slope.nii")
with open("slope.nii", "r+b") as file:
    file.seek(112)  # scl_slope and scl_inter
    file.write(struct.pack("<ff", 0, 10))
of_nibabel = nibabel.load("slope.nii").get_fdata()[0, 0, 0]
of_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("slope.nii"))[0, 0, 0]
print(f"stored 7, slope 0, intercept 10: nibabel {of_nibabel:.0f}, SimpleITK {of_itk:.0f}")
PYTHON
cat seen
diff expected seen && echo "As described."
