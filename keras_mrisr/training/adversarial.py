"""The second stage of the recipe: what `train` builds and watches when a run is adversarial."""

import inspect
import itertools
import json
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr import ranks
from keras_mrisr.config import AdversarialConfig, RunConfig
from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.data.splits import Split, check_unseen
from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.projection import Projection
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.inference.consistency import enforce_consistency
from keras_mrisr.losses.perceptual import PerceptualLoss, distance_of_features
from keras_mrisr.losses.segmentation import SegmentationConsistencyLoss
from keras_mrisr.metrics.distributions import kid, patch_means
from keras_mrisr.metrics.spectrum import largest_error, power_spectrum, spectrum_error
from keras_mrisr.models.blocks import THIN
from keras_mrisr.models.discriminators import DISCRIMINATORS, build_discriminator
from keras_mrisr.models.features import build_features, with_layers
from keras_mrisr.models.projected import LAYERS
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import INFO
from keras_mrisr.models.unet_storage import load_unet_info
from keras_mrisr.replicas import replica_count
from keras_mrisr.training.callbacks import Validation
from keras_mrisr.training.srgan import SRGAN, gan_optimizer
from keras_mrisr.training.state import RunState
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.types import Model, Tensor

log = logging.getLogger(__name__)

PATCH = 64  # Pixels of the patches of which `val_kid` is taken, as in `evaluation.realism`.


def pretraining_config(config: Any) -> Any:
    """The config of the first stage, which trains the generator alone."""
    training = config.training.replace({"init": None, **config.adversarial.pretraining})
    return config.replace({"training": training.to_dict(), "adversarial": {}})


def feature_network(config: Any, edge: int | None = None, keys: str = "training.patch_size") -> Any:
    """The `FeatureNetwork` that the run's loss and validation share; None if neither needs one.

    Args:
        config: The adversarial config.
        edge: That of the smallest patches in pixels; by default `training.patch_size`.
        keys: Those of the config that decide it, for messages.

    Raises:
        ConfigError: Its weights are missing or wrong; the message says where to get them. Or its layers are
            too deep for the patches.
    """
    if not config.adversarial.needs_features:
        return None
    allowed = inspect.signature(build_features).parameters
    for key in config.adversarial.features:
        if key not in allowed:
            raise ConfigError(f"Unknown key adversarial.features.{key}. Known: {', '.join(allowed)}.")
    options = config.adversarial.features
    if config.adversarial.projected:
        seen = config.adversarial.discriminator.get("layers", LAYERS)
        options = with_layers(
            options, seen, bool(config.adversarial.perceptual_weight or config.adversarial.perception)
        )
    features = build_features(**options)
    edge = config.training.patch_size if edge is None else edge
    if config.adversarial.perceptual_weight and edge < features.smallest:
        raise ConfigError(
            f"Patches of {edge} are too small for the features "
            f"{', '.join(features.layers)}: the smallest is {features.smallest}. Raise {keys}, "
            "or choose layers of earlier blocks as adversarial.features.layers."
        )
    return features


def compiled_srgan(config: RunConfig, channels: int, features: Any) -> SRGAN:
    """Builds and compiles the `SRGAN` that `config` asks for, in the distribution scope of the caller.

    Args:
        config: An adversarial `RunConfig`.
        channels: Channels of the data.
        features: The `FeatureNetwork`, or None if the run needs none.
    """
    generator, discriminator = dict(config.generator), dict(config.adversarial.discriminator)
    # Replicas that normalise by statistics of their own end with different models.
    if replica_count() > 1 and generator["name"] == "srresnet":
        generator.setdefault("synchronized", True)
    if config.adversarial.projected:
        discriminator["features"] = features
    if "patch_size" in inspect.signature(DISCRIMINATORS[discriminator["name"]]).parameters:
        discriminator["patch_size"] = config.training.patch_size
    options = {"scale": config.scale, "neighbours": config.data.neighbours, **generator}

    def build() -> Model:
        built = build_generator(channels=channels, **options)
        if config.adversarial.frozen:
            for layer in built.layers:
                layer.trainable = layer.name.startswith(THIN)
        return built

    return compiled_gan(
        config,
        build,
        {"channels": channels, **discriminator},
        features,
        segmentation=_segmentation_loss(config.adversarial),
        degradation={"scale": config.scale, **config.degradation},
    )


