"""A discriminator that already sees: small heads on the features of a frozen VGG."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import initializers, layers, ops

from keras_mrisr.checks import check_counts, check_flags
from keras_mrisr.errors import ConfigError
from keras_mrisr.models.blocks import LAST
from keras_mrisr.models.features import FeatureNetwork, build_features
from keras_mrisr.models.spectral import SpectralConv2D
from keras_mrisr.types import Model, Shape, Tensor

LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3")
"""What lies before VGG's first pooling sees single pixels: without it a grid goes unseen."""


@keras.saving.register_keras_serializable("keras_mrisr")
class ProjectedDiscriminator(keras.Model):
    """Judges images by the features that a frozen VGG has of them (Sauer et al. 2021, "Projected GANs
    converge faster"; Kumari et al. 2022, "Ensembling off-the-shelf models for GAN training").

    The features of each layer go through a fixed random 1x1 convolution, and from coarse to fine are added to
    those of the layer above behind a fixed random 3x3 convolution, all of about the same size; each mixture
    has a small head with spectral normalisation. Only the heads are trained. Their maps of logits all have
    the size of the coarsest layer, so that every layer counts alike.

    The features are not tracked: checkpoints hold the projections and the heads.

    Args:
        features: A `FeatureNetwork` that has the `layers`, or its config.
        layers: Names of convolutions of VGG.
        filters: Channels of the projections and the heads.
        conditional: Whether it is also shown LR, as features of its bicubic upscaling.
        residual: Whether it is shown only what LR does not hold; `SRGAN` takes the rest off.
        name: Name of the model.

    Raises:
        ConfigError: An argument is out of range, or the network lacks a layer.
    """

    def __init__(
        self,
        features: FeatureNetwork | dict[str, Any],
        layers: Sequence[str] = LAYERS,
        filters: int = 32,
        conditional: bool = False,
        residual: bool = False,
        name: str = "d_projected",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_counts(filters=filters)
        check_flags(conditional=conditional, residual=residual)
        self.features = build_features(**features) if isinstance(features, dict) else features
        missing = [layer for layer in layers if layer not in self.features.layers]
        if missing or not layers:
            raise ConfigError(
                f"The discriminator 'projected' needs layers of its feature network. Received: {layers!r}, "
                f"there are {', '.join(self.features.layers)}."
            )
        self.layers_seen = tuple(sorted(layers, reverse=True))  # From coarse to fine.
        self.filters = filters
        self.conditional = conditional
        self.residual = residual
        widths = [self.features.widths[one] * (1 + conditional) for one in self.layers_seen]
        factors = [_factor(one) for one in self.layers_seen]
        self.heads = _heads(widths, factors, filters)
        self._scale_projections()
        self.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Logits (N, h, w, K) of images (N, H, W, C) in [0, 1], or of a pair of them and upscaled LR."""
        pair = isinstance(inputs, list | tuple)
        images, lr = inputs if pair else (inputs, None)
        seen = None if lr is None else self.features(lr)
        return self.judge(self.features(images), seen, training)

    def judge(
        self, features: Sequence[Tensor], lr: Sequence[Tensor] | None, training: bool = False
    ) -> Tensor:
        """Logits of images whose features are known.

        Args:
            features: What `self.features` gave of the images.
            lr: What it gave of the upscaled LR, for a conditional one.
            training: Whether the estimates of the spectral norms move on.
        """
        maps = self._own(features)
        if self.conditional:
            if lr is None:
                raise ConfigError("A conditional discriminator needs LR beside the images.")
            maps = [ops.concatenate(pair, axis=-1) for pair in zip(maps, self._own(lr), strict=True)]
        return self.heads(maps, training=training)

    def _scale_projections(self) -> None:
        """Divides the projections by the size of each layer's features of noise that is smooth in places.

        Layers of VGG differ in size by tens, and the hinge expects logits of about 1.
        """
        rng = np.random.default_rng(0)
        probe = np.kron(rng.random((1, 16, 16, 1)), np.ones((1, 4, 4, 1)))
        probe[:, :32] += rng.normal(0, 0.05, (1, 32, 64, 1))
        for place, features in enumerate(self._own(self.features(probe.astype("float32")))):
            layer = self.heads.get_layer(f"d_project{place}")
            size = float(np.sqrt(np.mean(np.square(ops.convert_to_numpy(features)))))
            layer.set_weights([weight / max(size, 1e-6) for weight in layer.get_weights()])

    def _own(self, features: Sequence[Tensor]) -> list[Tensor]:
        known = dict(zip(self.features.layers, features, strict=True))
        return [known[name] for name in self.layers_seen]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        factor = _factor(self.layers_seen[0])
        sizes = (None if size is None else size // factor for size in shape[1:3])
        return (shape[0], *sizes, len(self.layers_seen))

    def get_config(self) -> dict[str, Any]:
        return {
            "features": self.features.get_config(),
            "layers": list(self.layers_seen),
            "filters": self.filters,
            "conditional": self.conditional,
            "residual": self.residual,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**config)


def projected_discriminator(
    features: FeatureNetwork | dict[str, Any],
    channels: int = 3,
    patch_size: int | None = None,
    layers: Sequence[str] = LAYERS,
    filters: int = 32,
    conditional: bool = False,
    residual: bool = False,
    name: str = "d_projected",
) -> Model:
    """Builds a `ProjectedDiscriminator`, which sees through the features of the perceptual loss.

    Args:
        features: The `FeatureNetwork`, or its config.
        channels: Channels of the image; VGG takes any number.
        patch_size: Edge of the HR patches, only checked.
        layers: Convolutions of VGG with a head each; block1 sees single pixels.
        filters: Channels of the projections and the heads.
        conditional: Show it LR, too.
        residual: Show it only what LR does not hold.
        name: Name of the model.

    Returns:
        A `keras.Model` from (N, H, W, channels), nominally in [0, 1], to logits (N, h, w, K), float32: one
        map a layer, of the size of the coarsest layer's features.

    Raises:
        ConfigError: An argument is out of range.
    """
    check_counts(channels=channels)
    model = ProjectedDiscriminator(features, layers, filters, conditional, residual, name)
    factor = _factor(model.layers_seen[0])
    if patch_size is not None and (not isinstance(patch_size, int) or patch_size < 1 or patch_size % factor):
        raise ConfigError(
            f"The discriminator 'projected' with {model.layers_seen[0]} takes HR patches whose edge is a "
            f"multiple of {factor}. Received: patch_size={patch_size!r}"
        )
    return model


def _factor(layer: str) -> int:
    """By how much VGG has made images smaller at a layer such as "block3_conv3"."""
    return 2 ** (int(layer[5]) - 1)


def _heads(widths: Sequence[int], factors: Sequence[int], filters: int) -> Model:
    """The projections and heads, for features from coarse to fine."""
    inputs, logits = [], []
    above, before = None, factors[0]
    for place, (width, factor) in enumerate(zip(widths, factors, strict=True)):
        x = keras.Input((None, None, width), name=f"d_features{place}")
        inputs.append(x)
        mixed = _fixed(x, filters, 1, f"d_project{place}")
        if above is not None:
            if before > factor:
                above = layers.UpSampling2D(
                    before // factor, interpolation="bilinear", name=f"d_up{place}", **LAST
                )(above)
            mixed = layers.Add(name=f"d_mix{place}")([mixed, _fixed(above, filters, 3, f"d_mixer{place}")])
        above, before = mixed, factor
        while factor < factors[0]:  # Down to the size of the coarsest.
            factor *= 2
            mixed = _trained(mixed, filters, 4, 2, f"{place}_down{factor}")
        mixed = _trained(mixed, filters, 3, 1, f"{place}")
        logits.append(
            SpectralConv2D(1, 3, padding="same", name=f"d_logits{place}", dtype="float32", **LAST)(mixed)
        )
    x = layers.Concatenate(name="d_logits", dtype="float32")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(inputs, x, name="d_heads")


def _fixed(x: Tensor, filters: int, kernel_size: int, name: str) -> Tensor:
    """A random convolution that keeps the size of its values and is never trained."""
    conv = layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer=initializers.VarianceScaling(1.0, "fan_in"),
        name=name,
        **LAST,
    )
    conv.trainable = False
    return conv(x)


def _trained(x: Tensor, filters: int, kernel_size: int, strides: int, label: str) -> Tensor:
    x = SpectralConv2D(
        filters, kernel_size, strides, padding="same", kernel_initializer="he_normal",
        name=f"d_conv{label}", **LAST,
    )(x)  # fmt: skip
    return layers.LeakyReLU(0.2, name=f"d_lrelu{label}")(x)
