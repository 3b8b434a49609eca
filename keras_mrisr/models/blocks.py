"""Pieces that the generators share."""

from collections.abc import Callable
from typing import Any

from keras import initializers, layers

from keras_mrisr import ranks
from keras_mrisr.checks import check_counts
from keras_mrisr.errors import ConfigError
from keras_mrisr.models.layers import (
    ICNR,
    BatchNormalization,
    BicubicUpsampling,
    ContentNoise,
    MiddleSlice,
    PixelShuffle,
)
from keras_mrisr.types import Tensor

# Each scale as the chain of pixel shuffles that makes it.
SHUFFLES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


# Said to every layer that asks: a user's keras.json may say otherwise.
LAST = {"data_format": "channels_last"}


def check_arguments(
    scale: object, channels: object, blocks: object, filters: object, neighbours: object = 0
) -> None:
    """Raises ConfigError unless a generator of slices can be built from these."""
    if not isinstance(scale, int) or scale not in SHUFFLES:
        raise ConfigError(f"scale must be one of {', '.join(map(str, SHUFFLES))}. Received: scale={scale!r}")
    check_counts(channels=channels, blocks=blocks, filters=filters)
    if not isinstance(neighbours, int) or neighbours < 0:
        raise ConfigError(f"neighbours must be an integer of 0 or more. Received: neighbours={neighbours!r}")


def conv(x: Tensor, filters: int, kernel_size: int, name: str, **kwargs: Any) -> Tensor:
    """A convolution that keeps the size."""
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **LAST, **kwargs)(x)


def batch_norm(name: str, synchronized: bool = False) -> layers.Layer:
    """Batch normalisation; `synchronized` takes the statistics of all replicas together."""
    if synchronized and ranks.rank_count() > 1:
        return BatchNormalization(momentum=0.9, name=name)
    return layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=name)


def prelu(x: Tensor, name: str) -> Tensor:
    """PReLU with one slope a channel, starting at 0.25 as in He et al. 2015."""
    slope = initializers.Constant(0.25)
    return layers.PReLU(alpha_initializer=slope, shared_axes=[1, 2], name=name)(x)


def upsample(
    x: Tensor,
    scale: int,
    filters: int,
    name: str,
    activation: Callable[[Tensor, str], Tensor] | None = None,
    smooth: bool = False,
) -> Tensor:
    """One sub-pixel convolution for each shuffle of `scale`; `activation(x, name)` after each.

    With `smooth`, a mean over as many pixels as the shuffle makes of one follows each: it is blind to
    patterns of that period, so no checkerboard gets past it (Sugawara et al. 2018, "Super-resolution using
    convolutional neural networks without any checkerboard artifacts").
    """
    for step, factor in enumerate(SHUFFLES[scale], start=1):
        x = conv(x, filters * factor**2, 3, f"{name}{step}_conv", kernel_initializer=ICNR(factor))
        x = PixelShuffle(factor, name=f"{name}{step}_shuffle")(x)
        if activation is not None:
            x = activation(x, f"{name}{step}_prelu")
        if smooth:
            x = layers.AveragePooling2D(factor, 1, "same", name=f"{name}{step}_mean", **LAST)(x)
    return x


def output_conv(x: Tensor, channels: int, kernel_size: int, global_skip: bool, shuffle: int = 1) -> Tensor:
    """The last convolution, in float32, with a pixel shuffle by `shuffle` behind it.

    It is float32 whatever the policy: a half-precision pixel has fewer levels than an 8-bit image.
    Before a global skip it starts at zero, so that the untrained network is the bicubic interpolator.
    """
    initializer = "zeros" if global_skip else ICNR(shuffle)
    filters = channels * shuffle**2
    x = conv(x, filters, kernel_size, "output_conv", dtype="float32", kernel_initializer=initializer)
    return x if shuffle == 1 else PixelShuffle(shuffle, name="output_shuffle", dtype="float32")(x)


def add_global_skip(x: Tensor, inputs: Tensor, scale: int) -> Tensor:
    """Adds the bicubic upscaling of the network's input, or of the middle one of its slices."""
    channels = x.shape[-1]
    if inputs.shape[-1] != channels:
        inputs = MiddleSlice(channels, name="output_middle", dtype="float32")(inputs)
    skip = BicubicUpsampling(scale, name="output_bicubic", dtype="float32")(inputs)
    return layers.Add(name="output_sum", dtype="float32")([x, skip])


THIN = "thin_"  # What names of a generator's thin layers begin with.
TEXTURE_OUTPUT = "thin_output_conv"  # The last one of them that has weights.


def check_thin(thin_layers: object, thin_filters: object, thin_noise: object) -> None:
    """Raises ConfigError unless there can be so many thin layers of so many filters, with such noise."""
    check_counts(thin_filters=thin_filters)
    for name, value in (("thin_layers", thin_layers), ("thin_noise", thin_noise)):
        if not isinstance(value, int) or value < 0:
            raise ConfigError(f"{name} must be an integer of 0 or more. Received: {name}={value!r}")
    if thin_noise and not thin_layers:
        raise ConfigError(f"thin_noise is for thin_layers. Received: {thin_noise=}, {thin_layers=}")


def add_texture(
    image: Tensor, features: Tensor, lr: Tensor, scale: int, count: int, filters: int, noise: int
) -> Tensor:
    """Adds to an image what a few thin convolutions at full resolution make of it and of LR features.

    What only rearranges LR features into pixels places texture by its own grid. These layers see the image
    itself and the features upscaled behind means that no pattern of the grid passes (see `upsample`), and
    all pixels alike, so that no grid comes from them. With channels of `ContentNoise` texture need not be
    made of the pattern of pixels; what they add starts at zero, and so does the last layer.
    """
    x = conv(
        features,
        features.shape[-1],
        3,
        "thin_features_conv",
        activation="relu",
        kernel_initializer="he_normal",
    )
    x = upsample(x, scale, filters, "thin_upsample", smooth=True)
    # The image is float32; from here on the policy counts again.
    own = conv(image, filters, 3, "thin_image_conv", kernel_initializer="he_normal")
    parts = [x, own]
    if noise:
        grain = ContentNoise(scale, noise, name="thin_noise", dtype="float32")(lr)
        parts.append(conv(grain, filters, 3, "thin_noise_conv", kernel_initializer="zeros"))
    x = layers.Add(name="thin_sum")(parts)
    x = layers.ReLU(name="thin_relu")(x)
    for i in range(1, count):
        x = conv(x, filters, 3, f"thin_layer{i}", activation="relu", kernel_initializer="he_normal")
    channels = image.shape[-1]
    x = conv(x, channels, 3, TEXTURE_OUTPUT, dtype="float32", kernel_initializer="zeros")
    return layers.Add(name="thin_output_sum", dtype="float32")([image, x])
