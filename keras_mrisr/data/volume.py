"""A scan as an array that knows where it lies; reading and writing it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_mrisr.data import geometry
from keras_mrisr.data.stored_values import like_type
from keras_mrisr.errors import InputError
from keras_mrisr.files import check_new_file

NIFTI_SUFFIXES = (".nii", ".nii.gz")
_KEPT_AS = {"bool": "uint8", "float16": "float32"}


@dataclass(frozen=True, eq=False)
class Volume:
    """An array of voxels and its place in the world.

    Attributes:
        array: (X, Y, Z) or (X, Y, Z, C) in the file's own orientation; the scanner's values (rescale
            applied): the file's integer type where they are integers, float32 or float64 otherwise. Booleans
            become uint8, and float16 becomes float32: files have neither.
        affine: (4, 4) float64 from voxel indices to RAS+ millimetres.
        name: What messages call it: the path it was read from.
        description: What was done to it, for the headers of what is written: one line that names the
            program, its version and the model.
        quantity: What the values are where they are no longer the scanner's ("standard deviation").
        source: The headers of the file it comes from, for writing the same form again; opaque.

    Raises:
        InputError: No real numbers, not 3-D (or 3-D with channels), empty, or an affine that cannot be
            inverted.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = "the volume"
    description: str = ""
    quantity: str | None = None
    source: Any = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        array = array.astype(_KEPT_AS.get(array.dtype.name, array.dtype), copy=False)
        if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            raise InputError(
                f"{self.name} holds {array.dtype} voxels. Give integers or real numbers of up to 64 bits."
            )
        object.__setattr__(self, "array", array)
        affine = np.array(self.affine, dtype="float64")
        if self.array.ndim not in (3, 4) or 0 in self.array.shape:
            raise InputError(
                f"{self.name} has shape {self.array.shape}. A volume is (X, Y, Z) or (X, Y, Z, C)."
            )
        bottom = affine.shape == (4, 4) and np.array_equal(affine[3], (0, 0, 0, 1))
        if not bottom or not np.isfinite(affine).all() or not geometry.is_invertible(affine):
            raise InputError(
                f"{self.name} has no usable affine, so nobody knows where its voxels lie. Mend its header."
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of voxels along the three spatial axes."""
        return self.array.shape[:3]

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres between voxel centres along each array axis, (3,)."""
        return geometry.spacing(self.affine)

    def upscaled(
        self,
        array: np.ndarray,
        factors: Sequence[int] = (1, 1, 1),
        description: str = "",
        quantity: str | None = None,
    ) -> Volume:
        """The volume of a result on a grid `factors` times as fine over the same extent.

        Args:
            array: The result: shape (X * fx, Y * fy, Z * fz), with channels where this volume has them;
                float or integer, in the units of this volume.
            factors: (fx, fy, fz) along the array's axes.
            description: What was done, for the headers: program, version, model.
            quantity: What the values are if not the scanner's, such as "standard deviation": kept as
                float32. Otherwise they get this volume's type: rounded where that is an integer, in the
                next wider integer type where that is needed to keep the bright end; below zero becomes
                zero in an unsigned type.

        Raises:
            InputError: A shape that doesn't fit the factors.
        """
        wanted = tuple(n * f for n, f in zip(self.shape, factors, strict=True)) + self.array.shape[3:]
        if array.shape != wanted:
            raise InputError(f"A result of shape {array.shape} for {self.name} should have shape {wanted}.")
        return replace(
            self,
            array=like_type(array, self.array.dtype) if quantity is None else array.astype("float32"),
            affine=geometry.scaled_affine(self.affine, factors),
            description=description,
            quantity=quantity,
        )


def check_volume(volume: Volume) -> None:
    """Checks that there is something to upscale, and that it can be written with the right geometry.

    Raises:
        InputError: NaN or infinite voxels, the same value everywhere, or a sheared affine.
    """
    bad = volume.array.size - int(np.count_nonzero(np.isfinite(volume.array)))
    if bad:
        raise InputError(
            f"{volume.name} holds {bad} NaN or infinite voxels. Replace them (numpy.nan_to_num) first."
        )
    value = volume.array.min()
    if value == volume.array.max():
        raise InputError(
            f"{volume.name} is {value} in every voxel: there is nothing to upscale. Check the file."
        )
    if geometry.is_sheared(volume.affine):
        raise InputError(
            f"{volume.name} has a sheared affine (axes not at right angles): resample it to a straight grid."
        )


def read_volume(path: str | os.PathLike, index: int | None = None, series: str | int | None = None) -> Volume:
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
        InputError: Nothing there, broken, 4-D without an index, several series, a series of NIfTI, or
            slices that don't make a volume (missing, duplicate, of several orientations or sizes, colour,
            not MR).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give a .nii or .nii.gz file or a DICOM folder.")
    if is_nifti(path):
        if series is not None:
            raise InputError(f"{path} is NIfTI and has no series: leave out --series.")
        from keras_mrisr.data.nifti import read_nifti

        return read_nifti(path, index)
    from keras_mrisr.data.dicom import read_dicom

    return read_dicom(path, index, series)


def write_volume(volume: Volume, path: str | os.PathLike, overwrite: bool = False) -> list[Path]:
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
        InputError: See `check_target`; or the disk is full.
    """
    path = Path(path)
    check_target(volume, path, overwrite)
    if is_nifti(path):
        from keras_mrisr.data.nifti import write_nifti

        return write_nifti(volume, path)
    from keras_mrisr.data.dicom_write import write_dicom

    return write_dicom(volume, path, overwrite)


def check_target(volume: Volume, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Checks, before the long work, that a result for `volume` can be written at `path`.

    Args:
        volume: What was read, or the result.
        path: See `write_volume`.
        overwrite: Whether what is there may be replaced: a file, or a folder of earlier results.

    Raises:
        InputError: `path` exists, is or holds the source, or cannot be written; or it asks for DICOM and
            the volume doesn't come from DICOM, or lies in the folder that it comes from.
    """
    path = Path(path)
    here = path.resolve()
    for source in getattr(volume.source, "paths", ()):
        if here == source.resolve() or here in source.resolve().parents:
            raise InputError(f"{path} is or holds the source {volume.name}. Choose another name.")
    if is_nifti(path):
        check_new_file(path, overwrite)
        return
    from keras_mrisr.data.dicom_write import check_dicom_target

    check_dicom_target(volume, path, overwrite)


def is_nifti(path: Path) -> bool:
    """Whether a path is named like a NIfTI file."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)
