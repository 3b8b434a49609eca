"""Reading and writing volumes: the one place that chooses a format by what a path holds.

A format is a module with the members of `Format`. A new one is one file and one line in `FORMATS`.
"""

import os
import pathlib
from typing import Protocol

from keras_mrisr.errors import DataError
from keras_mrisr.volumes import freesurfer, itk, nifti, pair, tiff_stack
from keras_mrisr.volumes.dicom import dicom
from keras_mrisr.volumes.volume import Volume


class Reader(Protocol):
    """What a module must have to be a format that is read."""

    @property
    def NAME(self) -> str: ...

    def recognises(self, path: pathlib.Path) -> bool:
        """Whether what lies at a path is of this format."""

    def read(self, path: pathlib.Path, index: int | None, series: str | int | None) -> Volume:
        """Reads one volume; see `read_volume`."""


class Format(Reader, Protocol):
    """What a module must have to be a format that is written, too."""

    @property
    def ENDINGS(self) -> tuple[str, ...]:
        """Of the files that it writes, in lower case."""

    def check_target(self, volume: Volume, path: pathlib.Path, overwrite: bool) -> None:
        """Raises DataError unless `write` can write a result of this size and type at a path."""

    def write(self, volume: Volume, path: pathlib.Path, overwrite: bool) -> list[pathlib.Path]:
        """Writes a volume, whole or not at all; returns the files that it wrote."""


WRITTEN: tuple[Format, ...] = (nifti, freesurfer, itk, dicom)
FORMATS: tuple[Reader, ...] = (*WRITTEN[:-1], pair, tiff_stack, dicom)
ENDINGS = (*(ending for one in WRITTEN[:-1] for ending in one.ENDINGS), ".hdr", ".img")
"""Endings of the files that hold a volume each."""
IN_FOLDERS = nifti.ENDINGS
"""Endings of the volumes that are taken out of a folder; others, many of them segmentations, one by one."""


def format_at(path: str | os.PathLike[str]) -> Reader | None:
    """The format of the file or folder at a path; None where it is no volume."""
    path = pathlib.Path(path)
    return next((one for one in FORMATS if one.recognises(path)), None)


def is_in_folder(path: pathlib.Path) -> bool:
    """Whether a file of a folder is one of its volumes, as its name says."""
    return path.name.lower().endswith(IN_FOLDERS)


def target_in(path: pathlib.Path, source_format: Reader, target: pathlib.Path) -> pathlib.Path:
    """Where the result for a source goes if the target is a folder that exists.

    A file goes into it under its own name, or as NIfTI where its format is not written. A series of DICOM is
    a folder itself.
    """
    if source_format is dicom or not target.is_dir():
        return target
    if format_for(path) is not dicom:
        return target / path.name
    return target / f"{path.name.removesuffix('.gz').rpartition('.')[0]}.nii.gz"


def format_for(target: str | os.PathLike[str]) -> Format:
    """The format that a name to write asks for: by its ending, or else a folder of DICOM."""
    name = pathlib.Path(target).name.lower()
    return next((one for one in WRITTEN if name.endswith(one.ENDINGS)), dicom)


def read_volume(
    path: str | os.PathLike[str], index: int | None = None, series: str | int | None = None
) -> Volume:
    """Reads a NIfTI file, or an MR series from a DICOM folder (searched recursively) or file.

    Args:
        path: `.nii`, `.nii.gz`, a DICOM file, or a folder of DICOM files.
        index: Which volume of a 4-D file or series (echoes, time points), from 0.
        series: Which series of a DICOM folder: its number, description or SeriesInstanceUID. Not needed
            where only one can be read as a volume; localizers are left out.

    Returns:
        The volume. DICOM arrays are (column, row, slice), slices in ascending order along the normal;
        MONOCHROME1 is turned so that high is bright, and turned back when written as DICOM.

    Raises:
        DataError: Nothing there, broken, 4-D without an index, several series, a series of NIfTI, or
            slices that don't make a volume (missing, duplicate, of several orientations or sizes, colour,
            not MR).
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist. Give a .nii or .nii.gz file or a DICOM folder.")
    return (format_at(path) or dicom).read(path, index, series)


def write_volume(volume: Volume, path: str | os.PathLike[str], overwrite: bool = False) -> list[pathlib.Path]:
    """Writes a volume, whole or not at all: NIfTI by its ending, or else a folder of DICOM.

    Headers come from the file that the volume was read from, changed where the values or the geometry
    did. A volume that comes from DICOM can become NIfTI, not the other way round.

    Args:
        volume: What to write, such as the result of `Volume.upscaled`.
        path: `.nii` or `.nii.gz`, or the folder for DICOM files (`.dcm` for one multi-frame file).
        overwrite: Replace what is there.

    Returns:
        The files that were written.

    Raises:
        DataError: See `check_target`; or the disk is full.
    """
    path = pathlib.Path(path)
    check_target(volume, path, overwrite)
    return format_for(path).write(volume, path, overwrite)


def check_target(volume: Volume, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Checks, before the long work, that a result for `volume` can be written at `path`.

    Args:
        volume: What was read, or the result.
        path: See `write_volume`.
        overwrite: Whether what is there may be replaced: a file, or a folder of earlier results.

    Raises:
        DataError: `path` exists, is or holds the source, or cannot be written; or it asks for DICOM and
            the volume doesn't come from DICOM, or lies in the folder that it comes from.
    """
    path = pathlib.Path(path)
    here = path.resolve()
    for source in getattr(volume.source, "paths", ()):
        if here == source.resolve() or here in source.resolve().parents:
            raise DataError(f"{path} is or holds the source {volume.name}. Choose another name.")
    format_for(path).check_target(volume, path, overwrite)
