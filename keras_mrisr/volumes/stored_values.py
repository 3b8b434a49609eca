"""How values fit into the integer types of files: no wrap-around, no clipping of the bright end."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_WIDER = {"i": ("int8", "int16", "int32", "int64"), "u": ("uint8", "uint16", "uint32", "uint64")}


def like_type(array: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Values as another array had them.

    Args:
        array: Float or integer values of any shape, all finite.
        dtype: The type of the other array.

    Returns:
        `array` in `dtype`, or in float64 where a narrower floating-point type would make something infinite.
        Integers are rounded; where their bright end (or the dark end of a signed
        type) is beyond the type, it is the next wider one that holds them, and float64 beyond 64 bits.
        Below zero becomes zero in an unsigned type: scanners that write one have nothing there.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        largest = np.finfo(dtype).max
        return array.astype(dtype if -largest <= array.min() and array.max() <= largest else "float64")
    return _as_integers(array, dtype)


def in_units(deviation: np.ndarray, unit: float) -> np.ndarray:
    """Standard deviations in the units of an image.

    Args:
        deviation: float32 array, of an image in [0, 1].
        unit: Width of the range that became [0, 1].

    Returns:
        float32 array; float64 where the range is too wide for it.
    """
    return deviation * np.dtype(deviation_type(unit)).type(unit)


def deviation_type(unit: float) -> str:
    """The type of the result of `in_units`."""
    return "float32" if unit < float(np.finfo("float32").max) / 16 else "float64"


def _as_integers(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    low, high = (int(np.rint(end)) for end in (array.min(), array.max()))
    unsigned = dtype.kind == "u"
    if unsigned:
        low, high = max(low, 0), max(high, 0)
    name = next((name for name in _as_wide(dtype) if _holds(name, low, high)), "float64")
    result = np.empty_like(array, dtype=name)
    for place in range(len(array)):  # A volume at once would need its memory twice more.
        part = np.rint(array[place]) if array.dtype.kind == "f" else array[place]
        result[place] = np.maximum(part, 0) if unsigned else part
    return result


def _as_wide(dtype: np.dtype) -> list[str]:
    """The integer types of the same kind that are at least as wide, narrowest first."""
    return [name for name in _WIDER[dtype.kind] if np.dtype(name).itemsize >= dtype.itemsize]


def _holds(name: str, low: int, high: int) -> bool:
    limits = np.iinfo(name)
    return limits.min <= low and high <= limits.max


def narrowest(array: np.ndarray, names: Iterable[str]) -> str | None:
    """The first of some integer types that holds all values of an array of integers, or None."""
    low, high = int(array.min()), int(array.max())
    return next((name for name in names if _holds(name, low, high)), None)


def rounded(array: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Values in a given type, clipped to what it can hold; integers are rounded.

    Args:
        array: Of any shape: floating-point numbers, or integers of `dtype`, which stay as they are.
        dtype: The type to give them.

    Returns:
        An array of the same shape.
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and array.dtype != dtype:
        array = np.clip(np.rint(array), *_float_limits(dtype, array.dtype))
    elif dtype.kind == "f" and dtype.itemsize < array.dtype.itemsize:
        array = np.clip(array, np.finfo(dtype).min, np.finfo(dtype).max)
    return array.astype(dtype, copy=False)


def _float_limits(dtype: np.dtype, floats: np.dtype) -> tuple[Any, Any]:
    """The lowest and highest floating-point number that an integer type can hold."""
    limits = np.iinfo(dtype)
    high = floats.type(limits.max)
    if int(high) > limits.max:  # 2**31 - 1 in float32 and 2**63 - 1 in float64 become one more.
        high = np.nextafter(high, floats.type(0))
    return floats.type(limits.min), high


@dataclasses.dataclass(frozen=True)
class IntegerStorage:
    """An integer field of a file, whose values are `stored * slope + intercept`.

    Attributes:
        bits: Bits that are used, of 8, 16 or 32 that are there.
        signed: Whether they are two's complement.
        slope: Units a step.
        intercept: The value that is stored as 0.
    """

    bits: int
    signed: bool
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and highest number that can be stored."""
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type that holds them."""
        container = next(size for size in (8, 16, 32) if size >= self.bits)
        return np.dtype(f"{'int' if self.signed else 'uint'}{container}")

    def encode(self, array: np.ndarray) -> np.ndarray:
        """Values -> numbers to store, of the same shape; the bright end has to fit (see `fitted`)."""
        result = np.empty_like(array, dtype=self.dtype)
        for place in range(len(array)):  # A volume at once would need three times 64 bits a voxel.
            stored = np.rint((array[place].astype("float64") - self.intercept) / self.slope)
            result[place] = np.maximum(stored, self.limits[0])
        return result

    def holds(self, low: float, high: float) -> bool:
        """Whether all values from `low` to `high` can be stored."""
        ends = np.rint((np.array([low, high]) - self.intercept) / self.slope)
        return bool(self.limits[0] <= ends.min() and ends.max() <= self.limits[1])

    def fitted(self, low: float, high: float, most_bits: int, keep_low: bool = False) -> Self:
        """A storage of the same kind that holds values from `low` to `high`.

        Args:
            low: The smallest value.
            high: The largest value.
            most_bits: To how many bits it may be widened.
            keep_low: Whether what is lower than an unsigned type can say has to fit, too; otherwise it
                becomes the lowest, as in `like_type`.

        Returns:
            This one if it does; or the same with `most_bits`; or else with a new slope, and an intercept
            that is a whole number of steps, so that an exact zero stays one.
        """
        if not (keep_low or self.signed) and self.slope > 0:
            low, high = max(low, self.intercept), max(high, self.intercept)
        for storage in (self, dataclasses.replace(self, bits=max(self.bits, most_bits))):
            if storage.holds(low, high):
                return storage
        return storage.rescaled(low, high)

    def rescaled(self, low: float, high: float) -> Self:
        """The same bits with the finest slope that holds zero and all values from `low` to `high`."""
        smallest, largest = self.limits
        if self.signed:
            slope = max(high / largest, low / smallest)
            return dataclasses.replace(self, slope=_rounded_up(slope or 1.0), intercept=0.0)
        low, high = min(low, 0.0), max(high, 0.0)
        # One step is kept free, because the intercept is rounded to whole steps.
        slope = _rounded_up((high - low) / (largest - 1) or 1.0)
        return dataclasses.replace(self, slope=slope, intercept=-float(np.ceil(-low / slope)) * slope)


def _rounded_up(value: float) -> float:
    """The next number of 5 digits: times any 16-bit number, DICOM's 16 characters still hold it exactly."""
    digits = 4 - int(np.floor(np.log10(value)))
    return float(f"{np.ceil(value * 10.0**digits) / 10.0**digits:.5g}")
