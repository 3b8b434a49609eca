"""A network that restores one axis of a plane through thick slices, by any factor."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_mrisr.checks import check_counts
from keras_mrisr.model_info import ACQUISITION, POSITIONS
from keras_mrisr.models import blocks as parts
from keras_mrisr.types import Model, Shape, Tensor


def through_plane(
    blocks: int = 10, filters: int = 64, tail: int = 32, channels: int = 1, name: str = "through_plane"
) -> Model:
    """Builds a network from planes of thick slices to planes of thin lines.

    Nearly all the work is done on the grid of the thick slices, as in ESPCN (Shi et al. 2016): residual
    blocks as in EDSR (Lim et al. 2017). Their features are then interpolated between the two nearest slices
    with weights learnt from where a line lies between them (after Chen et al. 2021, "Learning continuous
    image representation with local implicit image function"), which takes factors that are no whole
    numbers. Two thin convolutions at full resolution follow, and cubic interpolation is added.

    Args:
        blocks: Residual blocks.
        filters: Feature channels of the blocks.
        tail: Feature channels at full resolution.
        channels: Channels of a plane: 1.
        name: Name of the model.

    Returns:
        A functional `keras.Model` of three inputs: `lr` (N, slices, W, channels), thick slices along axis 1,
        nominally in [0, 1]; `positions` (N, lines), where each line of the result lies in slices from 0 (see
        `degrade.thick_slices.positions`; of a batch the first row counts, for all); `acquisition` (N, 2):
        1 / factor and thickness / spacing. Its output is (N, lines, W, channels), float32.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(blocks=blocks, filters=filters, tail=tail, channels=channels)
    lr = keras.Input((None, None, channels), name="lr")
    rows = keras.Input((None,), name=POSITIONS)
    acquisition = keras.Input((2,), name=ACQUISITION)

    x = parts.conv(lr, filters, 3, "input_conv")
    # The same everywhere in the plane: what the scan is.
    scan = layers.Dense(filters, name="input_acquisition")(acquisition)
    x = layers.Add(name="input_sum")([x, layers.Reshape((1, 1, filters), name="input_map")(scan)])
    long_skip = x
    for i in range(1, blocks + 1):
        skip = x
        x = parts.conv(x, filters, 3, f"block{i}_conv1", activation="relu", kernel_initializer="he_normal")
        x = parts.conv(x, filters, 3, f"block{i}_conv2")
        x = layers.Add(name=f"block{i}_sum")([x, skip])
    x = parts.conv(x, filters, 3, "body_conv")
    x = layers.Add(name="body_sum")([x, long_skip])

    before = parts.conv(x, tail, 1, "before_conv")
    after = parts.conv(x, tail, 1, "after_conv")
    place = LinePlace(name="place")([rows, acquisition])
    place = layers.Dense(tail, activation="relu", name="place_dense1")(place)
    place = layers.Dense(3 * tail, name="place_dense2")(place)
    x = LineFeatures(name="lines")([before, after, rows, place])
    x = parts.conv(x, tail, 3, "tail_conv", activation="relu", kernel_initializer="he_normal")
    x = parts.conv(x, channels, 3, "output_conv", dtype="float32", kernel_initializer="zeros")
    cubic = CubicLines(name="output_cubic", dtype="float32")([lr, rows])
    x = layers.Add(name="output_sum", dtype="float32")([x, cubic])
    return keras.Model([lr, rows, acquisition], x, name=name)


def _slice_before(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The slice before each line of the first row of (N, lines), and how far behind it the line lies."""
    position = ops.cast(rows[0], "float32")
    before = ops.floor(position)
    return ops.cast(before, "int32"), position - before


def _take_slices(x: Tensor, index: Tensor) -> Tensor:
    """Slices of (N, slices, W, C) along axis 1; the outer ones repeat."""
    return ops.take(x, ops.clip(index, 0, ops.shape(x)[1] - 1), axis=1)


@keras.saving.register_keras_serializable("keras_mrisr")
class LinePlace(layers.Layer):
    """What decides how a line is made of its two nearest slices: (N, lines), (N, 2) to (N, lines, 5)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        rows, acquisition = inputs
        rows = ops.cast(rows, self.compute_dtype)
        behind = rows - ops.floor(rows)
        own = ops.expand_dims(ops.cast(acquisition, self.compute_dtype), 1)
        shared = ops.zeros_like(behind)[..., np.newaxis] + own
        place = ops.stack([behind, ops.cos(2 * np.pi * behind), ops.sin(2 * np.pi * behind)], axis=-1)
        return ops.concatenate([place, shared], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*input_shape[0], 5)


@keras.saving.register_keras_serializable("keras_mrisr")
class LineFeatures(layers.Layer):
    """Features of lines between slices: relu(a * before + b * after + c), a, b, c as (N, lines, 3C)."""

    def call(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        before, after, rows, place = inputs
        index, _ = _slice_before(rows)
        a, b, c = ops.split(ops.expand_dims(place, 2), 3, axis=-1)
        return ops.relu(a * _take_slices(before, index) + b * _take_slices(after, index + 1) + c)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        n, _, width, channels = input_shape[0]
        return (n, input_shape[2][1], width, channels)


@keras.saving.register_keras_serializable("keras_mrisr")
class CubicLines(layers.Layer):
    """Keys' cubic interpolation (a = -0.5) along axis 1: (N, slices, W, C), (N, lines) to (N, lines, W, C).

    The outer slices are repeated beyond the ends.
    """

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        x, rows = inputs
        index, t = _slice_before(rows)
        taps = (
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        shape = (1, -1, 1, 1)
        return sum(ops.reshape(tap, shape) * _take_slices(x, index + i - 1) for i, tap in enumerate(taps))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        n, _, width, channels = input_shape[0]
        return (n, input_shape[1][1], width, channels)
