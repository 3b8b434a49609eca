"""Thick slices out of thin ones: the slice profile, then subsampling."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mrisr.checks import is_number
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor
from keras_mrisr.volumes.stored_values import rounded

# Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = 2 * math.sqrt(2 * math.log(2))


class SliceProfile(Degradation):
    """Averages volumes over a Gaussian slice profile and takes every `scale[2]`-th slice.

    Slice thickness is the full width at half maximum of the slice profile (NEMA MS 5), which is taken for
    a Gaussian here. It is sampled at the centres of the HR slices around the centre of each LR slice,
    which is the middle of its `scale[2]` HR slices, and normalised to a sum of 1. Beyond the ends of the
    volume its first or last slice is repeated.

    The thickness that the HR slices have themselves is not deducted: profiles add in squares, so that an
    LR slice of thickness T is effectively sqrt(T**2 + 1) HR slices thick.

    Args:
        scale: The factor of each axis (x, y, z), z across the slices. x and y are equal: 1, or the scale
            of `in_plane`.
        thickness: Thickness of the LR slices in HR slices; by default `scale[2]`, slices that touch each
            other. Less leaves gaps, more overlaps.
        in_plane: The degradation of each slice, where x and y are over 1; by default bicubic. (Its name and
            arguments, for `get_degradation`.)
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: tuple[int, ...]
    dimensions = 3

    def __init__(
        self,
        scale: Sequence[int],
        thickness: float | None = None,
        in_plane: Degradation | None = None,
        name: str = "slice-profile",
    ) -> None:
        factors = _checked_factors(scale)
        if thickness is not None and not (is_number(thickness) and thickness > 0):
            raise ConfigError(f"thickness must be over 0, in HR slices. Received: thickness={thickness!r}")
        if in_plane is not None:
            _check_in_plane(in_plane, factors)
        self.name = name
        self.scale = factors
        self.thickness = float(thickness or factors[2])
        self.in_plane = in_plane
        if in_plane is None and factors[0] > 1:
            self.in_plane = BlurBicubic(factors[0], sigma=0.0, name="bicubic")
        self._taps, self._first = slice_profile(factors[2], self.thickness)

    @property
    def fixed(self) -> bool:  # type: ignore[override]
        return self.in_plane is None or self.in_plane.fixed

    @property
    def smallest_size(self) -> tuple[int, ...]:
        in_plane = self.in_plane.smallest_size if self.in_plane else (1, 1)
        return (*in_plane, self.scale[2])

    def get_config(self) -> dict[str, Any]:
        in_plane = self.in_plane and {k: v for k, v in self.in_plane.to_dict().items() if k != "scale"}
        return {"thickness": self.thickness, "in_plane": in_plane}

    def __call__(self, hr: Tensor) -> Tensor:
        from keras import ops

        x = ops.convert_to_tensor(hr)
        if self.in_plane is not None:
            x = self._degrade_planes(x, self.in_plane)
        factor = self.scale[2]
        size = ops.shape(x)[3]
        first = ops.arange(size // factor, dtype="int32") * factor + self._first
        total = 0.0
        for i, tap in enumerate(self._taps):
            total = total + float(tap) * ops.take(x, ops.clip(first + i, 0, size - 1), axis=3)
        return total

    def _degrade_planes(self, x: Tensor, in_plane: Degradation) -> Tensor:
        from keras import ops

        n, width, height, slices, channels = (ops.shape(x)[i] for i in range(5))
        planes = ops.reshape(ops.transpose(x, (0, 3, 1, 2, 4)), (n * slices, width, height, channels))
        planes = in_plane(planes)
        factor = self.scale[0]
        volume = ops.reshape(planes, (n, slices, width // factor, height // factor, channels))
        return ops.transpose(volume, (0, 2, 3, 1, 4))

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        x = hr
        if self.in_plane is not None:
            top = np.iinfo(hr.dtype).max if np.issubdtype(hr.dtype, np.integer) else 1
            planes = np.moveaxis(hr, 2, 0).astype("float32") / np.float32(top)
            x = np.stack([self.in_plane.degrade(plane) for plane in planes], axis=2) * np.float32(top)
        factor, size = self.scale[2], x.shape[2]
        first = np.arange(size // factor) * factor + self._first
        # One tap after the other: no array is larger than the result.
        total = np.zeros((*x.shape[:2], size // factor, x.shape[3]), "float32")
        for i, tap in enumerate(self._taps):
            total += np.float32(tap) * x[:, :, np.clip(first + i, 0, size - 1)]
        return rounded(total, hr.dtype)


def slice_profile(factor: int, thickness: float) -> tuple[np.ndarray, int]:
    """Taps of the Gaussian slice profile at the centre of every LR slice.

    Args:
        factor: HR slices from one LR slice to the next.
        thickness: Full width at half maximum in HR slices.

    Returns:
        (taps, first): float64 array with a sum of 1, and the offset of its first tap from the first of
        the `factor` HR slices that the LR slice replaces (0 or negative).
    """
    sigma = thickness / _FWHM
    centre = (factor - 1) / 2
    reach = max(math.ceil(4 * sigma - centre % 1), 0) + centre % 1
    x = np.arange(-reach, reach + 1)
    exponent = -0.5 * (x / sigma) ** 2
    taps = np.exp(exponent - exponent.max())  # However thin the slice, one tap is 1.
    return taps / taps.sum(), round(centre - reach)


def _checked_factors(scale: object) -> tuple[int, ...]:
    factors = tuple(scale) if isinstance(scale, list | tuple) else ()
    whole = len(factors) == 3 and all(isinstance(f, int) and f >= 1 for f in factors)
    if not whole or factors[0] != factors[1]:
        raise ConfigError(
            "scale must be three whole factors of 1 or more, the first two equal, such as (1, 1, 2). "
            f"Received: scale={scale!r}"
        )
    return factors


def _check_in_plane(in_plane: object, factors: tuple[int, ...]) -> None:
    if factors[0] == 1:
        wanted = "is for a scale over 1 in the first two factors"
    elif not isinstance(in_plane, Degradation):
        wanted = "must be a degradation; for get_degradation, its name and arguments"
    elif in_plane.factors != factors[:2]:
        wanted = "must have the first two factors of the scale"
    else:
        return
    raise ConfigError(f"in_plane {wanted}. Received: in_plane={in_plane!r}, scale={factors}")
