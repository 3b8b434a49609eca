"""Whether a frozen U-Net sees the same lesions in a reconstruction as in the original."""

import pathlib
from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.models.unet_storage import load_unet
from keras_mrisr.types import Model, PathLike, Tensor

DARKEST = 0.2
"""The least brightness that is stretched to 1: a patch of background stays dark."""


def segmentation_distance(hr: Tensor, sr: Tensor, unet: Model, layer: str | None = None) -> Tensor:
    """How differently a U-Net segments two images; 0 where it sees the same.

    Without `layer`, the Kullback-Leibler divergence of the U-Net's probabilities at each pixel, averaged
    over pixels: KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), p at HR and q at SR. It weighs
    a pixel by how sure the U-Net is of it at HR, and healthy tissue that stays healthy costs nothing. With
    `layer`, the mean squared difference of that layer's features, which sees every edge.

    A U-Net is trained on patients of one brightness, which a patch does not tell: both images are divided,
    in each channel, by the maximum of HR, at least 0.2.

    Args:
        hr: Originals (N, H, W, C), nominally in [0, 1]. No gradient flows into them.
        sr: Reconstructions, same shape.
        unet: `keras.Model` from images to logits (N, H, W, 1) or, with `layer`, to features.
        layer: Name of the layer that `unet` ends with, if it is not the logits.

    Returns:
        Tensor (N,), float32, 0 or more.
    """
    hr, sr = ops.stop_gradient(ops.cast(hr, "float32")), ops.cast(sr, "float32")
    peaks = ops.maximum(ops.max(hr, axis=(1, 2), keepdims=True), DARKEST)
    true = ops.cast(unet(hr / peaks, training=False), "float32")
    made = ops.cast(unet(sr / peaks, training=False), "float32")
    if layer is not None:
        return ops.mean(ops.square(true - made), axis=(1, 2, 3))
    chance = ops.sigmoid(true)
    # log p - log q and log(1 - p) - log(1 - q) by softplus, without an overflow.
    inside = ops.softplus(-made) - ops.softplus(-true)
    outside = ops.softplus(made) - ops.softplus(true)
    return ops.mean(chance * inside + (1 - chance) * outside, axis=(1, 2, 3))


@keras.saving.register_keras_serializable("keras_mrisr")
class SegmentationConsistencyLoss(keras.losses.Loss):
    """`segmentation_distance` as a loss of (HR, SR); gradients flow into the reconstruction only.

    The U-Net is not tracked by a model that holds this loss, so checkpoints don't carry it; it is loaded
    again, from the same place, when the loss is.

    Args:
        model: Directory of a U-Net that `mrisr segment train` wrote, or its `.keras` file.
        layer: Name of a layer of it, such as "up1_relu2" (the last features); None for the logits.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`; the distance is float32 anyway.

    Raises:
        ConfigError: No such model, or no such layer in it.
    """

    def __init__(
        self,
        model: PathLike,
        layer: str | None = None,
        name: str = "segmentation",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.model = str(model)
        self.layer = layer
        unet, self.info = load_unet(pathlib.Path(model))
        unet.trainable = False
        self.unet = unet if layer is None else _cut(unet, layer)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Distance of every image, shape (N,), between originals and reconstructions (N, H, W, C)."""
        return segmentation_distance(y_true, y_pred, self.unet, self.layer)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "model": self.model, "layer": self.layer}


def _cut(unet: Model, layer: str | None) -> Model:
    known = [each.name for each in unet.layers]
    if layer not in known:
        raise ConfigError(f"The U-Net has no layer {layer!r}. Its last features are 'up1_relu2'.")
    return keras.Model(unet.inputs, unet.get_layer(layer).output)
