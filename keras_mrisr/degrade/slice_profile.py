"""Thick slices out of thin ones: the slice profile, then subsampling."""

import math

import numpy as np

from keras_mrisr.config_base import is_number
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
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
        in_plane: Name and arguments of the degradation of each slice, for `get_degradation`, where x and
            y are over 1; by default {"name": "bicubic"}.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(self, scale, thickness=None, in_plane=None, name="slice-profile"):
        factors = tuple(scale) if isinstance(scale, list | tuple) else ()
        whole = len(factors) == 3 and all(isinstance(f, int) and f >= 1 for f in factors)
        if not whole or factors[0] != factors[1]:
            raise ConfigError(
                "scale must be three whole factors of 1 or more, the first two equal, such as (1, 1, 2). "
                f"Received: scale={scale!r}"
            )
        if thickness is not None and not (is_number(thickness) and thickness > 0):
            raise ConfigError(f"thickness must be over 0, in HR slices. Received: thickness={thickness!r}")
        if in_plane is not None and factors[0] == 1:
            raise ConfigError(
                "in_plane is for a scale over 1 in the first two factors. "
                f"Received: in_plane={in_plane!r}, scale={scale!r}"
            )
        if not isinstance(in_plane, dict | None):
            raise ConfigError(
                f"in_plane must hold the name and arguments of a degradation. Received: in_plane={in_plane!r}"
            )
        self.name = name
        self.scale = factors
        self.thickness = float(thickness or factors[2])
        self.in_plane = _in_plane(in_plane, factors[0]) if factors[0] > 1 else None
        self._taps, self._first = slice_profile(factors[2], self.thickness)

    @property
    def smallest_size(self):
        """The smallest (x, y, z), in HR voxels, that can be degraded."""
        in_plane = self.in_plane.smallest_size if self.in_plane else 1
        return (in_plane, in_plane, self.scale[2])

    def get_config(self):
        in_plane = self.in_plane and {k: v for k, v in self.in_plane.to_dict().items() if k != "scale"}
        return {"thickness": self.thickness, "in_plane": in_plane}

    def __call__(self, hr):
        """Degrades a batch on the device; differentiable.

        Args:
            hr: Tensor (N, X, Y, Z, C), float, nominally in [0, 1]; sizes multiples of the factors.

        Returns:
            Tensor (N, X / fx, Y / fy, Z / fz, C) of the same dtype.
        """
        from keras import ops

        x = ops.convert_to_tensor(hr)
        if self.in_plane is not None:
            x = self._degrade_planes(x)
        factor = self.scale[2]
        size = ops.shape(x)[3]
        first = ops.arange(size // factor, dtype="int32") * factor + self._first
        total = 0.0
        for i, tap in enumerate(self._taps):
            total = total + float(tap) * ops.take(x, ops.clip(first + i, 0, size - 1), axis=3)
        return total

    def _degrade_planes(self, x):
        from keras import ops

        n, width, height, slices, channels = (ops.shape(x)[i] for i in range(5))
        planes = ops.reshape(ops.transpose(x, (0, 3, 1, 2, 4)), (n * slices, width, height, channels))
        planes = self.in_plane(planes)
        factor = self.scale[0]
        volume = ops.reshape(planes, (n, slices, width // factor, height // factor, channels))
        return ops.transpose(volume, (0, 2, 3, 1, 4))

    def degrade_volume(self, hr):
        """Degrades one whole volume on the host.

        Args:
            hr: Array (X, Y, Z, C), float or integer; sizes multiples of the factors.

        Returns:
            Array (X / fx, Y / fy, Z / fz, C) of the same dtype; integers are rounded (once) and clipped.

        Raises:
            ConfigError: The volume is too small or its size is no multiple of the factors.
        """
        self.check_size(hr.shape)
        x = hr
        if self.in_plane is not None:
            top = np.iinfo(hr.dtype).max if np.issubdtype(hr.dtype, np.integer) else 1
            planes = np.moveaxis(hr, 2, 0).astype("float32") / np.float32(top)
            x = np.stack([self.in_plane.degrade_image(plane) for plane in planes], axis=2) * np.float32(top)
        factor, size = self.scale[2], x.shape[2]
        first = np.arange(size // factor) * factor + self._first
        # One tap after the other: no array is larger than the result.
        total = np.zeros((*x.shape[:2], size // factor, x.shape[3]), "float32")
        for i, tap in enumerate(self._taps):
            total += np.float32(tap) * x[:, :, np.clip(first + i, 0, size - 1)]
        return rounded(total, hr.dtype)

    def degrade_image(self, hr):
        """Raises ConfigError: this degradation is of volumes, see `degrade_volume`."""
        raise ConfigError(f"The degradation {self.name!r} is for volumes, not for slices.")

    def check_size(self, shape):
        """Raises ConfigError unless `shape` (X, Y, Z, ...) can be degraded."""
        text = "x".join(map(str, shape[:3]))
        if any(size < least for size, least in zip(shape[:3], self.smallest_size, strict=True)):
            least = "x".join(map(str, self.smallest_size))
            raise ConfigError(
                f"A volume of {text} is too small for the degradation {self.name!r}: it needs {least} voxels."
            )
        if any(size % factor for size, factor in zip(shape[:3], self.scale, strict=True)):
            factors = "x".join(map(str, self.scale))
            raise ConfigError(
                f"A volume of {text} cannot be divided by the scale {factors}: crop it to multiples."
            )


def slice_profile(factor, thickness):
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


def _in_plane(config, factor):
    from keras_mrisr.degrade.registry import get_degradation  # It lists this degradation too.

    config = {"name": "bicubic", **(config or {})}
    return get_degradation(**{**config, "scale": factor})
