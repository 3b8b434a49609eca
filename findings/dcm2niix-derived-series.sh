#!/usr/bin/env bash
# A derived series (super-resolution, say) through dcm2niix.
#
# dcm2niix 1.0.20260724, pydicom 3.0.2.
# From memory: the JSON sidecar carries what says that the images are derived, and how.
# Seen: ImageType is kept, DerivationDescription is dropped, and BidsGuess has a name whose parts are empty. With `-i y` (ignore derived, localizer
# and 2-D images) nothing is converted, and the exit code is 0 all the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
dcm2niix -b y: exit 0, 1 volume, ImageType DERIVED PRIMARY M, DerivationDescription False, BidsGuess derived _acq-_run-1003
dcm2niix -b y -i y: exit 0, 0 volumes
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 pydicom==3.0.2 dcm2niix==1.0.20260724
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import pathlib
import subprocess

import dcm2niix
import numpy as np

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


pathlib.Path("series").mkdir()
study, series, frame = generate_uid(), generate_uid(), generate_uid()
for place in range(4):  # 16x16, 5 mm thick and apart.
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    one.ImageType = ["DERIVED", "PRIMARY", "M"]
    one.DerivationDescription = "Super-resolution by 2"
    one.Modality, one.Manufacturer, one.PatientID = "MR", "SIEMENS", "phantom"
    one.StudyDate, one.StudyTime = "20200101", "120000"
    one.SeriesNumber, one.InstanceNumber = 1003, place + 1
    one.SeriesDescription, one.ProtocolName = "t1_mprage SR", "t1_mprage"
    one.ScanningSequence, one.SequenceVariant, one.MRAcquisitionType = "GR", "SK", "3D"
    one.EchoTime, one.RepetitionTime, one.InversionTime, one.FlipAngle = 3, 2000, 900, 9
    one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * place]
    one.PixelSpacing, one.SliceThickness, one.SpacingBetweenSlices = [2, 2], 5, 5
    one.Rows = one.Columns = 16
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelData = np.full((16, 16), place + 1, "uint16").tobytes()
    one.save_as(f"series/{place}.dcm", enforce_file_format=True)

for words in (["-b", "y"], ["-b", "y", "-i", "y"]):
    out = pathlib.Path("".join(words))
    out.mkdir()
    done = subprocess.run([dcm2niix.bin, *words, "-f", "x", "-o", out, "series"], capture_output=True)
    volumes = len(list(out.glob("*.nii")))
    print(f"dcm2niix {' '.join(words)}: exit {done.returncode}, {volumes} volume{'s' * (volumes != 1)}", end="")
    for path in out.glob("*.json"):
        header = json.loads(path.read_text())
        derivation = "DerivationDescription" in header
        print(f", ImageType {' '.join(header['ImageType'])}, DerivationDescription {derivation}", end="")
        print(f", BidsGuess {' '.join(header['BidsGuess'])}", end="")
    print()
PYTHON
cat seen
diff expected seen && echo "As described."
