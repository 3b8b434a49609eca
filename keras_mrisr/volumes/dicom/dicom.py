"""DICOM as a format of volumes."""

import pathlib

from keras_mrisr.files import visible_files
from keras_mrisr.volumes.dicom.read import read_dicom as read
from keras_mrisr.volumes.dicom.write import check_dicom_target as check_target
from keras_mrisr.volumes.dicom.write import write_dicom as write

__all__ = ["ENDINGS", "NAME", "check_target", "read", "recognises", "write"]

NAME = "DICOM"
ENDINGS = (".dcm",)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is a DICOM file, or a folder with DICOM files in it or below."""
    if not path.is_dir():
        return _begins_as_dicom(path)
    return any(_begins_as_dicom(file) for file in visible_files(path))


def _begins_as_dicom(path: pathlib.Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    # With a preamble, or as old files without one: with a tag of group 8.
    return head[128:] == b"DICM" or head[:2] == b"\x08\x00"
