"""Neighbouring slices as channels, the input of 2.5-D generators: one order for the whole package.

A generator with k neighbours takes 2k+1 adjacent slices of C channels as (2k+1) * C channels, slice-major:
channel (offset + k) * C + c holds channel c of the slice at `offset`, -k to k. It returns the C channels of
the middle slice. Beyond the ends of a stack its first or last slice is repeated.
"""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.types import Tensor


def window(place: int, count: int, neighbours: int) -> list[int]:
    """The places of the 2 * neighbours + 1 slices around `place` in a stack of `count` slices."""
    offsets = range(-neighbours, neighbours + 1)
    return [min(max(place + offset, 0), count - 1) for offset in offsets]


def stack_around(slices: Sequence[np.ndarray] | np.ndarray, place: int, neighbours: int) -> np.ndarray:
    """The slice at `place` with its neighbours, as a generator takes them.

    Args:
        slices: The slices of one stack in order: array (N, H, W, C), or a sequence of (H, W, C).
        place: Which of them stands in the middle.
        neighbours: Slices on each side, k.

    Returns:
        Array (H, W, (2k+1) * C).
    """
    return np.concatenate([slices[i] for i in window(place, len(slices), neighbours)], axis=-1)


def middle_channels(stack: Tensor, channels: int) -> Tensor:
    """The `channels` of the middle slice: (..., (2k+1) * C) to (..., C), of an array or a tensor."""
    first = (stack.shape[-1] - channels) // 2
    return stack[..., first : first + channels]