def compiled_gan(
    config: Any, generator: Callable[[], Model], discriminator: dict[str, Any], features: Any, **losses: Any
) -> SRGAN:
    """Builds and compiles the `SRGAN` of a stage, in the distribution scope of the caller.

    Args:
        config: The adversarial config.
        generator: Builds the generator.
        discriminator: Arguments of `build_discriminator`.
        features: The `FeatureNetwork`, or None if the run needs none.
        **losses: What other losses of `SRGAN` need.
    """
    training, adversarial = config.training, config.adversarial
    if replica_count() > 1 and not adversarial.projected:  # As above.
        discriminator.setdefault("synchronized", True)
    with dtype_policy(training.precision):
        model = SRGAN(
            generator(),
            build_discriminator(**discriminator),
            weights={
                "pixel": adversarial.pixel_weight,
                "perceptual": adversarial.perceptual_weight,
                "adversarial": adversarial.adversarial_weight,
                "consistency": adversarial.consistency_weight,
                "segmentation": adversarial.segmentation_weight,
                "spectrum": adversarial.spectrum_weight,
                "r1": adversarial.r1_weight,
            },
            pixel=training.loss,
            perceptual=PerceptualLoss(features) if adversarial.perceptual_weight else None,
            adversarial_kind=adversarial.kind,
            consistency=adversarial.consistency,
            balance=adversarial.balance,
            augmentation=adversarial.augmentation,
            average=adversarial.average,
            discriminator_steps=adversarial.discriminator_steps,
            ramp=adversarial.ramp,
            delay=adversarial.delay,
            label_smoothing=adversarial.label_smoothing,
            instance_noise=adversarial.instance_noise,
            noise_steps=adversarial.noise_steps,
            r1_every=adversarial.r1_every,
            seed=training.seed,
            **losses,
        )
    model.compile(
        gan_optimizer(
            model.generator,
            model.discriminator,
            training.learning_rate,
            adversarial.discriminator_rate,
            training.clip_norm,
            training.optimizer,
        )
    )
    return model


def check_segmentation_model(config: RunConfig, split: Split, channels: int) -> None:
    """Raises ConfigError for a U-Net that cannot judge this run's images or knows patients that it holds out.

    Args:
        config: An adversarial `RunConfig`.
        split: The run's `Split`.
        channels: Channels of the data.
    """
    model = config.adversarial.segmentation_model
    if not config.adversarial.segmentation_weight or model is None:
        return
    info = load_unet_info(model)
    if info.channels != channels:
        raise ConfigError(
            f"adversarial.segmentation_model: {model} takes {info.channels} channel(s), the data has "
            f"{channels}. Choose a U-Net of such data."
        )
    check_unseen("adversarial.segmentation_model", model, info.data.get("split", {}), split)


def check_feature_weights(config: Any, split: Split) -> None:
    """Raises ConfigError for fine-tuned features that know patients that the run holds out.

    What a fine-tuning knows stands in the `model.json` beside its weights; without one there is a warning.

    Args:
        config: The adversarial config.
        split: The run's `Split`.
    """
    weights = config.adversarial.features.get("weights", "imagenet")
    known = isinstance(weights, str) and pathlib.Path(weights).is_file()
    if not config.adversarial.needs_features or not known:
        return  # "imagenet", random, or for `feature_network` to refuse.
    try:
        info = json.loads(pathlib.Path(weights).with_name(INFO).read_text(encoding="utf-8"))
        taught = dict(info["data"]["split"])
    except (OSError, ValueError, KeyError, TypeError):
        log.warning(
            "adversarial.features.weights: %s does not say which patients it was trained with (no %s beside "
            "it): if it was fine-tuned, make sure that this run holds none of them out.", weights, INFO,
        )  # fmt: skip
        return
    check_unseen("adversarial.features.weights", weights, taught, split)


def _segmentation_loss(adversarial: AdversarialConfig) -> SegmentationConsistencyLoss | None:
    if not adversarial.segmentation_weight or adversarial.segmentation_model is None:
        return None
    return SegmentationConsistencyLoss(adversarial.segmentation_model)


