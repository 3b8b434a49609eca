"""Distance between the features of two images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.models.features import FeatureNetwork, Layers, build_features
from keras_mrisr.types import PathLike, Tensor

_NO_FEATURE = 1e-6  # Where no feature is seen, the gradient of a length would be infinite.


def feature_loss(
    features_hr: Sequence[Tensor],
    features_sr: Sequence[Tensor],
    weights: Sequence[float] | None = None,
    normalized: bool = False,
) -> Tensor:
    """Weighted sum over layers of the mean squared difference (Ledig et al. 2017, eq. 5).

    The features of `FeatureNetwork` are divided by 12.75 already: about 0.006 on this.

    Args:
        features_hr: List of tensors (N, h, w, F), one a layer. No gradient flows into them.
        features_sr: The same of the reconstructions.
        weights: One factor a layer; None for ones.
        normalized: Divide the features of every position by their length, and sum the squared differences
            over channels instead of averaging them (Zhang et al. 2018, "The unreasonable effectiveness of
            deep features as a perceptual metric", eq. 1, all channels alike): from 0 to 2 a layer. Faint
            texture counts as much as bright edges then.

    Returns:
        Scalar tensor, the mean over the batch.

    Raises:
        ConfigError: Lists of different lengths.
    """
    return ops.mean(_per_image(features_hr, features_sr, weights, normalized))


def feature_distance(hr: Tensor, sr: Tensor, network: FeatureNetwork) -> Tensor:
    """`feature_loss` of every image, for evaluation and the choice of checkpoints.

    Args:
        hr: Originals (N, H, W, C), nominally in [0, 1].
        sr: Reconstructions, same shape.
        network: A `FeatureNetwork`.

    Returns:
        Tensor (N,), 0 for equal images.
    """
    return distance_of_features(network(hr), network(sr), network)


def distance_of_features(
    features_hr: Sequence[Tensor], features_sr: Sequence[Tensor], network: FeatureNetwork
) -> Tensor:
    """`feature_distance` out of the features of `network`, one tensor (N, h, w, F) a layer."""
    return _per_image(features_hr, features_sr, network.layer_weights, network.normalized)


@keras.saving.register_keras_serializable("keras_mrisr")
class PerceptualLoss(keras.losses.Loss):
    """`feature_distance` as a loss; gradients flow into the reconstruction only.

    The network is not tracked by a model that holds this loss, so checkpoints don't carry it; it is
    built again, from the same weights, when the loss is loaded.

    Args:
        network: A `FeatureNetwork`, or the name of one, which `build_features` then builds with the
            other arguments.
        layers: See `build_features`.
        weights: See `build_features`.
        before_activation: See `build_features`.
        channel_mapping: See `build_features`.
        precision: See `build_features`.
        normalized: See `build_features`.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`; features are float32 anyway.
    """

    def __init__(
        self,
        network: str | FeatureNetwork = "vgg19",
        layers: Layers = None,
        weights: PathLike | None = "imagenet",
        before_activation: bool = False,
        channel_mapping: str = "auto",
        precision: str = "float32",
        normalized: bool = False,
        name: str = "perceptual",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not isinstance(network, FeatureNetwork):
            network = build_features(
                network, layers, weights, before_activation, channel_mapping, precision, normalized
            )
        self.network = network

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Distance of every image, shape (N,), between originals and reconstructions (N, H, W, C)."""
        return feature_distance(y_true, y_pred, self.network)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.network.get_config()}


def _per_image(
    features_hr: Sequence[Tensor],
    features_sr: Sequence[Tensor],
    weights: Sequence[float] | None,
    normalized: bool,
) -> Tensor:
    weights = [1.0] * len(features_hr) if weights is None else weights
    if not len(features_hr) == len(features_sr) == len(weights):
        raise ConfigError(
            "As many features of HR as of SR and weights are needed. "
            f"Received: {len(features_hr)}, {len(features_sr)} and {len(weights)}"
        )
    total = 0.0
    for hr, sr, weight in zip(features_hr, features_sr, weights, strict=True):
        if normalized:
            # A sum over channels, as a mean of so many.
            weight, hr, sr = weight * sr.shape[-1], _of_unit_length(hr), _of_unit_length(sr)
        total += weight * ops.mean(ops.square(ops.stop_gradient(hr) - sr), axis=(1, 2, 3))
    return total


def _of_unit_length(features: Tensor) -> Tensor:
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + _NO_FEATURE)
