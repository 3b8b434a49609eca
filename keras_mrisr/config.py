"""The configuration of a training run and its YAML round trip."""

import math
import os
import pathlib
import typing
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import yaml
from pydantic import Field

from keras_mrisr.checks import check, none_or, one_of
from keras_mrisr.config_base import Config, Count, Natural, Rate, Seed, Share, Weight, unknown_key
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.factors import factors_of, scale_of
from keras_mrisr.files import write_text

SCALES = (2, 3, 4, 8)
FACTORS = (1, 2, 3, 4)  # Of one axis of a volume.
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]
Strategy = Literal["none", "mirrored"]
Optimizer = Literal["adam", "muon"]
OPTIMIZERS = typing.get_args(Optimizer)


class DataConfig(Config):
    """Where the slices are and how patients are held out.

    Attributes:
        root: Folder of the data.
        kind: "lgg" (the published kaggle_3m tree), "images" (folders of images), "volumes" (NIfTI files,
            for 3-D generators) or "auto".
        patient_pattern: Regular expression that finds the patient in a file's relative path; by
            default the parent folder is the patient.
        validation_fraction: Share of patients for choosing the best checkpoint.
        test_fraction: Share of patients that training never touches; 0 for none, and so no final score.
        split_seed: Seed of the split.
        neighbours: Adjacent slices on each side that the generator also sees (2.5-D); the files of a patient
            must then be one stack of slices in order.
        separate_channels: Take each channel of a slice as a grey image of its own: the generator then has
            one channel, and upscales images of any contrast and any number of channels one by one.
    """

    prefix: ClassVar[str] = "data."

    root: str = ""
    kind: Literal["auto", "lgg", "images", "volumes"] = "auto"
    patient_pattern: str | None = None
    validation_fraction: Share = 0.1
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    split_seed: int = 0
    neighbours: Natural = 0
    separate_channels: bool = False

    @pydantic.model_validator(mode="after")
    def _check_split(self) -> typing.Self:
        total = self.validation_fraction + self.test_fraction
        check(total < 1, "data.validation_fraction + data.test_fraction", total, "less than 1")
        return self


def check_slices(data: DataConfig, network: str) -> None:
    """Raises ConfigError unless the data are single slices, all that `network` takes."""
    one_of("data.kind", data.kind, ("auto", "lgg", "images"))
    check(data.neighbours == 0, "data.neighbours", data.neighbours, f"0 for {network}")


class TrainingConfig(Config):
    """How the generator is trained.

    Attributes:
        epochs: Number of epochs; after each, the validation patients are scored.
        steps_per_epoch: Batches an epoch.
        batch_size: Patches a batch, over all replicas.
        patch_size: Edge of the HR patches in pixels; 0 for whole slices.
        patch_slices: Slices of the HR patches of a 3-D generator.
        candidates: Places drawn for each patch, of which the one with the most contrast is taken.
        augment: Random flips and quarter turns.
        gain: [low, high] of a random factor on the intensities of every pair of patches, drawn evenly on a
            logarithmic scale, for a generator that is to take contrasts of any brightness; None for none.
        noise_snr: Signal-to-noise ratio of Rician noise that is added to every LR patch (mean of the tissue
            over sigma, see `degrade.noise`), or [low, high] between which it is drawn again for each;
            None for no noise. Validation slices stay free of it.
        rescale: [low, high] of a random factor on the number of pixels of half of the slices, for a generator
            that is to take scans of finer and coarser spacing; only with the degradation
            "random-acquisition", which is drawn anew for every patch; None for none.
        contrasts: Give slices contrasts that they do not show: gain, gamma, inverted; with that degradation.
        loss: "mean_squared_error", "mean_absolute_error", or "psnr" (`PSNRLoss`; no adversarial training),
            on [0, 1].
        optimizer: "adam", or "muon" (see `training.muon`), which learns as much in a fraction of the steps.
        learning_rate: Rate of the optimizer at the start of the schedule.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        precision: Keras dtype policy: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for the
            faster of the first two on the machine that trains.
        strategy: "none", or "mirrored" for all visible GPUs.
        early_stopping: Stop after so many epochs without a better validation PSNR; 0 for never.
        validation_slices: At most so many slices (or volumes), evenly spaced, are scored after each epoch.
        init: Model directory whose weights the generator starts from; it may have fewer residual blocks and
            fewer neighbours.
        seed: Seed of the weights and of the patches (the split has its own).
    """

    prefix: ClassVar[str] = "training."

    epochs: Count = 100
    steps_per_epoch: Count = 250
    batch_size: Count = 16
    patch_size: Natural = 96
    patch_slices: Count = 16
    candidates: Count = 2
    augment: bool = True
    gain: list | None = None
    noise_snr: int | float | list | None = None
    rescale: list | None = None
    contrasts: bool = False
    loss: Literal["mean_squared_error", "mean_absolute_error", "psnr"] = "mean_absolute_error"
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 1e-3
    schedule: Schedule = "cosine"
    clip_norm: Weight = 0.0
    precision: Precision = "float32"
    strategy: Strategy = "none"
    early_stopping: Natural = 0
    validation_slices: Count = 64
    init: str | None = None
    seed: Seed = 0

    @pydantic.model_validator(mode="after")
    def _check_ranges(self) -> typing.Self:
        if self.noise_snr is not None:
            _check_range("training.noise_snr", self.noise_snr, "a number over 0, or [low, high]")
        if self.gain is not None:
            _check_range("training.gain", self.gain, "[low, high], both over 0")
        if self.rescale is not None:
            _check_range("training.rescale", self.rescale, "[low, high], both over 0")
        return self


