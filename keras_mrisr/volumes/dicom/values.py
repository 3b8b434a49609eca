"""The values of stacked frames: rescaled, with padding made background."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.memory import check_claim
from keras_mrisr.volumes.dicom.files import promised_bytes
from keras_mrisr.volumes.dicom.frames import Frame, number_of
from keras_mrisr.volumes.dicom.pixels import PixelReader

log = logging.getLogger(__name__)


def read_values(frames: Sequence[Frame], name: str, inverse: bool) -> np.ndarray:
    """The values of stacked frames with their rescale applied and padding filled.

    Args:
        frames: In the order of the slices.
        name: What messages call them.
        inverse: Whether low values are bright (MONOCHROME1).

    Returns:
        (column, row, slice): the file's integers, or float32 where there is a rescale.

    Raises:
        DataError: Pixels that cannot be read.
    """
    _check_memory(frames)
    plain = all((frame.slope, frame.intercept) == (1.0, 0.0) for frame in frames)
    stack: np.ndarray | None = None
    decoded, path, paddings = None, None, {}
    try:
        with PixelReader() as reader:
            for place, frame in enumerate(frames):
                if frame.path != path:
                    decoded, path = reader.read(frame), frame.path
                pixels = _of_frame(decoded, frame)
                values = pixels if plain else (pixels * frame.slope + frame.intercept).astype("float32")
                if stack is None:
                    stack = np.empty((len(frames), *values.shape), values.dtype)
                elif values.dtype != stack.dtype:
                    stack = stack.astype(np.result_type(stack, values))
                stack[place] = values
                padding = _padding(pixels, frame.header)
                if padding is not None:
                    paddings[place] = padding
        assert stack is not None
        _fill(stack, paddings, name, inverse)
    except MemoryError as error:
        raise DataError(f"{name} does not fit into memory. Cut it, or take a larger machine.") from error
    return stack.transpose(2, 1, 0)


def _check_memory(frames: Sequence[Frame]) -> None:
    """Raises DataError unless there is memory for the stack, and for the largest file beside it."""
    first, largest = frames[0], max(promised_bytes(frame.header) for frame in frames)
    rows, columns = first.size
    says = f"{columns} x {rows} x {len(frames)} pixels"
    check_claim(first.path, says, 4 * rows * columns * len(frames) + largest, stored=0, held=0)


def _of_frame(decoded: Any, frame: Frame) -> np.ndarray:
    """A frame's own pixels of those in its file, (rows, columns)."""
    pixels = decoded if frame.number is None else decoded[frame.number]
    if frame.corner is None:
        return pixels
    (row, column), (rows, columns) = frame.corner, frame.size
    return pixels[row : row + rows, column : column + columns]


def _padding(pixels: np.ndarray, header: Any) -> np.ndarray | None:
    """Where the stored pixels of a frame only fill up the rectangle; None if nowhere."""
    numbers = [number_of(header, word, np.nan) for word in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    there = [int(end) for end in numbers if np.isfinite(end)]
    if not there or "PixelPaddingValue" not in header:
        return None
    # Some write the value of signed pixels without a sign: in the type of the pixels it is the same.
    ends = np.array(there).astype(pixels.dtype)
    padding = (pixels >= ends.min()) & (pixels <= ends.max())
    return padding if padding.any() else None


def _fill(stack: np.ndarray, paddings: Mapping[int, np.ndarray], name: str, inverse: bool) -> None:
    """Makes padding background: zero, or the darkest of the other values where that is below zero."""
    if not paddings:
        return
    kept = np.ones(stack.shape, bool)
    for place, padding in paddings.items():
        kept[place] = ~padding
    if not kept.any():
        return  # Nothing but padding: more likely a wrong header.
    low, high = stack.min(where=kept, initial=stack.max()), stack.max(where=kept, initial=stack.min())
    if low <= stack.min() and stack.max() <= high:
        return  # Amid the others (a zero of phase images) it may well be signal, and does no harm.
    value = high if inverse else min(low, 0)
    stack[~kept] = value
    log.info("%s: %d padding pixels are taken for background", name, kept.size - np.count_nonzero(kept))
