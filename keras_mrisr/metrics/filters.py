"""Small filters, written as sums of shifted images.

A convolution or a matrix product would run in TF32 on recent GPUs, and its 10 bits of mantissa are too few
for a difference of moments.
"""

from collections.abc import Sequence

from keras import ops

from keras_mrisr.types import Tensor


def symmetric_filter(x: Tensor, taps: Sequence[float], axis: int) -> Tensor:
    """Filters one axis of (N, H, W, C) with a symmetric kernel, where it lies inside the image.

    Args:
        x: Tensor (N, H, W, C).
        taps: Weights from the centre outwards, radius + 1 of them.
        axis: 1 or 2.

    Returns:
        Tensor, 2 * radius shorter along the axis.
    """
    radius = len(taps) - 1
    total = taps[0] * _shifted(x, 0, radius, axis)
    for i in range(1, radius + 1):
        total = total + taps[i] * (_shifted(x, -i, radius, axis) + _shifted(x, i, radius, axis))
    return total


def mirror(x: Tensor, radius: int) -> Tensor:
    """Pads height and width of (N, H, W, C) by `radius` pixels; the edge pixel is repeated first."""
    return ops.pad(x, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="symmetric")


def halve(x: Tensor) -> Tensor:
    """Means of 2 x 2 blocks of (N, H, W, ...); an odd last row or column is left out."""
    height, width = (2 * (size // 2) for size in ops.shape(x)[1:3])
    return 0.25 * (
        x[:, 0:height:2, 0:width:2]
        + x[:, 1:height:2, 0:width:2]
        + x[:, 0:height:2, 1:width:2]
        + x[:, 1:height:2, 1:width:2]
    )


def _shifted(x: Tensor, shift: int, radius: int, axis: int) -> Tensor:
    """The part of `x` that lies `shift` pixels from the centres of the windows."""
    # The end is counted from the back, so that sizes that are known only at run time work.
    part = slice(radius + shift, shift - radius or None)
    return x[:, part] if axis == 1 else x[:, :, part]
