#!/usr/bin/env bash
# A label map that NumPy made as int64 and nibabel saved as such.
#
# ANTsPy 0.6.3, SimpleITK 2.5.7, nibabel 5.4.2.
# From memory: what one reader of NIfTI reads, all read.
# Seen: SimpleITK reads it; ANTsPy raises KeyError: 'long'. (nibabel itself asks for `dtype="int64"` since version 5.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
nibabel: int64
SimpleITK: 64-bit signed integer
ANTsPy: KeyError 'long'
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 nibabel==5.4.2 SimpleITK==2.5.7 antspyx==0.6.3
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import ants
import nibabel
import numpy as np
import SimpleITK

labels = np.arange(64).reshape(4, 4, 4)
nibabel.save(nibabel.Nifti1Image(labels, np.eye(4), dtype="int64"), "labels.nii")
print("nibabel:", nibabel.load("labels.nii").get_data_dtype())
print("SimpleITK:", SimpleITK.ReadImage("labels.nii").GetPixelIDTypeAsString())
try:
    print("ANTsPy:", ants.image_read("labels.nii").pixeltype)
except KeyError as error:
    print("ANTsPy: KeyError", error)
PYTHON
cat seen
diff expected seen && echo "As described."
