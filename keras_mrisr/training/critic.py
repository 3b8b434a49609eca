"""What the discriminator of an `SRGAN` is shown, and what it says."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.degrade.projection import Projection
from keras_mrisr.losses.perceptual import PerceptualLoss, feature_loss
from keras_mrisr.models.layers import BicubicUpsampling
from keras_mrisr.training.augmentation import augment
from keras_mrisr.types import Tensor

_GREY = 0.5  # What a residual, which has both signs, is shown on.


class Critic:
    """Shows HR and SR to a discriminator, changed alike.

    One that is `models.projected` looks through the same network as the perceptual loss: then the features of
    SR are computed once for both.

    Args:
        discriminator: The discriminator.
        perceptual: The perceptual loss of the training, or None.
        projection: For one that is shown residuals: the `Projection`.
        augmentation: See `training.augmentation`.
        seed: Of the augmentation.
    """

    def __init__(
        self,
        discriminator: keras.Model,
        perceptual: Any,
        projection: Projection | None,
        augmentation: Sequence[str],
        seed: keras.random.SeedGenerator,
    ) -> None:
        self.discriminator = discriminator
        self.projection = projection
        self.augmentation = tuple(augmentation)
        self.seed = seed
        self.conditional = getattr(discriminator, "conditional", False)
        self.residual = getattr(discriminator, "residual", False)
        self.features = getattr(discriminator, "features", None)
        network = perceptual.network if isinstance(perceptual, PerceptualLoss) else None
        self.shares = (
            network is not None
            and self.features is not None
            and not self.residual
            and network.get_config() == self.features.get_config()
        )
        if self.shares:
            perceptual.network = self.features

    def judge(
        self, lr: Tensor, hr: Tensor, sr: Tensor, noisy: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits of HR and of SR, and the perceptual loss where it comes with them.

        Args:
            lr: What SR was made of, for a conditional discriminator.
            hr: (N, H, W, C), nominally in [0, 1].
            sr: The same of the generator.
            noisy: Puts noise on what is shown; with it, the features are not those of the perceptual loss.
        """
        shown_hr, shown_sr, *rest = self._shown(lr, hr, sr)
        if noisy is not None:
            shown_hr, shown_sr = noisy(shown_hr), noisy(shown_sr)
        if self.features is None:
            real = self.discriminator(shown_hr, training=True)
            return real, self.discriminator(shown_sr, training=True), None
        of_hr, of_sr = self.features(shown_hr), self.features(shown_sr)
        of_lr = self.features(rest[0]) if rest else None
        real = self.discriminator.judge(of_hr, of_lr, training=True)
        fake = self.discriminator.judge(of_sr, of_lr, training=True)
        shared = self.shares and noisy is None
        if not shared:
            return real, fake, None
        weights, normalized = self.features.layer_weights, self.features.normalized
        return real, fake, feature_loss(of_hr, of_sr, weights, normalized)

    def logit(self, lr: Tensor, hr: Tensor) -> Callable[[Tensor], Tensor]:
        """A function of images that gives one logit each, for gradients at real ones.

        It is one an image, so that a map of logits weighs no more than a single one.
        """
        shown = [self._upscaled(lr, hr)] if self.conditional else []

        def logit(images: Tensor) -> Tensor:
            inputs = [self._unmeasured(images), *shown]
            logits = self.discriminator(inputs if shown else inputs[0], training=True)
            return ops.mean(ops.reshape(logits, (ops.shape(logits)[0], -1)), axis=1)

        return logit

    def _shown(self, lr: Tensor, hr: Tensor, sr: Tensor) -> list[Tensor]:
        images = [self._unmeasured(hr), self._unmeasured(sr)]
        if self.conditional:
            images.append(ops.cast(self._upscaled(lr, hr), images[0].dtype))
        return augment(images, self.augmentation, self.seed) if self.augmentation else images

    def _unmeasured(self, images: Tensor) -> Tensor:
        if not self.residual or self.projection is None:
            return images
        return self.projection.residual(images) + _GREY

    @staticmethod
    def _upscaled(lr: Tensor, hr: Tensor) -> Tensor:
        scale = hr.shape[1] // lr.shape[1]
        return BicubicUpsampling(scale, dtype="float32")(middle_channels(lr, hr.shape[-1]))
