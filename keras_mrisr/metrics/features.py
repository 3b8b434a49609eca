"""Distance between the VGG features of two images, per image."""

from collections.abc import Sequence
from typing import Protocol

from keras import ops

from keras_mrisr.metrics.filters import halve
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, check_data_range, masked_mean
from keras_mrisr.types import Tensor


class Features(Protocol):
    """A feature network, such as `models.features.FeatureNetwork`.

    Attributes:
        layers: Names of the layers, such as "block3_conv1", in the order of the features.
        layer_weights: Their weights in the distance.
    """

    layers: Sequence[str]
    layer_weights: Sequence[float]

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """The features of images (N, H, W, C) in [0, 1]: tensors (N, h, w, F), one a layer."""


def feature_distance(
    hr: Tensor, sr: Tensor, data_range: float, network: Features, mask: Tensor | None = None
) -> Tensor:
    """Mean squared difference of the features of every image, over layers weighted as the network says.

    Without a mask it is what `losses.PerceptualLoss` minimises (Ledig et al. 2017, eq. 5). Networks and
    layers differ in scale: quote it with both, such as "VGG16 block5_conv3, features / 12.75".

    Args:
        hr: Originals (N, H, W, C).
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value; black is 0.
        network: A `FeatureNetwork`; see `models.features.build_features`.
        mask: (N, H, W), bool or weights, halved as often as the network halves its features. A feature
            sees far beyond its own place (196 pixels at block5_conv3), so the mask only says where it is.

    Returns:
        Tensor (N,): 0 for equal images, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes differ, images are too small for the network, or `data_range` is no positive
            number.
    """
    check_data_range(data_range)
    hr, sr = as_pair(hr, sr)
    mask = None if mask is None else as_mask(mask, hr)
    hr, sr = (ops.cast(images, "float32") / data_range for images in (hr, sr))
    return feature_distance_of_maps(feature_maps(hr, sr, network), network, mask)


def feature_maps(hr: Tensor, sr: Tensor, network: Features) -> list[Tensor]:
    """Squared differences of the features of images in [0, 1]: a list of (N, h, w, F), one a layer."""
    return [ops.square(one - two) for one, two in zip(network(hr), network(sr), strict=True)]


def feature_distance_of_maps(maps: Sequence[Tensor], network: Features, mask: Tensor | None = None) -> Tensor:
    """`feature_distance` out of `feature_maps` and a mask of the images (N, H, W), or None: tensor (N,)."""
    total = 0.0
    for values, layer, weight in zip(maps, network.layers, network.layer_weights, strict=True):
        part = None if mask is None else _at_layer(ops.cast(mask, values.dtype), layer, values.shape[1])
        total = total + weight * masked_mean(values, part)
    return total


def _at_layer(mask: Tensor, layer: str, height: int) -> Tensor:
    """The mask on the grid of a layer's features; "block3_conv1" lies behind two halvings."""
    for _ in range(int(layer[5]) - 1):
        mask = halve(mask)
    # With the channel mapping "each" the features of the channels lie below each other.
    return ops.concatenate([mask] * (height // mask.shape[1]), axis=1)
