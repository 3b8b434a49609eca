"""A small 3-D network that makes one volume of what two families of planes gave."""

from typing import Any

import keras
from keras import initializers, layers

from keras_mrisr.checks import check_counts
from keras_mrisr.models import blocks as parts
from keras_mrisr.types import Model, Tensor


def volume_finish(blocks: int = 2, filters: int = 16, name: str = "volume_finish") -> Model:
    """Builds a network from the two estimates of a volume to one: their mean and a residual.

    The estimates are those of a network of `models.through_plane` in the two families of planes that hold the
    thick axis, which see each other's lines only here. Residual blocks as in EDSR (Lim et al. 2017) with 3-D
    convolutions; the last one starts at zero, so that an untrained network gives the mean. It sees
    2 * blocks + 2 voxels far, and so runs in tiles that give what the whole volume would.

    Args:
        blocks: Residual blocks.
        filters: Feature channels.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, X, Y, Z, 2), nominally in [0, 1], any X, Y and Z, to
        (N, X, Y, Z, 1), float32. The thick axis is X; the first channel comes from the planes across Y, the
        second from those across Z. With the defaults it has 29,025 weights to train.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(blocks=blocks, filters=filters)

    def conv(x: Tensor, filters: int, name: str, **kwargs: Any) -> Tensor:
        return layers.Conv3D(filters, 3, padding="same", name=name, **parts.LAST, **kwargs)(x)

    estimates = keras.Input((None, None, None, 2), name="estimates")
    x = conv(estimates, filters, "input_conv", activation="relu", kernel_initializer="he_normal")
    for i in range(1, blocks + 1):
        skip = x
        x = conv(x, filters, f"block{i}_conv1", activation="relu", kernel_initializer="he_normal")
        x = conv(x, filters, f"block{i}_conv2")
        x = layers.Add(name=f"block{i}_sum")([x, skip])
    x = conv(x, 1, "output_conv", dtype="float32", kernel_initializer="zeros")
    half = initializers.Constant(0.5)
    mean = layers.Dense(
        1, use_bias=False, kernel_initializer=half, trainable=False, dtype="float32", name="output_mean"
    )(estimates)
    x = layers.Add(name="output_sum", dtype="float32")([x, mean])
    return keras.Model(estimates, x, name=name)
