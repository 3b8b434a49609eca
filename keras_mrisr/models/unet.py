"""U-Net for segmentation. The discriminator of that name is `unet_discriminator`."""

from typing import Any

import keras
from keras import layers, ops

from keras_mrisr.checks import check_counts
from keras_mrisr.models.blocks import LAST, batch_norm
from keras_mrisr.types import Model, Shape, Tensor


def segmentation_unet(
    channels: int = 3,
    filters: int = 32,
    depth: int = 4,
    synchronized: bool = False,
    name: str = "segmentation_unet",
) -> Model:
    """Builds the U-Net of Buda et al. 2019.

    "Association of genomic subtypes of lower-grade gliomas with shape features automatically extracted
    by a deep learning algorithm", Computers in Biology and Medicine 109. Levels of two convolutions
    k3 with batch normalisation and ReLU each, max pooling on the way down, transposed convolutions k2
    and concatenated skips on the way up, and a convolution k1. The features double from level to
    level: 32 to 512 by default.

    Args:
        channels: Channels of the image.
        filters: Features at full resolution.
        depth: Number of poolings.
        synchronized: Batch statistics over all replicas; needs a distribution strategy to matter.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from (N, H, W, channels) to logits (N, H, W, 1), float32; positive
        where the structure is. H and W are free: the image is padded with zeros at the bottom and right
        to a multiple of 2**depth, and the logits are cut. With the defaults it has 7.77 M parameters.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(channels=channels, filters=filters, depth=depth)

    def level(x: Tensor, width: int, label: str) -> Tensor:
        for i in (1, 2):
            conv = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{label}_conv{i}", **LAST)
            norm = batch_norm(f"{label}_bn{i}", synchronized)
            x = layers.ReLU(name=f"{label}_relu{i}")(norm(conv(x)))
        return x

    inputs = keras.Input((None, None, channels), name="image")
    x = PadToMultiple(2**depth, name="pad")(inputs)
    skips = []
    for i in range(depth):
        x = level(x, filters * 2**i, f"down{i + 1}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{i + 1}_pool", **LAST)(x)
    x = level(x, filters * 2**depth, "bottom")
    for i in reversed(range(depth)):
        x = layers.Conv2DTranspose(filters * 2**i, 2, strides=2, name=f"up{i + 1}_conv_transposed", **LAST)(x)
        x = layers.Concatenate(name=f"up{i + 1}_skip")([x, skips[i]])
        x = level(x, filters * 2**i, f"up{i + 1}")
    # float32 whatever the policy: the losses take log sigmoid of it.
    x = layers.Conv2D(1, 1, name="logits", dtype="float32", **LAST)(x)
    x = CropLike(name="crop", dtype="float32")([x, inputs])
    return keras.Model(inputs, x, name=name)


@keras.saving.register_keras_serializable("keras_mrisr")
class PadToMultiple(keras.layers.Layer):
    """Adds zeros at the bottom and right until height and width are multiples of a number.

    Args:
        multiple: The number.
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs: Tensor) -> Tensor:
        # Padded by the most that can be needed, then cut: the sizes may be known at run time only.
        more = self.multiple - 1
        height, width = (self._up(size) for size in ops.shape(inputs)[1:3])
        return ops.pad(inputs, ((0, 0), (0, more), (0, more), (0, 0)))[:, :height, :width]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n, *sizes, channels = input_shape
        return (n, *(None if size is None else self._up(size) for size in sizes), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple}

    def _up(self, size: Any) -> Any:
        return -(-size // self.multiple) * self.multiple


@keras.saving.register_keras_serializable("keras_mrisr")
class CropLike(keras.layers.Layer):
    """Cuts the first of two inputs, (N, H, W, C), at the bottom and right to the size of the second."""

    def call(self, inputs: Tensor) -> Tensor:
        x, like = inputs
        height, width = ops.shape(like)[1:3]
        return x[:, :height, :width]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        x, like = input_shape
        return (*x[:1], *like[1:3], x[-1])
