"""Custom layers of 3-D generators."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr.models.layers import cubic_phases
from keras_mrisr.types import Shape, Tensor


class _VolumeScaling(keras.layers.Layer):
    """What the layers share that upscale (N, X, Y, Z, C) by a factor for each axis."""

    def __init__(self, factors: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = tuple(factors)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n, *sizes, channels = input_shape
        sizes = [
            None if size is None else size * factor for size, factor in zip(sizes, self.factors, strict=True)
        ]
        return (n, *sizes, self.output_channels(channels))

    def output_channels(self, channels: int) -> int:
        return channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": list(self.factors)}


@keras.saving.register_keras_serializable("keras_mrisr")
class VoxelShuffle(_VolumeScaling):
    """Rearranges channels into space: (N, X, Y, Z, C * f * g * h) to (N, X * f, Y * g, Z * h, C).

    The pixel shuffle of Shi et al. 2016 (eq. 4) for volumes. The phase stands before the channel: input
    channel ((p * g + q) * h + r) * C + c becomes channel c of the voxels with remainders (p, q, r).

    Args:
        factors: The factor of each axis (f, g, h).
    """

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for axis, factor in enumerate(self.factors, start=1):
            if factor == 1:
                continue
            # The phase of this axis is the outermost part of the channels that are left.
            n, *sizes = (ops.shape(x)[i] for i in range(4))
            rest = x.shape[-1] // factor
            x = ops.reshape(x, (n, *sizes, factor, rest))
            order = [0, 1, 2, 3, 5]
            order.insert(axis + 1, 4)
            sizes[axis - 1] = sizes[axis - 1] * factor
            x = ops.reshape(ops.transpose(x, order), (n, *sizes, rest))
        return x

    def output_channels(self, channels: int) -> int:
        for factor in self.factors:
            channels //= factor
        return channels


@keras.saving.register_keras_serializable("keras_mrisr")
class CubicUpsampling(_VolumeScaling):
    """Keys' cubic upscaling of volumes by an integer factor along each axis, as in `BicubicUpsampling`.

    It repeats the edge voxel, has no weights, and no Resize operation, so that it exports.

    Args:
        factors: The factor of each axis.
    """

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for axis, factor in enumerate(self.factors, start=1):
            if factor > 1:
                x = _upscale(x, axis, factor)
        return x


def _upscale(x: Tensor, axis: int, factor: int) -> Tensor:
    taps = cubic_phases(factor)
    radius = taps.shape[1] // 2

    def part(start: int | None, stop: int | None) -> Tensor:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    padded = ops.concatenate([part(0, 1)] * radius + [x] + [part(-1, None)] * radius, axis=axis)
    last = 2 * radius
    shifted = [
        padded[(slice(None),) * axis + (slice(i, i - last if i < last else None),)] for i in range(last + 1)
    ]
    phases = [sum(float(tap) * each for tap, each in zip(row, shifted, strict=True)) for row in taps]
    stacked = ops.stack(phases, axis=axis + 1)
    n, *sizes = (ops.shape(x)[i] for i in range(4))
    sizes[axis - 1] = sizes[axis - 1] * factor
    return ops.reshape(stacked, (n, *sizes, x.shape[-1]))
