"""SRResNet, the paper's generator."""

import keras
from keras import layers

from keras_mrisr.checks import check_flags
from keras_mrisr.models import blocks as parts
from keras_mrisr.types import Model, Tensor


def srresnet(
    scale: int = 2,
    channels: int = 3,
    blocks: int = 16,
    filters: int = 64,
    batch_norm: bool = True,
    synchronized: bool = False,
    global_skip: bool = False,
    smooth_upsampling: bool = False,
    neighbours: int = 0,
    name: str = "srresnet",
) -> Model:
    """Builds SRResNet (Ledig et al. 2017, "Photo-realistic single image super-resolution", figure 4).

    Convolution k9 + PReLU; residual blocks (k3, BN, PReLU, k3, BN, sum); convolution k3 + BN + long
    skip; for each x2 a convolution k3 to 4 * filters + pixel shuffle + PReLU; convolution k9.

    Args:
        scale: 2, 3, 4 or 8.
        channels: Channels of a slice, in and out.
        blocks: Residual blocks.
        filters: Feature channels.
        batch_norm: False leaves out all batch normalisation.
        synchronized: Batch statistics over all replicas; needs a distribution strategy to matter.
        global_skip: Add the bicubic upscaling of the input to the output, so that the network learns
            the difference only.
        smooth_upsampling: A mean over 2 x 2 pixels after each pixel shuffle by 2, against the checkerboards
            that feature losses bring out (see `blocks.upsample`).
        neighbours: Adjacent slices k on each side that the network also takes (2.5-D): its input then has
            (2k+1) * channels channels in the order of `data.neighbours`, its output is the middle slice.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, H, W, channels) to (N, H * scale, W * scale, channels),
        float32, any H and W. With the defaults it has 1.41 M parameters.

    Raises:
        ConfigError: An argument is out of range.
    """
    parts.check_arguments(scale, channels, blocks, filters, neighbours)
    check_flags(
        batch_norm=batch_norm,
        synchronized=synchronized,
        global_skip=global_skip,
        smooth_upsampling=smooth_upsampling,
    )

    def normalize(x: Tensor, name: str) -> Tensor:
        if not batch_norm:
            return x
        return parts.batch_norm(name, synchronized)(x)

    inputs = keras.Input((None, None, (2 * neighbours + 1) * channels), name="lr")
    x = parts.prelu(parts.conv(inputs, filters, 9, "input_conv"), "input_prelu")
    long_skip = x
    for i in range(1, blocks + 1):
        skip = x
        x = normalize(parts.conv(x, filters, 3, f"block{i}_conv1"), f"block{i}_bn1")
        x = parts.prelu(x, f"block{i}_prelu")
        x = normalize(parts.conv(x, filters, 3, f"block{i}_conv2"), f"block{i}_bn2")
        x = layers.Add(name=f"block{i}_sum")([x, skip])
    x = normalize(parts.conv(x, filters, 3, "body_conv"), "body_bn")
    x = layers.Add(name="body_sum")([x, long_skip])
    x = parts.upsample(x, scale, filters, "upsample", activation=parts.prelu, smooth=smooth_upsampling)
    x = parts.output_conv(x, channels, 9, global_skip)
    if global_skip:
        x = parts.add_global_skip(x, inputs, scale)
    return keras.Model(inputs, x, name=name)
