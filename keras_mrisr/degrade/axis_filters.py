"""Filters along one axis of a batch, in `keras.ops`."""

import numpy as np
from keras import ops

from keras_mrisr.types import Tensor


def blur_axis(x: Tensor, kernel: np.ndarray, axis: int) -> Tensor:
    """Convolves `axis` of (N, H, W, C) with an odd `kernel`; the edge pixel is repeated, as in Pillow."""
    radius = len(kernel) // 2
    if radius == 0:
        return x
    size = ops.shape(x)[axis]
    index = ops.clip(ops.arange(-radius, size + radius, dtype="int32"), 0, size - 1)
    return _filter_axis(ops.take(x, index, axis=axis), kernel, axis, stride=1)


def downsample_axis(x: Tensor, taps: np.ndarray, first: int, scale: int, axis: int) -> Tensor:
    """Takes every `scale`-th value of the filtered `axis`; outside pixels weigh nothing, as in Pillow."""
    if scale == 1:
        return x
    size = ops.shape(x)[axis]
    # Taps reach `-first` pixels before the first LR pixel's block, and as many after the last one's.
    after = len(taps) + first - scale
    padding = [[0, 0]] * 4
    padding[axis] = [-first, after]
    inside = ops.ones([1, size, 1, 1] if axis == 1 else [1, 1, size, 1], dtype=x.dtype)
    weight = _filter_axis(ops.pad(inside, padding), taps, axis, stride=scale)
    return _filter_axis(ops.pad(x, padding), taps, axis, stride=scale) / weight


def _filter_axis(x: Tensor, taps: np.ndarray, axis: int, stride: int) -> Tensor:
    """Correlates one axis of (N, H, W, C) with `taps`, the same for all channels, without padding."""
    n, height, width, channels = (ops.shape(x)[i] for i in range(4))
    kernel = ops.convert_to_tensor(taps.reshape((-1, 1, 1, 1)), dtype=x.dtype)
    # The other axes move into width and batch: a convolution of one channel needs no grouped kernel.
    if axis == 1:
        flat = ops.reshape(x, (n, height, width * channels, 1))
        out = ops.conv(flat, kernel, strides=(stride, 1), padding="valid", data_format="channels_last")
        return ops.reshape(out, (n, -1, width, channels))
    flat = ops.reshape(x, (n * height, width, channels, 1))
    out = ops.conv(flat, kernel, strides=(stride, 1), padding="valid", data_format="channels_last")
    return ops.reshape(out, (n, height, -1, channels))
