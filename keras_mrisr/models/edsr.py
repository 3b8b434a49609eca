"""EDSR: residual blocks without batch normalisation."""

import keras
from keras import layers

from keras_mrisr.checks import check_flags, is_number
from keras_mrisr.errors import ConfigError
from keras_mrisr.models import blocks as parts
from keras_mrisr.types import Model


def edsr(
    scale: int = 2,
    channels: int = 3,
    blocks: int = 16,
    filters: int = 64,
    residual_scaling: float = 1.0,
    global_skip: bool = True,
    direct_upsampling: bool = False,
    smooth_upsampling: bool = False,
    thin_layers: int = 0,
    thin_filters: int = 32,
    thin_noise: int = 0,
    neighbours: int = 0,
    name: str = "edsr",
) -> Model:
    """Builds EDSR (Lim et al. 2017, "Enhanced deep residual networks for single image SR", figure 3).

    Its blocks are convolution k3, ReLU, convolution k3, sum, with no batch normalisation, which
    ties intensities to the batch and costs fidelity.

    Args:
        scale: 2, 3, 4 or 8.
        channels: Channels of a slice, in and out.
        blocks: Residual blocks.
        filters: Feature channels.
        residual_scaling: Factor on the branch of each block; 0.1 steadies more than 128 filters.
        global_skip: Add the bicubic upscaling of the input, so that the network learns the
            difference only.
        direct_upsampling: One sub-pixel convolution from the features straight to the output, as in
            ESPCN (Shi et al. 2016), instead of a chain with a last convolution at full resolution. All
            the work is then done on the LR grid: about a quarter less of it in small networks.
        smooth_upsampling: A mean over 2 x 2 pixels after each pixel shuffle by 2, against the checkerboards
            that feature losses bring out (see `blocks.upsample`); not with `direct_upsampling`.
        thin_layers: Convolutions at full resolution that add texture to the image (see
            `blocks.add_texture`). They begin with adding nothing, so that a trained model that grows by
            them is the same function at first.
        thin_filters: Channels of these.
        thin_noise: Channels of noise that they also see (see `layers.ContentNoise`).
        neighbours: Adjacent slices k on each side that the network also takes (2.5-D): its input then has
            (2k+1) * channels channels in the order of `data.neighbours`, its output is the middle slice.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, H, W, channels) to (N, H * scale, W * scale, channels),
        float32, any H and W.

    Raises:
        ConfigError: An argument is out of range.
    """
    parts.check_arguments(scale, channels, blocks, filters, neighbours)
    check_flags(
        global_skip=global_skip, direct_upsampling=direct_upsampling, smooth_upsampling=smooth_upsampling
    )
    if not is_number(residual_scaling):
        raise ConfigError(
            f"residual_scaling must be a number. Received: residual_scaling={residual_scaling!r}"
        )
    if direct_upsampling and smooth_upsampling:
        raise ConfigError(
            "direct_upsampling leaves no features at full resolution that smooth_upsampling could smooth: "
            "choose one of them."
        )
    parts.check_thin(thin_layers, thin_filters, thin_noise)
    inputs = keras.Input((None, None, (2 * neighbours + 1) * channels), name="lr")
    x = long_skip = parts.conv(inputs, filters, 3, "input_conv")
    for i in range(1, blocks + 1):
        skip = x
        x = parts.conv(x, filters, 3, f"block{i}_conv1", activation="relu", kernel_initializer="he_normal")
        x = parts.conv(x, filters, 3, f"block{i}_conv2")
        if residual_scaling != 1.0:
            x = layers.Rescaling(residual_scaling, name=f"block{i}_scale")(x)
        x = layers.Add(name=f"block{i}_sum")([x, skip])
    x = parts.conv(x, filters, 3, "body_conv")
    features = x = layers.Add(name="body_sum")([x, long_skip])
    if direct_upsampling:
        x = parts.output_conv(x, channels, 3, global_skip, shuffle=scale)
    else:
        x = parts.upsample(x, scale, filters, "upsample", smooth=smooth_upsampling)
        x = parts.output_conv(x, channels, 3, global_skip)
    if global_skip:
        x = parts.add_global_skip(x, inputs, scale)
    if thin_layers:
        x = parts.add_texture(x, features, inputs, scale, thin_layers, thin_filters, thin_noise)
    return keras.Model(inputs, x, name=name)
