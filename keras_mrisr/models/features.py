"""What a perceptual loss looks through: the layers of a frozen VGG."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mrisr.checks import check_flags
from keras_mrisr.errors import ConfigError
from keras_mrisr.models.vgg import conv_names, vgg
from keras_mrisr.types import PathLike, Tensor

log = logging.getLogger(__name__)

# Ledig et al. 2017, section 3.2: VGG features of an image in 0..255 come to the scale of its pixels.
FEATURE_SCALE = 1 / 12.75
# Means of ImageNet in blue, green, red, as the weights were trained with (Caffe).
_IMAGENET_MEANS = np.array([103.939, 116.779, 123.68], "float32")
CHANNEL_MAPPINGS = ("auto", "mean", "each")
PRECISIONS = ("float32", "mixed_bfloat16")


def network_input(images: Tensor, channel_mapping: str = "auto") -> Tensor:
    """Maps images to what VGG was trained on: 0..255, blue-green-red, ImageNet's means taken off.

    Args:
        images: (N, H, W, C), nominally in [0, 1]; values outside are not clipped.
        channel_mapping: What becomes of channels that are no red, green and blue.
            "auto": one channel is repeated, three are taken as red, green and blue, of any other number
            the mean is repeated. "mean": always the mean of the channels. "each": every channel is a
            grey image of its own; all are stacked along the batch, those of an image together.

    Returns:
        Tensor (N, H, W, 3), or (N * C, H, W, 3) for "each", float32.

    Raises:
        ConfigError: No batch of images, or an unknown mapping.
    """
    images = ops.cast(ops.convert_to_tensor(images), "float32")
    if len(images.shape) != 4:
        raise ConfigError(f"Features are taken of images (N, H, W, C). Received: {tuple(images.shape)}")
    if channel_mapping not in CHANNEL_MAPPINGS:
        raise ConfigError(
            f"channel_mapping must be one of {', '.join(CHANNEL_MAPPINGS)}. "
            f"Received: channel_mapping={channel_mapping!r}"
        )
    channels = images.shape[-1]
    if channel_mapping == "each" and channels > 1:
        height, width = ops.shape(images)[1:3]
        images = ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, height, width, 1))
    elif channels > 1 and (channel_mapping == "mean" or channels != 3):
        images = ops.mean(images, axis=-1, keepdims=True)
    if images.shape[-1] == 1:
        images = ops.repeat(images, 3, axis=-1)
    # As a tensor: PyTorch takes no gradient through an operation with a NumPy array.
    return ops.flip(images, axis=-1) * 255.0 - ops.convert_to_tensor(_IMAGENET_MEANS)


# Names of convolutions, with weights or without; see `build_features`.
Layers = str | Sequence[str] | Mapping[str, float] | None


class FeatureNetwork:
    """Takes features of images; frozen, and whatever the policy of the run is. Make it with `build_features`.

    It is no Keras object on purpose: a model that holds it, or a loss with it, does not track its
    weights, and checkpoints don't carry them.

    Attributes:
        layers: Names of the layers, in the order of the result.
        layer_weights: Their weights in a loss, floats.
        model: The functional `keras.Model` from `network_input(images)` to the unscaled features.
        normalized: Whether a loss compares their directions only, see `build_features`.
        widths: Number of features of each layer.
        smallest: Edge of the smallest images that the deepest layer can be taken of, in pixels.
    """

    def __init__(
        self,
        network: str,
        layers: Layers,
        weights: PathLike | None,
        before_activation: bool,
        channel_mapping: str,
        precision: str = "float32",
        normalized: bool = False,
    ) -> None:
        self.network = network
        self.layers, self.layer_weights = _named_weights(network, layers)
        self.weights = weights if weights is None else str(weights)
        self.before_activation = bool(before_activation)
        self.channel_mapping = channel_mapping
        self.precision = precision
        check_flags(normalized=normalized)
        self.normalized = normalized
        if precision not in PRECISIONS:
            raise ConfigError(
                f"precision must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}"
            )
        if channel_mapping not in CHANNEL_MAPPINGS:
            network_input(np.zeros((1, 1, 1, 1)), channel_mapping)
        names = conv_names(network)
        deepest = max(self.layers, key=names.index)
        # Inside the scope so that the paths of its variables are nobody else's.
        with keras.name_scope(f"features_{network}"):
            trunk = vgg(network, deepest, weights, dtype=precision)
        suffix = "" if before_activation else "_relu"
        outputs = [trunk.get_layer(name + suffix).output for name in self.layers]
        self.widths = {name: one.shape[-1] for name, one in zip(self.layers, outputs, strict=True)}
        self.model = keras.Model(trunk.input, outputs, name=f"features_{network}")
        self.model.trainable = False
        self.smallest = 2 ** (int(deepest[5]) - 1)
        if weights is None:
            log.warning(
                "The feature network %s has random weights: fit for tests, not for a perceptual loss. "
                "Give a weight file, or 'imagenet' to download.",
                network,
            )

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Features of images.

        Args:
            images: (N, H, W, C), nominally in [0, 1]; see `network_input` for its channels.

        Returns:
            List of tensors (N, h, w, F), one a layer, float32, divided by 12.75. With the channel mapping
            "each" the features of the channels lie below each other: (N, C * h, w, F).

        Raises:
            ConfigError: The images are too small for the deepest layer, or no batch.
        """
        images = ops.convert_to_tensor(images)
        x = network_input(images, self.channel_mapping)
        if any(size is not None and size < self.smallest for size in images.shape[1:3]):
            raise ConfigError(
                f"Images of {images.shape[1]}x{images.shape[2]} are too small for the features "
                f"{', '.join(self.layers)}: the smallest is {self.smallest}x{self.smallest}."
            )
        features = self.model(x, training=False)
        features = features if isinstance(features, (list, tuple)) else [features]
        if self.channel_mapping == "each":
            features = [self._below_each_other(f, images.shape[-1]) for f in features]
        return [ops.cast(f, "float32") * FEATURE_SCALE for f in features]

    @staticmethod
    def _below_each_other(features: Tensor, channels: int) -> Tensor:
        height, width = ops.shape(features)[1:3]
        return ops.reshape(features, (-1, channels * height, width, features.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `build_features` that make this object again, as plain values."""
        return {
            "network": self.network,
            "layers": dict(zip(self.layers, self.layer_weights, strict=True)),
            "weights": self.weights,
            "before_activation": self.before_activation,
            "channel_mapping": self.channel_mapping,
            "precision": self.precision,
            "normalized": self.normalized,
        }


def build_features(
    network: str = "vgg19",
    layers: Layers = None,
    weights: PathLike | None = "imagenet",
    before_activation: bool = False,
    channel_mapping: str = "auto",
    precision: str = "float32",
    normalized: bool = False,
) -> FeatureNetwork:
    """Builds a feature network.

    Args:
        network: "vgg19" or "vgg16".
        layers: Name of a convolution, several names, or a dictionary of name to weight; "block3" is the last
            one of that block. None for the deepest: "block5_conv4" (the VGG5,4 of Ledig et al. 2017) or
            "block5_conv3".
        weights: "imagenet", a weight file or None (fixed random values, with a warning); see
            `vgg.read_weights`.
        before_activation: Take the convolution before its ReLU, which leaves more of the deep features
            non-zero (Wang et al. 2018, "ESRGAN", section 3.3).
        channel_mapping: "auto", "mean" or "each"; see `network_input`.
        precision: "float32", or "mixed_bfloat16", which is faster where the processor has it; in float16
            features of 0..255 images could overflow.
        normalized: Whether losses and distances compare only the direction of the features of a position, as
            LPIPS does; see `losses.feature_loss`.

    Returns:
        A `FeatureNetwork`.

    Raises:
        ConfigError: Unknown name.
        ModelError: The weights are not there or not this network's.
    """
    return FeatureNetwork(network, layers, weights, before_activation, channel_mapping, precision, normalized)


def with_layers(options: Mapping[str, Any], names: Sequence[str], weighted: bool = True) -> dict[str, Any]:
    """Arguments of `build_features` with layers more, which count nothing in a loss.

    Args:
        options: Arguments of `build_features`.
        names: The convolutions that are to be there, too.
        weighted: Whether the layers of `options` are to be there at all.
    """
    own: dict[str, float] = {}
    if weighted:
        own = dict(zip(*_named_weights(options.get("network", "vgg19"), options.get("layers")), strict=True))
    return {**options, "layers": {**dict.fromkeys(names, 0.0), **own}}


def _last_of_block(name: str, known: Sequence[str]) -> str:
    """ "block3" stands for the last convolution of the block, in any network."""
    return next((each for each in reversed(known) if each.startswith(f"{name}_")), name)


def _named_weights(network: str, layers: Layers) -> tuple[tuple[str, ...], tuple[float, ...]]:
    known = conv_names(network)
    weights = {
        _last_of_block(name, known): weight for name, weight in _as_dictionary(layers, known[-1]).items()
    }
    for name, weight in weights.items():
        conv_names(network, name)
        if not isinstance(weight, (int, float)) or not math.isfinite(weight) or weight < 0:
            raise ConfigError(f"The weight of the layer {name!r} must be 0 or more. Received: {weight!r}")
    return tuple(weights), tuple(float(weight) for weight in weights.values())


def _as_dictionary(layers: Layers, deepest: str) -> Mapping[str, float]:
    if layers is None:
        return {deepest: 1.0}
    names = tuple(layers) if isinstance(layers, list | tuple | dict) else (layers,)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(
            "The layers of a feature network must be names such as block3_conv3, or such names with weights. "
            f"Received: layers={layers!r}"
        )
    if not names:
        raise ConfigError("At least one layer of the feature network is needed. Received: layers=()")
    return layers if isinstance(layers, dict) else dict.fromkeys(names, 1.0)
