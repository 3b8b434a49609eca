"""Between a file's own intensities and the [0, 1] that networks see, and back."""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.stored_values import rounded

_SAMPLE = 4_000_000
# In units of the range: what is further from it would overflow in a network of single precision.
_FARTHEST = 1e6


@dataclasses.dataclass(frozen=True)
class RangeNormalizer:
    """Maps [low, high] to [0, 1] linearly, without clipping, so that it can be undone.

    Attributes:
        low: The intensity that becomes 0.
        high: The intensity that becomes 1.

    Raises:
        DataError: The range is empty or not finite.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (self.high > self.low and np.isfinite(self.high - self.low)):
            raise DataError(f"a range needs finite low < high. Received: low={self.low}, high={self.high}")

    def normalize(self, array: np.ndarray) -> np.ndarray:
        """Intensities in a file's units -> float32, nominally in [0, 1], of the same shape.

        What is a million times as far from 0 as the range is wide is cut there; see `beyond`.
        """
        array = np.asarray(array)
        single = array.dtype.itemsize <= 2 or array.dtype == np.float32
        kind: type[Any] = np.float32 if single else np.float64
        with np.errstate(over="ignore"):
            result = np.asarray((array.astype(kind) - kind(self.low)) / kind(self.high - self.low))
        return np.clip(result, -_FARTHEST, _FARTHEST, out=result).astype("float32", copy=False)

    def beyond(self, array: np.ndarray) -> np.ndarray | None:
        """What `normalize` cuts off: float64 in a file's units, of the same shape; None for nothing."""
        span = self.high - self.low
        least, most = self.low - _FARTHEST * span, self.low + _FARTHEST * span
        if least <= float(array.min()) and float(array.max()) <= most:
            return None
        array = np.asarray(array, dtype="float64")
        return array - np.clip(array, least, most)

    def restore(
        self, array: np.ndarray, dtype: npt.DTypeLike, beyond: np.ndarray | None = None
    ) -> np.ndarray:
        """Undoes `normalize`: float in [0, 1] -> the file's units in `dtype`, of the same shape.

        Integers are rounded, and all values clipped to what the type can hold. What `normalize` had cut off,
        `beyond`, is added.
        """
        # float64, because float32 cannot count every 16-bit step once low and high are far apart.
        values = np.asarray(array, dtype="float64") * (self.high - self.low) + self.low
        return rounded(values if beyond is None else values + beyond, dtype)


def normalizer_for(array: np.ndarray) -> RangeNormalizer:
    """The normalizer of an image or volume of any shape, by its type.

    uint8 is 0 to 255 whatever the image holds. Other types have no fixed range (MRI units are
    arbitrary): 0, or the minimum where it is negative, becomes 0 and the 99.9th percentile becomes 1,
    so that a few bright vessels don't darken the rest. A constant image gets a range of width 1.

    Raises:
        DataError: The array is empty or holds NaN or infinity.
    """
    array = np.asarray(array)
    if array.dtype == np.uint8:
        return RangeNormalizer(0.0, 255.0)
    if array.size == 0:
        raise DataError(f"an image of shape {array.shape} has no pixels: give one that has")
    top = float(array.max())
    low = min(0.0, float(array.min()))
    if not (np.isfinite(low) and np.isfinite(top)):
        raise DataError("the image holds NaN or infinite values: replace them (numpy.nan_to_num) first")
    high = float(np.percentile(array.astype("float64"), 99.9))
    if high <= low:
        high = top if top > low else low + 1.0
    return RangeNormalizer(low, high)


def volume_normalizer(array: np.ndarray) -> RangeNormalizer:
    """The normalizer of a volume (X, Y, Z) or (X, Y, Z, C) of any type: one for all its slices.

    0, or the 0.1st percentile where that is negative, becomes 0 and the 99.9th percentile becomes 1; of
    large volumes the percentiles are those of a regular subset of about four million voxels.
    """
    step = math.ceil((array.size / _SAMPLE) ** (1 / 3))
    low, high = np.percentile(array[::step, ::step, ::step].astype("float64"), (0.1, 99.9)).tolist()
    low = min(0.0, low)
    if high <= low:  # Hardly anything but background.
        low, high = min(0.0, float(array.min())), float(array.max())
    return RangeNormalizer(low, high if high > low else low + 1.0)
