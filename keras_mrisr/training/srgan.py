"""SRGAN as a Keras model: two networks, one `train_step`, one optimizer."""

from typing import Any, Self

import keras
from keras import ops

from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.projection import Projection
from keras_mrisr.errors import ConfigError
from keras_mrisr.losses import adversarial, consistency
from keras_mrisr.losses.spectrum import spectrum_loss
from keras_mrisr.metrics.psnr import PSNR
from keras_mrisr.replicas import gradient_share, random_rows, replica_mean
from keras_mrisr.training.augmentation import check_augmentation
from keras_mrisr.training.critic import Critic
from keras_mrisr.training.gan_checks import WEIGHTS, check_inputs, check_losses
from keras_mrisr.training.gradients import gradients, input_gradient, output_gradients, without_gradients
from keras_mrisr.training.optimizers import Networks, discriminator_optimizer, gan_optimizer
from keras_mrisr.types import Tensor

__all__ = ["SRGAN", "discriminator_optimizer", "gan_optimizer"]

_OBJECTS = ("generator", "discriminator", "perceptual", "segmentation")  # That have a config of their own.


@keras.saving.register_keras_serializable("keras_mrisr")
class SRGAN(keras.Model):
    """Trains a generator against a discriminator (Ledig et al. 2017, section 2.2, and what steadies it).

    A call of the model runs the moving average of the generator, which is also what `test_step` scores
    and what should be saved and served. `generator` itself is what the gradients move.

    Compile it with `gan_optimizer(generator, discriminator)`; `fit`, `evaluate`, `save` and
    `keras.models.load_model` work as for any model. Data are pairs (lr, hr) in [0, 1]; for a generator of
    several inputs, such as `models.through_plane`, lr is a dictionary of them.

    Args:
        generator: Functional model, LR to SR.
        discriminator: Functional model from HR-sized images to logits, one an image or a map.
        weights: Weight of each loss, over the defaults: "pixel", "perceptual", "adversarial",
            "consistency", "segmentation", "spectrum", "r1". A weight of 0 leaves the loss out at no cost.
        pixel: "mean_absolute_error" or "mean_squared_error".
        perceptual: A `keras.losses.Loss` of (hr, sr), such as `PerceptualLoss`; needed for its weight.
        segmentation: A `keras.losses.Loss` of (hr, sr), such as `SegmentationConsistencyLoss`; needed for
            its weight.
        adversarial_kind: "bce" (non-saturating), "relativistic" (pairs), "relativistic_average" or "hinge".
        degradation: Dictionary for `get_degradation`; needed for the weight of "consistency", for
            `consistency` and for a discriminator of residuals, which are for generators of one input.
        consistency: Whether SR is brought to the nearest image that degrades to LR before any loss sees it
            (`degrade.projection`), so that losses only move what was not measured. It is no part of
            `average_generator`: who serves that does the same, see `inference.enforce_consistency`.
        balance: Size of the adversarial loss's gradient at the generator's output relative to that of all
            other losses, in place of the weight "adversarial"; 0 for that weight.
        augmentation: What the discriminator's images go through, HR and SR alike: see
            `training.augmentation`.
        average: Momentum of the generator's moving average; 0 makes it a copy.
        discriminator_steps: Updates of the discriminator for each one of the generator.
        ramp: Steps over which the adversarial weight grows from 0 to its value.
        delay: Steps before that, in which the generator trains without it.
        label_smoothing: Real labels are 1 - label_smoothing, one-sided.
        instance_noise: Standard deviation of noise on the discriminator's inputs at the start.
        noise_steps: Steps over which the noise fades to 0.
        r1_every: Steps between two R1 penalties (Mescheder et al. 2018, eq. 9), each weighted as many
            times, as in StyleGAN2; every update of the discriminator in such a step has it.
        seed: Seed of the instance noise.

    Raises:
        ConfigError: An unknown loss, a weight that is no number of 0 or more, or a weight on a loss
            without what it needs.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        weights: dict[str, float] | None = None,
        pixel: Any = "mean_absolute_error",
        perceptual: Any = None,
        segmentation: Any = None,
        adversarial_kind: str = "bce",
        degradation: Any = None,
        consistency: bool = False,
        balance: float = 0.0,
        augmentation: Any = (),
        average: float = 0.999,
        discriminator_steps: int = 1,
        ramp: int = 0,
        delay: int = 0,
        label_smoothing: float = 0.0,
        instance_noise: float = 0.0,
        noise_steps: int = 1,
        r1_every: int = 16,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.average_generator = keras.models.clone_model(generator)
        self.average_generator.set_weights(generator.get_weights())
        self.average_generator.trainable = False
        self.weights_of_losses = {**WEIGHTS, **(weights or {})}
        check_losses(self.weights_of_losses, pixel, perceptual, segmentation, degradation)
        check_inputs(generator, discriminator, self.weights_of_losses["consistency"], consistency)
        residual = getattr(discriminator, "residual", False)
        self.consistency = consistency
        self.pixel = pixel
        self.perceptual = perceptual
        self.segmentation = segmentation
        self.adversarial_kind = adversarial_kind
        self.degradation = degradation
        self.balance = balance
        self.augmentation = list(augmentation)
        check_augmentation(self.augmentation)
        self.average = average
        self.discriminator_steps = discriminator_steps
        self.ramp = ramp
        self.delay = delay
        self.label_smoothing = label_smoothing
        self.instance_noise = instance_noise
        self.noise_steps = noise_steps
        self.r1_every = r1_every
        self.seed = seed
        self._degrade: Any = get_degradation(**degradation) if degradation else None
        if self._degrade is not None and self.weights_of_losses["consistency"]:
            self._degrade.require_fixed()
        self._projection: Any = None
        if consistency or residual:
            if self._degrade is None:
                raise ConfigError("`consistency` and residuals need the degradation of the data.")
            self._projection = Projection(self._degrade)
        self._noise = keras.random.SeedGenerator(seed)
        # Keras saves variables, but no generators of random numbers.
        self.noise_state = self._noise.state
        self._critic = Critic(discriminator, perceptual, self._projection, augmentation, self._noise)
        self._means = {name: keras.metrics.Mean(name=name) for name in self._logged()}
        self.psnr = PSNR(name="psnr")
        self.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        return self.average_generator(inputs, training=False)

    def compile(self, optimizer: Any, *, metrics: Any = None, **kwargs: Any) -> None:
        """Configures the model for `fit`.

        Args:
            optimizer: What `gan_optimizer` made. Any other optimizer trains both networks alike.
            metrics: Metrics of HR and SR in [0, 1] as for `keras.Model.compile`, beside the losses: in `fit`
                of the generator's SR, in `evaluate` of its moving average's.
            **kwargs: As for `keras.Model.compile`, but for losses.

        Raises:
            ConfigError: There is a `loss`, `loss_weights` or `weighted_metrics`.
        """
        for name in ("loss", "loss_weights", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ConfigError(
                    f"SRGAN.compile takes no `{name}`: SRGAN(weights=..., pixel=...) chooses the losses."
                )
        networks = getattr(getattr(optimizer, "inner_optimizer", optimizer), "_optimizer_map", None)
        if isinstance(networks, Networks):
            networks.bind(self.discriminator.variables)
        super().compile(optimizer, metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.Metric]:
        own = {metric.name: metric for metric in (*self._means.values(), self.psnr)}
        return [*own.values(), *(metric for metric in super().metrics if metric.name not in own)]

    def _compiled_metrics(self, hr: Tensor, sr: Tensor) -> dict[str, Tensor]:
        """What was given to `compile(metrics=...)`, after one more batch."""
        if self._compile_metrics is None:
            return {}
        self._compile_metrics.update_state(hr, ops.clip(sr, 0.0, 1.0))
        return self._compile_metrics.result()

    def _logged(self):
        losses = [name for name in WEIGHTS if self._active(name)]
        balanced = ["adversarial_weight"] if self._balanced else []
        return [*losses, *balanced, "loss", "d_loss", "d_hr", "d_sr", "g_gradient", "d_gradient"]

    @property
    def _balanced(self):
        return self.balance > 0 and self._active("adversarial")

    def _active(self, name):
        # Without a discriminator there is nothing that R1 could smooth.
        needed = (name, "adversarial") if name == "r1" else (name,)
        return all(self.weights_of_losses[part] > 0 for part in needed)

    def train_step(self, data: Any) -> dict[str, Any]:
        lr, hr = _pair(data)
        both = self.generator.trainable_variables, self.discriminator.trainable_variables
        if self._active("adversarial"):
            for _ in range(self.discriminator_steps - 1):
                self._update_discriminator(lr, hr)
        (g_gradients, d_gradients), (logs, sr) = gradients(lambda: self._both_losses(lr, hr), *both)
        with without_gradients():
            logs["g_gradient"] = self._logged_norm(g_gradients)
            logs["d_gradient"] = self._logged_norm(d_gradients)
            self.optimizer.apply([*g_gradients, *d_gradients], [*both[0], *both[1]])
            self._update_average()
            for name, mean in self._means.items():
                mean.update_state(logs[name])
            compiled = self._compiled_metrics(hr, sr)
        return {**{name: mean.result() for name, mean in self._means.items()}, **compiled}

    def test_step(self, data: Any) -> dict[str, Any]:
        lr, hr = _pair(data)
        sr = self._consistent(lr, self(lr))
        self.psnr.update_state(hr, ops.clip(sr, 0.0, 1.0))
        shown = {"psnr": self.psnr}
        losses = {
            "pixel": self._pixel_loss,
            "perceptual": self._perceptual_loss,
            "segmentation": self._segmentation_loss,
        }
        for name, loss in losses.items():
            if self._active(name):
                self._means[name].update_state(loss(hr, sr))
                shown[name] = self._means[name]
        return {**{name: mean.result() for name, mean in shown.items()}, **self._compiled_metrics(hr, sr)}

    def _both_losses(self, lr, hr):
        """((generator's loss, discriminator's loss), (logs, SR)) of one batch, ready for the gradients."""
        made = self.generator(lr, training=True)
        share = gradient_share()  # These are means.
        scale = self.optimizer.scale_loss
        if not self._balanced:
            sr, terms, logits = self._judged(lr, hr, made)
            weight = self._ramp_weight() if logits else None
            g_loss = self._anchors(terms)
            g_loss = g_loss + weight * terms["adversarial"] if logits else g_loss
            moves = scale(g_loss * share)
        else:

            def losses(x):
                sr, terms, logits = self._judged(lr, hr, x)
                parts = self._anchors(terms), terms["adversarial"]
                return [scale(part * share) for part in parts], (sr, terms, logits)

            (of_anchors, of_critic), (sr, terms, logits) = output_gradients(losses, made)
            ratio = _whole_norm(of_anchors) / ops.maximum(_whole_norm(of_critic), 1e-30)
            weight = self.balance * self._ramp() * ratio
            moves = ops.sum(made * ops.stop_gradient(of_anchors + weight * of_critic))
            g_loss = self._anchors(terms) + weight * terms["adversarial"]
        d_loss, d_hr, d_sr = ops.zeros(()), 0.5, 0.5
        if logits:
            real, fake = logits
            d_loss = adversarial.discriminator_loss(real, fake, self.adversarial_kind, self.label_smoothing)
            d_hr, d_sr = self._probabilities(real, fake)
            if self._active("r1"):
                terms["r1"] = self._r1(lr, hr)
                d_loss = d_loss + 0.5 * self.weights_of_losses["r1"] * self.r1_every * terms["r1"]
        logs = {**terms, "loss": g_loss, "d_loss": d_loss, "d_hr": d_hr, "d_sr": d_sr}
        if self._balanced:
            logs["adversarial_weight"] = weight
        return (moves, scale(d_loss * share)), (logs, sr)

    def _judged(self, lr, hr, made):
        """(SR, unweighted losses, logits of HR and SR or None) of what the generator made."""
        sr = self._consistent(lr, made)
        terms, logits, perceptual = {}, None, None
        if self._active("adversarial"):
            real, fake, perceptual = self._critic.judge(lr, hr, sr, self._noise_of())
            logits = real, fake
        if self._active("pixel"):
            terms["pixel"] = self._pixel_loss(hr, sr)
        if self._active("perceptual"):
            terms["perceptual"] = self._perceptual_loss(hr, sr) if perceptual is None else perceptual
        if self._active("consistency"):
            middle = middle_channels(lr, sr.shape[-1])
            terms["consistency"] = consistency.consistency_loss(middle, sr, self._degrade)
        if self._active("segmentation"):
            terms["segmentation"] = self._segmentation_loss(hr, sr)
        if self._active("spectrum"):
            terms["spectrum"] = spectrum_loss(hr, sr)
        if logits:
            terms["adversarial"] = adversarial.generator_loss(*logits, self.adversarial_kind)
        return sr, terms, logits

    def _anchors(self, terms):
        """The weighted sum of all losses of the generator but the adversarial one."""
        parts = [self.weights_of_losses[name] * term for name, term in terms.items() if name != "adversarial"]
        return sum(parts, ops.zeros(()))

    def _consistent(self, lr, sr):
        return self._projection(sr, middle_channels(lr, sr.shape[-1])) if self.consistency else sr

    def _update_discriminator(self, lr, hr):
        """One step of the discriminator alone."""
        variables = self.discriminator.trainable_variables

        def loss():
            sr = ops.stop_gradient(self._consistent(lr, self.generator(lr, training=False)))
            real, fake, _ = self._critic.judge(lr, hr, sr, self._noise_of())
            value = adversarial.discriminator_loss(real, fake, self.adversarial_kind, self.label_smoothing)
            if self._active("r1"):
                value = value + 0.5 * self.weights_of_losses["r1"] * self.r1_every * self._r1(lr, hr)
            return (self.optimizer.scale_loss(value * gradient_share()),), None

        (found,), _ = gradients(loss, variables)
        with without_gradients():
            if _scales(self.optimizer):
                # Where one overflows, the step of both networks that follows lowers the scale.
                finite, scale = ops.isfinite(_norm(found)), self.optimizer.scale_loss(1.0)
                found = [ops.where(finite, gradient / scale, 0.0) for gradient in found]
            discriminator_optimizer(self.optimizer).apply(found, variables)

    def _pixel_loss(self, hr, sr):
        difference = ops.cast(hr, "float32") - ops.cast(sr, "float32")
        if self.pixel == "mean_squared_error":
            return ops.mean(ops.square(difference))
        return ops.mean(ops.abs(difference))

    def _perceptual_loss(self, hr, sr):
        # Not through Loss.__call__, which divides by the replicas already.
        return ops.mean(self.perceptual.call(hr, sr))

    def _segmentation_loss(self, hr, sr):
        return ops.mean(self.segmentation.call(hr, sr))

    def _probabilities(self, real, fake):
        """D(HR) and D(SR); under a relativistic loss of being more real than the other kind is."""
        if self.adversarial_kind == "relativistic":
            # Only differences of logits mean anything: their level is free to drift.
            real, fake = real - fake, fake - real
        elif self.adversarial_kind == "relativistic_average":
            real, fake = real - replica_mean(ops.mean(fake)), fake - replica_mean(ops.mean(real))
        return ops.mean(ops.sigmoid(real)), ops.mean(ops.sigmoid(fake))

    def _logged_norm(self, found):
        """The norm of gradients that are scaled and a share, as `_both_losses` leaves them."""
        scale = self.optimizer.scale_loss(1.0)
        norm = _norm(found) / gradient_share() / scale
        if not _scales(self.optimizer):
            return norm
        # An overflow is how the scale finds its size: the step is skipped. It is an illness below 1.
        return ops.where(ops.isfinite(norm) | (scale < 1.0), norm, 0.0)

    def _ramp_weight(self):
        return self.weights_of_losses["adversarial"] * self._ramp()

    def _ramp(self):
        """Share of the adversarial loss that counts by now."""
        step = ops.cast(self.optimizer.iterations, "float32") - float(self.delay)
        if self.ramp:
            return ops.clip((step + 1.0) / float(self.ramp), 0.0, 1.0)
        return ops.cast(step >= 0.0, "float32")

    def _noise_of(self):
        return self._noisy if self.instance_noise else None

    def _noisy(self, images):
        step = ops.cast(self.optimizer.iterations, "float32")
        deviation = self.instance_noise * ops.maximum(0.0, 1.0 - step / float(self.noise_steps))
        noise = random_rows(keras.random.normal, ops.shape(images), dtype=images.dtype, seed=self._noise)
        return images + ops.cast(deviation, images.dtype) * noise

    def _r1(self, lr, hr):
        """Mean squared norm of the discriminator's gradient at real images, every `r1_every` steps."""

        def penalty():
            return adversarial.r1_penalty_from_gradients(input_gradient(self._critic.logit(lr, hr), hr))

        if self.r1_every == 1:
            return penalty()
        due = ops.equal(ops.mod(self.optimizer.iterations, self.r1_every), 0)
        return ops.cond(due, penalty, lambda: ops.zeros(()))

    def _update_average(self):
        step = ops.cast(self.optimizer.iterations, "float32")
        # An average over the steps so far at first: the start counts for no more than its share.
        momentum = ops.minimum(self.average, step / (step + 9.0))
        for mean, value in zip(self.average_generator.weights, self.generator.weights, strict=True):
            mean.assign(value + ops.cast(momentum, mean.dtype) * (mean - value))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in _OBJECTS:
            config[key] = keras.saving.serialize_keras_object(getattr(self, key))
        config["weights"] = dict(self.weights_of_losses)
        for key in (
            "pixel", "adversarial_kind", "degradation", "consistency", "balance", "augmentation", "average",
            "discriminator_steps", "ramp", "delay", "label_smoothing", "instance_noise", "noise_steps",
            "r1_every", "seed",
        ):  # fmt: skip
            config[key] = getattr(self, key)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        config = dict(config)
        for key in _OBJECTS:
            config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
        return cls(**config)


def _scales(optimizer):
    """Whether losses are scaled, as they are in mixed_float16."""
    return hasattr(optimizer, "dynamic_growth_steps")


def _pair(data):
    lr, hr, _ = keras.utils.unpack_x_y_sample_weight(data)
    # PyTorch's trainer hands on the arrays as they are.
    return keras.tree.map_structure(ops.convert_to_tensor, lr), ops.convert_to_tensor(hr)


def _norm(found):
    return ops.sqrt(sum(ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in found))


def _whole_norm(gradient):
    """The norm of a gradient by a batch of which each replica has some samples, up to a factor."""
    return ops.sqrt(replica_mean(ops.sum(ops.square(ops.cast(gradient, "float32")))))