def _check_range(name: str, value: Any, allowed: str) -> None:
    bounds = value if isinstance(value, list) else [value, value]
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds)
    good = numbers and len(bounds) == 2 and 0 < bounds[0] <= bounds[1] < math.inf
    check(good, name, value, allowed)


class AdversarialConfig(Config):
    """How the generator is trained further against a discriminator; see `training.SRGAN`.

    `training.epochs`, `batch_size` and so on are then those of the adversarial stage, and
    `training.learning_rate` is the generator's. Without `training.init`, a first stage trains the
    generator alone and hands its weights over.

    Attributes:
        on: Train adversarially.
        pretraining: Keys of `training` for the first stage that differ; empty for no first stage.
        discriminator: "srgan", "patchgan" or "unet"; name and options for `build_discriminator`.
        kind: "bce" (the paper), "relativistic" or "relativistic_average".
        discriminator_rate: Learning rate of the discriminator's Adam.
        discriminator_steps: Updates of the discriminator for each one of the generator.
        pixel_weight: Weight of `training.loss`.
        perceptual_weight: Weight of the distance between features.
        adversarial_weight: Weight of the adversarial loss, after the ramp.
        consistency_weight: Weight of the distance between the degraded SR and LR.
        segmentation_weight: Weight of the difference between what a frozen U-Net sees in SR and in HR; see
            `SegmentationConsistencyLoss`.
        segmentation_model: Directory of that U-Net, which `mrisr segment train` wrote. It must not know
            the patients that this run holds out.
        r1_weight: Weight of the R1 penalty on the discriminator.
        r1_every: Steps between two penalties.
        features: Arguments for `build_features`; also measures `val_features`. Needed unless
            `perceptual_weight` and `perception` are both 0.
        average: Momentum of the generator's moving average, which is validated and saved.
        delay: Steps before the adversarial loss begins.
        ramp: Steps over which it then grows to its weight.
        label_smoothing: Real labels are 1 - label_smoothing; only for the kind "bce".
        instance_noise: Standard deviation of noise on the discriminator's inputs, at the start.
        noise_steps: Steps over which that fades.
        rollbacks: Times that an ill training goes back and halves its rates before it ends; 0 only
            reports.
        perception: Weight of the gain in features (dB) beside that in PSNR (dB) when the best
            checkpoint is chosen.
    """

    prefix: ClassVar[str] = "adversarial."
    pretrained: ClassVar[type[Config]] = TrainingConfig  # What `pretraining` has keys of.

    on: bool = False
    pretraining: dict[str, Any] = Field(default={})
    discriminator: dict[str, Any] = Field(default={"name": "srgan"})
    kind: Literal["bce", "relativistic", "relativistic_average"] = "bce"
    discriminator_rate: Weight = 1e-4
    discriminator_steps: Count = 1
    pixel_weight: Weight = 1.0
    perceptual_weight: Weight = 0.0
    adversarial_weight: Weight = 1e-3
    consistency_weight: Weight = 0.0
    segmentation_weight: Weight = 0.0
    segmentation_model: str | None = None
    r1_weight: Weight = 0.0
    r1_every: Count = 16
    features: dict[str, Any] = Field(default={"network": "vgg19", "weights": "imagenet"})
    average: float = Field(default=0.999, ge=0, lt=1)
    delay: Natural = 0
    ramp: Natural = 0
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    instance_noise: Weight = 0.0
    noise_steps: Count = 1
    rollbacks: Natural = 3
    perception: Weight = 2.0

    @property
    def needs_features(self) -> bool:
        """Whether the loss, or the choice of the best checkpoint, looks through the feature network."""
        return bool(self.perceptual_weight or self.perception)

    @pydantic.field_validator("features")
    @classmethod
    def _weights(cls, features: dict[str, Any]) -> dict[str, Any]:
        return {key: none_or(value) if key == "weights" else value for key, value in features.items()}

    @pydantic.field_validator("discriminator")
    @classmethod
    def _check_discriminator(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _check_builder("adversarial.discriminator", options, ("channels", "patch_size"))

    @pydantic.field_validator("pretraining")
    @classmethod
    def _check_pretraining(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in values:
            if key not in cls.pretrained.model_fields:
                raise ConfigError(unknown_key(f"adversarial.pretraining.{key}", cls.pretrained))
        return values

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        if self.label_smoothing and self.kind != "bce":
            raise ConfigError(
                "adversarial.label_smoothing must be 0 unless adversarial.kind is 'bce'. "
                f"Received: {self.label_smoothing!r} with {self.kind!r}"
            )
        if self.segmentation_weight and not self.segmentation_model:
            raise ConfigError(
                "adversarial.segmentation_weight needs adversarial.segmentation_model: the directory of a "
                f"U-Net that mrisr segment train wrote. Received: {self.segmentation_weight!r} without one"
            )
        return self


def _check_builder(key: str, options: dict[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """The options of a builder, which need its name, and none that are `given` by the rest of the config."""
    if "name" not in options:
        raise ConfigError(f"{key}.name is missing.")
    for option in given:
        if option in options:
            raise ConfigError(
                f"{key}.{option} is no option: it follows from the scale and the data. Leave it out."
            )
    return options


class RunConfig(Config):
    """Everything that decides a training run.

    Attributes:
        scale: 2, 3, 4 or 8; for a 3-D generator the factors (x, y, z) of the axes, each 1 to 4, where z
            goes across the slices.
        degradation: What made LR of HR: "paper", "bicubic", "random-blur", "kspace", "acquisition",
            "random-acquisition", "paired" (LR folders), or "slice-profile" for volumes; name and arguments
            for `get_degradation`.
        generator: Network: "srresnet", "edsr", or "srresnet3d" for volumes; name and options for
            `build_generator`.
        data: A `DataConfig`.
        training: A `TrainingConfig`.
        adversarial: An `AdversarialConfig`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    scale: int | tuple[int, ...] = 2
    degradation: dict[str, Any] = Field(default={"name": "paper"})
    generator: dict[str, Any] = Field(default={"name": "edsr", "blocks": 16, "filters": 64})
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    adversarial: AdversarialConfig = AdversarialConfig()

    named: ClassVar[tuple[str, ...]] = ("generator", "degradation")

    @pydantic.field_validator("scale", mode="before")
    @classmethod
    def _whole_factors(cls, value: Any) -> Any:
        """YAML and JSON have no tuples; (2, 2) is the scale 2 of slices."""
        parts = value if isinstance(value, list | tuple) else [value]
        for part in parts:
            whole = isinstance(part, int) or (isinstance(part, float) and part.is_integer())
            check(whole and not isinstance(part, bool), "scale", part, "of type int")
        return scale_of([int(part) for part in parts] if isinstance(value, list | tuple) else int(parts[0]))

    @pydantic.field_validator("generator", "degradation")
    @classmethod
    def _check_builders(cls, options: dict[str, Any], info: pydantic.ValidationInfo) -> dict[str, Any]:
        given = ("scale", "channels", "neighbours") if info.field_name == "generator" else ()
        return _check_builder(str(info.field_name), options, given)

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        if isinstance(self.scale, tuple):
            self._check_3d(self.scale)
        else:
            one_of("scale", self.scale, SCALES)
        scale = self.degradation.get("scale", self.scale)
        if scale_of(scale) != self.scale:
            raise ConfigError(
                f"degradation.scale must be the scale {self.scale}; leave it out. Received: {scale!r}"
            )
        if self.adversarial.on:
            self._check_adversarial()
        self._check_fresh()
        for factor in self.factors[:2]:
            if self.training.patch_size % factor:
                raise ConfigError(
                    f"training.patch_size must be a multiple of the scale {factor}. "
                    f"Received: {self.training.patch_size}"
                )
        return self

    @property
    def degrades_anew(self) -> bool:
        """Whether every patch gets LR of its own, see `training.fresh_patches`."""
        return self.degradation["name"] == "random-acquisition"

    def _check_fresh(self) -> None:
        training = self.training
        given = [name for name in ("rescale", "contrasts") if getattr(training, name)]
        if given and not self.degrades_anew:
            raise ConfigError(
                f"training.{given[0]} is for the degradation random-acquisition, drawn anew for every "
                f"patch. Received: degradation.name={self.degradation['name']}"
            )
        for name in ("gain", "noise_snr"):
            if self.degrades_anew and getattr(training, name) is not None:
                raise ConfigError(
                    f"training.{name} is not for the degradation random-acquisition, which has noise of its "
                    "own; training.contrasts changes brightness."
                )
        if training.rescale is not None and not training.patch_size:
            raise ConfigError("training.rescale needs training.patch_size: slices then differ in size.")

    @property
    def factors(self) -> tuple[int, ...]:
        """The factor of each axis: (2, 2) of the scale 2 of slices, (1, 1, 2) of volumes."""
        return factors_of(self.scale)

    @property
    def dimensions(self) -> int:
        """2 for a generator of slices, 3 for one of volumes."""
        return len(self.factors)

    def _check_adversarial(self) -> None:
        if not self.training.patch_size:
            raise ConfigError("Adversarial training needs training.patch_size. Received: 0 (whole slices)")
        if self.training.loss == "psnr":
            raise ConfigError(
                "training.loss must be mean_absolute_error or mean_squared_error in adversarial training; "
                "'psnr' is for its first stage: adversarial.pretraining. Received: 'psnr'"
            )

    def _check_3d(self, factors: tuple[int, ...]) -> None:
        known = all(factor in FACTORS for factor in factors)
        good = len(factors) == 3 and known and max(factors) > 1
        check(good, "scale", factors, "a number, or three factors of 1 to 4 such as 1,1,2 (3-D)")
        slices_only = {
            "data.separate_channels": self.data.separate_channels,
            "training.noise_snr": self.training.noise_snr is not None,
        }
        for key, given in slices_only.items():
            if given:
                raise ConfigError(f"{key} is for generators of slices. Leave it out.")
        if self.data.neighbours:
            raise ConfigError(
                f"data.neighbours must be 0 for a 3-D generator, which sees all slices. "
                f"Received: {self.data.neighbours}"
            )
        if self.adversarial.on:
            raise ConfigError("Adversarial training is for generators of slices. Give a scale such as 2.")
        if not self.training.patch_size:
            raise ConfigError("A 3-D generator needs training.patch_size. Received: 0 (whole volumes)")
        if self.training.patch_slices % factors[2]:
            raise ConfigError(
                f"training.patch_slices must be a multiple of the scale {factors[2]} across the slices. "
                f"Received: {self.training.patch_slices}"
            )


def read_yaml(path: str | os.PathLike, kind: str) -> Any:
    """What a YAML file holds.

    Args:
        path: The file.
        kind: What it is in messages, such as "config".

    Raises:
        ConfigError: No such file, or no valid YAML.
    """
    try:
        return yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the {kind} {path}: {error.strerror}.") from error
    # ValueError: not UTF-8, or a date such as 2020-13-01; RecursionError: very many brackets.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The {kind} {path} is not valid YAML: {reason}") from error


Kind = typing.TypeVar("Kind", bound=Config)


@typing.overload
def read_config(path: str | os.PathLike, base: None = None) -> RunConfig: ...
@typing.overload
def read_config(path: str | os.PathLike, base: Kind) -> Kind: ...
def read_config(path: str | os.PathLike, base: Config | None = None) -> Config:
    """Reads a YAML file over `base` (by default `RunConfig()`).

    Raises:
        ConfigError: No such file, no valid YAML, an unknown key or a bad value.
    """
    values = read_yaml(path, "config")
    if not isinstance(values, dict):
        raise ConfigError(f"The config {path} must hold keys and values, not {type(values).__name__}.")
    flat: dict[str, object] = {}
    for key, value in values.items():
        # A named generator or degradation replaces the base's with all its options.
        if isinstance(value, dict) and "name" not in value:
            flat.update({f"{key}.{inner}": value[inner] for inner in value})
        else:
            flat[key] = value
    try:
        return (base or RunConfig()).replace(flat)
    except MrisrError as error:
        raise ConfigError(f"{path}: {error}") from error


def write_config(config: Config, path: str | os.PathLike) -> None:
    """Writes a config as YAML, whole or not at all; `read_config` gives the same one back."""
    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


def parse_override(text: str) -> tuple[str, Any]:
    """Turns "training.epochs=10" into ("training.epochs", 10); the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"Expected KEY=VALUE, such as training.epochs=10. Received: {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"The value in {text!r} is not valid YAML.") from error
