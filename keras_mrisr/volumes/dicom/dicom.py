"""DICOM as a format of volumes."""

import pathlib

from keras_mrisr.files import visible_files
from keras_mrisr.volumes.dicom.files import begins_as_dicom
from keras_mrisr.volumes.dicom.read import read_dicom as read
from keras_mrisr.volumes.dicom.write import check_dicom_target as check_target, write_dicom as write

__all__ = ["ENDINGS", "NAME", "check_target", "read", "recognises", "write"]

NAME = "DICOM"
ENDINGS = (".dcm",)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is a DICOM file, gzipped or not, or a folder with DICOM files in it or below."""
    if not path.is_dir():
        return begins_as_dicom(path)
    return any(begins_as_dicom(file) for file in visible_files(path))
