"""Between a file's own intensities and the [0, 1] that networks see, and back."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.stored_values import rounded

_SAMPLE = 4_000_000


@dataclasses.dataclass(frozen=True)
class RangeNormalizer:
    """Maps [low, high] to [0, 1] linearly, without clipping, so that it can be undone.

    Attributes:
        low: The intensity that becomes 0.
        high: The intensity that becomes 1.

    Raises:
        ValueError: The range is empty or not finite.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.high > self.low):
            raise ValueError(f"a range needs finite low < high. Received: low={self.low}, high={self.high}")

    def normalize(self, array: np.ndarray) -> np.ndarray:
        """Intensities in a file's units -> float32, nominally in [0, 1], of the same shape."""
        array = np.asarray(array, dtype="float32")
        return (array - np.float32(self.low)) / np.float32(self.high - self.low)

    def restore(self, array: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
        """Undoes `normalize`: float in [0, 1] -> the file's units in `dtype`, of the same shape.

        Integers are rounded, and clipped to what the type can hold.
        """
        # float64, because float32 cannot count every 16-bit step once low and high are far apart.
        return rounded(np.asarray(array, dtype="float64") * (self.high - self.low) + self.low, dtype)


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
    high = float(np.percentile(array, 99.9))
    if high <= low:
        high = top if top > low else low + 1.0
    return RangeNormalizer(low, high)


def volume_normalizer(array: np.ndarray) -> RangeNormalizer:
    """The normalizer of a volume (X, Y, Z) or (X, Y, Z, C) of any type: one for all its slices.

    0, or the 0.1st percentile where that is negative, becomes 0 and the 99.9th percentile becomes 1; of
    large volumes the percentiles are those of a regular subset of about four million voxels.
    """
    step = math.ceil((array.size / _SAMPLE) ** (1 / 3))
    low, high = (float(each) for each in np.percentile(array[::step, ::step, ::step], (0.1, 99.9)))
    low = min(0.0, low)
    if high <= low:  # Hardly anything but background.
        low, high = min(0.0, float(array.min())), float(array.max())
    return RangeNormalizer(low, high if high > low else low + 1.0)
