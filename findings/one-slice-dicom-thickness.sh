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


def write(folder, slices, spacing_between=True, **tags):
    """A series of 16x16 slices, 5 mm thick and apart."""
    folder = pathlib.Path(folder)
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for place in range(slices):
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.Modality, one.Manufacturer, one.PatientID, one.PatientName = "MR", "SIEMENS", "phantom", "phantom"
        one.PatientBirthDate = one.PatientSex = one.AccessionNumber = one.ReferringPhysicianName = ""
        one.StudyID, one.StudyDate, one.StudyTime, one.PositionReferenceIndicator = "1", "20200101", "120000", ""
        one.SeriesNumber, one.InstanceNumber = 1003, place + 1
        one.SeriesDescription, one.ProtocolName = "t1_mprage SR", "t1_mprage"
        one.ScanningSequence, one.SequenceVariant, one.ScanOptions, one.MRAcquisitionType = "GR", "SK", "", "3D"
        one.EchoTime, one.RepetitionTime, one.InversionTime, one.FlipAngle, one.EchoTrainLength = 3, 2000, 900, 9, 1
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * place]
        one.PixelSpacing, one.SliceThickness = [2, 2], 5
        if spacing_between:
            one.SpacingBetweenSlices = 5
        one.Rows = one.Columns = 16
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit = 15
        for keyword, value in tags.items():
            setattr(one, keyword, value)
        one.PixelData = np.full((16, 16), place + 1, "uint16").tobytes()
        one.save_as(folder / f"{place}.dcm", enforce_file_format=True)


for given in (False, True):
    folder = f"series{given}"
    write(folder, 1, given, ImageType=["ORIGINAL", "PRIMARY", "M"])
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    of_itk = reader.Execute().GetSpacing()[2]
    geometry = highdicom.get_volume_from_series([pydicom.dcmread(f"{folder}/0.dcm")])
    print(f"SpacingBetweenSlices {5 if given else 'absent'}: ", end="")
    print(f"SimpleITK {of_itk:.0f} mm, highdicom {geometry.spacing[0]:.0f} mm")
PYTHON
cat seen
diff expected seen && echo "As described."