def described(adversarial: AdversarialConfig) -> dict[str, Any]:
    """An `AdversarialConfig` as plain values for `model.json`, without a path of this machine."""
    values = adversarial.to_dict()
    weights = values["features"].get("weights")
    if weights is not None:
        values["features"]["weights"] = pathlib.Path(weights).name
    if values["pretraining"].get("init"):
        values["pretraining"]["init"] = pathlib.Path(values["pretraining"]["init"]).name
    if values["segmentation_model"] is not None:
        values["segmentation_model"] = pathlib.Path(values["segmentation_model"]).name
    return values


class AdversarialValidation(Validation):
    """Scores the moving average of an `SRGAN`'s generator.

    Adds to `val_psnr` and `val_ssim`: `val_features`, the distance of VGG features to HR; `val_kid`, the
    kernel distance of these features as a set (see `metrics.kid`), averaged over patches of tissue;
    `val_spectrum`, the largest error of the power spectrum in dB up to 3/4 of the Nyquist frequency;
    `val_variety`, the spread of the SR images over slices relative to that of HR; and `val_score`, the gain
    over the start in PSNR plus `perception` times the gain in features plus `realism` times that in the
    spectrum, all in dB, plus `kid` times the share by which KID fell.
    With `adversarial.consistency` it is the consistent SR that is scored, which is what the model gives.

    Args:
        scored: What is scored: the float32 copy, or what the other `Validation` takes that this class is
            mixed with.
        pairs: What it is scored on.
        features: The `FeatureNetwork`; None leaves `val_features` and `val_kid` out, and the score is that
            of PSNR alone.
        state: The `RunState`; its `start` holds the scores before the first step.
        perception: Weight of the features.
        consistent: The degradation that SR is made consistent with, or None.
        realism: Weight of the spectrum.
        kid: Weight of KID, in dB.
    """

    monitor = "val_score"

    def __init__(
        self,
        scored: Any,
        pairs: Sequence[Any],
        features: Any,
        state: RunState,
        perception: float,
        consistent: Degradation | None = None,
        realism: float = 0.0,
        kid: float = 0.0,
    ) -> None:
        super().__init__(scored, pairs)
        self.features = features
        self.state = state
        self.perception = perception
        self.consistent = consistent
        self.realism = realism
        self.kid = kid

    def on_train_begin(self, logs: Any = None) -> None:
        if self.state.start is None:
            self.copy()
            self.state.start = self.score()
            if self.state.start is None:
                raise ConfigError(
                    "The generator that the adversarial stage starts from gives values that are not finite: "
                    "train it again, or choose another one with training.init."
                )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.copy()
        # Not finite is for the guard to find and mend, so nothing is raised here.
        start: Any = self.state.start
        scores = self.score() or {name: float("nan") for name in start}
        scores["val_score"] = scores["val_psnr"] - start["val_psnr"]
        if self.features is not None:
            gain = 10 * np.log10(start["val_features"] / scores["val_features"])
            scores["val_score"] += self.perception * float(gain)
        if self.realism:
            scores["val_score"] += self.realism * (start["val_spectrum"] - scores["val_spectrum"])
        if self.kid and start.get("val_kid", 0) > 0:
            scores["val_score"] += self.kid * (1 - scores["val_kid"] / start["val_kid"])
        logs.update(scores)

    def copy(self) -> None:
        """Brings the copy to the present moving average."""
        self.generator.set_weights(self.model.average_generator.get_weights())

    def score(self) -> dict[str, float] | None:
        self._thumbnails: list[list[np.ndarray]] = []
        self._powers: list[list[np.ndarray]] = []
        self._patches: list[list[np.ndarray]] = []
        consistent = self.consistent
        if consistent is None:
            scores = super().score()
        else:
            scores = self.score_of(lambda lr: self._consistent(lr, consistent))
        if scores is not None:
            seen = ranks.gathered((self._thumbnails, self._powers, self._patches))
            thumbnails, powers, patches = (list(itertools.chain(*parts)) for parts in zip(*seen, strict=True))
            hr, sr = np.std(np.array(thumbnails), axis=0).mean(axis=(1, 2, 3))
            scores["val_variety"] = float(sr / hr) if hr > 0 else 1.0
            scores["val_spectrum"] = largest_error(spectrum_error(*np.mean(powers, axis=0)), 0.75)
            features = [np.concatenate(own) for own in zip(*patches, strict=True)]
            if features and len(features[0]) >= 2:
                unit = np.sqrt(np.mean(np.square(features[0]))) or 1.0
                scores["val_kid"] = kid(*(one / unit for one in features))
        return scores

    def _consistent(self, lr: Tensor, degradation: Degradation) -> np.ndarray:
        sr = np.asarray(self.generator.predict_on_batch(lr))
        measured = middle_channels(np.asarray(lr), sr.shape[-1])
        if not np.isfinite(sr).all():
            return sr
        return np.stack(
            [enforce_consistency(*pair, degradation)[0] for pair in zip(sr, measured, strict=True)]
        )

    def compare(self, hr: Tensor, sr: Tensor) -> dict[str, float]:
        # Every sixteenth pixel is enough to tell whether images differ; sizes may.
        self._thumbnails.append(
            [np.resize(image[0, ::16, ::16], (8, 8, image.shape[-1])) for image in (hr, sr)]
        )
        self._powers.append([power_spectrum(image)[0] for image in (hr, sr)])
        if self.features is None:
            return super().compare(hr, sr)
        of_hr, of_sr = self.features(hr), self.features(sr)
        self._patches.append(_patches_of_tissue(hr, [of_hr, of_sr]))
        distance = keras.ops.convert_to_numpy(distance_of_features(of_hr, of_sr, self.features))[0]
        return {**super().compare(hr, sr), "features": float(distance)}


