#!/usr/bin/env bash
# A DICOM series of one slice with SliceThickness 5 and no SpacingBetweenSlices.
#
# SimpleITK 2.5.7, highdicom 0.28.2, pydicom 3.0.2.
# From memory: where there is no second slice, the spacing is SliceThickness.
# Seen: both say 1 mm, silently. With SpacingBetweenSlices both say 5 mm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
SpacingBetweenSlices absent: SimpleITK 1 mm, highdicom 1 mm
SpacingBetweenSlices 5: SimpleITK 5 mm, highdicom 5 mm
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 pydicom==3.0.2 highdicom==0.28.2 SimpleITK==2.5.7
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import pathlib

import highdicom
import numpy as np
import SimpleITK

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

for given in (False, True):
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    one.Modality, one.InstanceNumber = "MR", 1
    one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    one.PixelSpacing, one.SliceThickness = [2, 2], 5
    if given:
        one.SpacingBetweenSlices = 5
    one.Rows = one.Columns = 16
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelData = np.ones((16, 16), "uint16").tobytes()
    path = pathlib.Path(f"series{given}/0.dcm")
    path.parent.mkdir()
    one.save_as(path, enforce_file_format=True)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path.parent)))
    of_itk = reader.Execute().GetSpacing()[2]
    geometry = highdicom.get_volume_from_series([pydicom.dcmread(path)])
    print(f"SpacingBetweenSlices {5 if given else 'absent'}: ", end="")
    print(f"SimpleITK {of_itk:.0f} mm, highdicom {geometry.spacing[0]:.0f} mm")
PYTHON
cat seen
diff expected seen && echo "As described."
