"""A scan as an array that knows where it lies."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes import geometry
from keras_mrisr.volumes.stored_values import like_type

_KEPT_AS = {"bool": "uint8", "float16": "float32"}


@dataclasses.dataclass(frozen=True, eq=False)
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
        slice_thickness: Millimetres of tissue in a slice, as the header says; None where it does not. Slices
            with gaps are thinner than they lie apart, overlapping ones thicker.

    Raises:
        DataError: No real numbers, not 3-D (or 3-D with channels), empty, or an affine that cannot be
            inverted.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = "the volume"
    description: str = ""
    quantity: str | None = None
    source: Any = None
    slice_thickness: float | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        array = array.astype(_KEPT_AS.get(array.dtype.name, array.dtype), copy=False)
        if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            raise DataError(
                f"{self.name} holds {array.dtype} voxels. Give integers or real numbers of up to 64 bits."
            )
        object.__setattr__(self, "array", array)
        affine = np.array(self.affine, dtype="float64")
        if self.array.ndim not in (3, 4) or 0 in self.array.shape:
            raise DataError(
                f"{self.name} has shape {self.array.shape}. A volume is (X, Y, Z) or (X, Y, Z, C)."
            )
        bottom = affine.shape == (4, 4) and np.array_equal(affine[3], (0, 0, 0, 1))
        if not bottom or not np.isfinite(affine).all() or not geometry.is_invertible(affine):
            raise DataError(
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
        factors: Sequence[float] = (1, 1, 1),
        description: str = "",
        quantity: str | None = None,
        slice_thickness: float | None = None,
    ) -> Self:
        """The volume of a result on a grid `factors` times as fine over the same extent.

        Args:
            array: The result: shape (X * fx, Y * fy, Z * fz), with channels where this volume has them;
                float or integer, in the units of this volume.
            factors: (fx, fy, fz) along the array's axes; fractions where the numbers of voxels say so.
            description: What was done, for the headers: program, version, model.
            quantity: What the values are if not the scanner's, such as "standard deviation": kept as
                float32. Otherwise they get this volume's type: rounded where that is an integer, in the
                next wider integer type where that is needed to keep the bright end; below zero becomes
                zero in an unsigned type.
            slice_thickness: Of the result, where it is known.

        Raises:
            DataError: A shape that doesn't fit the factors, or NaN or infinite values.
        """
        sizes = tuple(round(n * f) for n, f in zip(self.shape, factors, strict=True))
        wanted = sizes + self.array.shape[3:]
        if array.shape != wanted:
            raise DataError(f"A result of shape {array.shape} for {self.name} should have shape {wanted}.")
        for place in range(array.shape[2]):  # A mask of the whole volume would take its memory.
            if not np.isfinite(array[:, :, place]).all():
                raise DataError(
                    f"The result for {self.name} is NaN or infinite, first at index {place} of its last axis "
                    "in space: nothing is made of it."
                )
        return dataclasses.replace(
            self,
            array=like_type(array, self.array.dtype) if quantity is None else array.astype("float32"),
            affine=geometry.scaled_affine(self.affine, factors),
            description=description,
            quantity=quantity,
            slice_thickness=slice_thickness,
        )


def check_volume(volume: Volume, nan: str = "refuse") -> None:
    """Checks that there is something to upscale, and that it can be written with the right geometry.

    Args:
        volume: The volume.
        nan: "zero" where NaN and infinite voxels will be taken for background; otherwise they are refused.

    Raises:
        DataError: NaN or infinite voxels, the same value everywhere, or a sheared affine.
    """
    finite = np.isfinite(volume.array)
    bad = volume.array.size - int(np.count_nonzero(finite))
    if bad and nan != "zero":
        raise DataError(
            f"{volume.name} holds {bad} NaN or infinite voxels. If they are background, as SPM and FSL leave "
            "it, `nan` zero takes them for zeros; otherwise mend the file."
        )
    values = np.where(finite, volume.array, 0) if bad else volume.array
    value = values.min()
    if value == values.max():
        raise DataError(
            f"{volume.name} is {value} in every voxel: there is nothing to upscale. Check the file."
        )
    if geometry.is_sheared(volume.affine):
        raise DataError(
            f"{volume.name} has a sheared affine (axes not at right angles): resample it to a straight grid."
        )
