"""What becomes of an image in super-resolution."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from keras_mrisr.inference.consistency import joined_residual


@dataclasses.dataclass(frozen=True)
class UpscaledImage:
    """What a generator makes of LR.

    Attributes:
        sr: The SR array.
        deviation: Standard deviation over the 8 flips and turns, in the units of `sr`, float32; or None.
        residual: (before, after): root mean square of degrade(SR) - LR, in those units, before and after
            SR was made consistent; or None.
        mismatches: For each slice that was checked, how far the network's result is from degrading to it
            again: see `degradation_mismatch`.
        degraded_by: What the slices were taken to be degraded by, where a model for any way told, and SR was
            made consistent with, in words.
    """

    sr: np.ndarray
    deviation: np.ndarray | None = None
    residual: tuple[float, float] | None = None
    mismatches: tuple[float, ...] = ()
    degraded_by: tuple[str, ...] = ()

    def with_arrays(self, change: Callable[[np.ndarray], np.ndarray]) -> Self:
        """The same with both arrays changed."""
        deviation = None if self.deviation is None else change(self.deviation)
        return dataclasses.replace(self, sr=change(self.sr), deviation=deviation)


def upscaled_mask(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Repeats each element along the first axes, as many times as the factors say."""
    for axis, factor in enumerate(factors):
        array = array.repeat(factor, axis=axis)
    return array


def joined_images(
    parts: Sequence[UpscaledImage], join: Callable[[list[np.ndarray]], np.ndarray]
) -> UpscaledImage:
    """The `UpscaledImage` of a batch from those of its slices, or of a slice from those of its channels."""
    deviations = [one.deviation for one in parts if one.deviation is not None]
    residuals = [one.residual for one in parts if one.residual is not None]
    return UpscaledImage(
        join([one.sr for one in parts]),
        join(deviations) if deviations else None,
        joined_residual(residuals),
        sum((one.mismatches for one in parts), start=()),
        tuple(dict.fromkeys(name for one in parts for name in one.degraded_by)),
    )