def _patches_of_tissue(hr: Tensor, features: Sequence[Sequence[Tensor]]) -> list[np.ndarray]:
    """Means of the features of HR (1, H, W, C) and of SR over patches that HR is bright in: (N, d) each."""
    image = np.asarray(hr[0])
    rows, columns = (max(1, size // PATCH) for size in image.shape[:2])
    maps = [[keras.ops.convert_to_numpy(one[0]) for one in own] for own in features]
    # The channels of an image lie below each other where the network takes them one by one.
    height = maps[0][0].shape[0] * image.shape[1] / (maps[0][0].shape[1] * image.shape[0])
    count = max(1, round(height))
    channels = np.moveaxis(image, -1, 0) if count > 1 else image.mean(axis=-1)[np.newaxis]
    light = np.concatenate([patch_means([one[..., np.newaxis]], rows, columns)[:, 0] for one in channels])
    bright = light >= np.repeat(channels.mean(axis=(1, 2)), rows * columns)
    return [patch_means(own, count * rows, columns)[bright] for own in maps]


def check_adversarial(config: RunConfig) -> None:
    """Raises ConfigError for an adversarial config that cannot work, before any data is read."""
    check_stage(config)
    if config.generator.get("direct_upsampling") and not config.generator.get("thin_layers"):
        log.warning(
            "generator.direct_upsampling leaves no layer at full resolution to smooth the grid of its pixel "
            "shuffle, and feature losses bring that grid out: train with generator.smooth_upsampling, or "
            "set generator.thin_layers."
        )
    adversarial = config.adversarial
    degradation = get_degradation(**{"scale": config.scale, **config.degradation})
    if adversarial.consistency_weight:
        degradation.require_fixed()
    if adversarial.frozen and not config.generator.get("thin_layers"):
        raise ConfigError("adversarial.frozen leaves nothing to train without generator.thin_layers.")
    if adversarial.consistency or adversarial.discriminator.get("residual"):
        Projection(degradation)


def check_stage(config: Any) -> None:
    """What `check_adversarial` does for the adversarial config of any kind of training."""
    name = config.adversarial.discriminator["name"]
    if not isinstance(name, str) or name not in DISCRIMINATORS:
        raise ConfigError(f"Unknown discriminator {name!r}. Known: {', '.join(sorted(DISCRIMINATORS))}.")
    try:
        pretraining_config(config)
    except MrisrError as error:
        raise ConfigError(f"adversarial.pretraining: {error}") from error
    weights = config.adversarial.pixel_weight, config.adversarial.perceptual_weight
    if not any(weights):
        raise ConfigError(
            "adversarial.pixel_weight and adversarial.perceptual_weight are both 0: nothing ties SR to HR."
        )
