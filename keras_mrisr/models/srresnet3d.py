"""SRResNet for volumes."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, layers

from keras_mrisr.checks import check_counts, check_flags
from keras_mrisr.errors import ConfigError
from keras_mrisr.models import blocks as parts
from keras_mrisr.models.layers import ICNR
from keras_mrisr.models.volume_layers import CubicUpsampling, VoxelShuffle
from keras_mrisr.types import Model, Tensor

FACTORS = (1, 2, 3, 4)


def srresnet3d(
    scale: Sequence[int] = (1, 1, 2),
    channels: int = 1,
    blocks: int = 8,
    filters: int = 32,
    batch_norm: bool = False,
    synchronized: bool = False,
    global_skip: bool = True,
    name: str = "srresnet3d",
) -> Model:
    """Builds SRResNet (Ledig et al. 2017, figure 4) with 3-D convolutions, for thick slices.

    Convolution k3 + PReLU; residual blocks (k3, PReLU, k3, sum); convolution k3 + long skip; one
    sub-pixel convolution k3 to all factors at once + PReLU; convolution k3. All kernels are 3x3x3: a
    9x9x9 one as at the ends of the 2-D network would cost more than all the rest.

    Args:
        scale: The factor of each axis, 1 to 4, at least one over 1: (1, 1, 2) makes slices half as thick.
        channels: Channels of input and output.
        blocks: Residual blocks.
        filters: Feature channels.
        batch_norm: Batch normalisation after the convolutions of the body.
        synchronized: Batch statistics over all replicas; needs a distribution strategy to matter.
        global_skip: Add the cubic upscaling of the input to the output, so that the network learns the
            difference only.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, X, Y, Z, channels) to (N, X * scale[0], Y * scale[1],
        Z * scale[2], channels), float32, any X, Y and Z. With the defaults it has 0.53 M parameters.

    Raises:
        ConfigError: An argument is out of range.
    """
    scale = _checked(scale)
    check_counts(channels=channels, blocks=blocks, filters=filters)
    check_flags(batch_norm=batch_norm, synchronized=synchronized, global_skip=global_skip)

    def conv(x: Tensor, filters: int, name: str, **kwargs: Any) -> Tensor:
        return layers.Conv3D(filters, 3, padding="same", name=name, **parts.LAST, **kwargs)(x)

    def prelu(x: Tensor, name: str) -> Tensor:
        slope = initializers.Constant(0.25)
        return layers.PReLU(alpha_initializer=slope, shared_axes=[1, 2, 3], name=name)(x)

    def normalize(x: Tensor, name: str) -> Tensor:
        if not batch_norm:
            return x
        return parts.batch_norm(name, synchronized)(x)

    inputs = keras.Input((None, None, None, channels), name="lr")
    x = long_skip = prelu(conv(inputs, filters, "input_conv"), "input_prelu")
    for i in range(1, blocks + 1):
        skip = x
        x = normalize(conv(x, filters, f"block{i}_conv1"), f"block{i}_bn1")
        x = prelu(x, f"block{i}_prelu")
        x = normalize(conv(x, filters, f"block{i}_conv2"), f"block{i}_bn2")
        x = layers.Add(name=f"block{i}_sum")([x, skip])
    x = normalize(conv(x, filters, "body_conv"), "body_bn")
    x = layers.Add(name="body_sum")([x, long_skip])
    x = conv(x, filters * math.prod(scale), "upsample1_conv", kernel_initializer=ICNR(scale))
    x = prelu(VoxelShuffle(scale, name="upsample1_shuffle")(x), "upsample1_prelu")
    # float32 whatever the policy, and zero before a global skip, as in `blocks.output_conv`.
    initializer = "zeros" if global_skip else "glorot_uniform"
    x = conv(x, channels, "output_conv", dtype="float32", kernel_initializer=initializer)
    if global_skip:
        skip = CubicUpsampling(scale, name="output_cubic", dtype="float32")(inputs)
        x = layers.Add(name="output_sum", dtype="float32")([x, skip])
    return keras.Model(inputs, x, name=name)


def _checked(scale: object) -> tuple[int, ...]:
    factors = tuple(scale) if isinstance(scale, list | tuple) else ()
    if len(factors) != 3 or max(factors) == 1 or not all(factor in FACTORS for factor in factors):
        raise ConfigError(
            "scale must be three factors of 1 to 4, not all 1, such as (1, 1, 2) for slices half as thick. "
            f"Received: scale={scale!r}"
        )
    return factors
