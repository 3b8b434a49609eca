"""The configuration of a training run: frozen dataclasses and their YAML round trip."""

import dataclasses
import math
import pathlib

import yaml

from keras_mrisr.config_base import Config, check, none_or, one_of, set_types, unknown_key
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.factors import factors_of, scale_of
from keras_mrisr.files import write_text

SCALES = (2, 3, 4, 8)
FACTORS = (1, 2, 3, 4)  # Of one axis of a volume.
ADVERSARIAL_LOSSES = ("bce", "relativistic", "relativistic_average")
LOSSES = ("mean_squared_error", "mean_absolute_error", "psnr")
OPTIMIZERS = ("adam", "muon")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
STRATEGIES = ("none", "mirrored")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the slices are and how patients are held out.

    Attributes:
        root: Folder of the data.
        kind: "lgg" (the published kaggle_3m tree), "images" (folders of images), "volumes" (NIfTI files,
            for 3-D generators) or "auto".
        patient_pattern: Regular expression that finds the patient in a file's relative path; by
            default the parent folder is the patient.
        validation_fraction: Share of patients for choosing the best checkpoint.
        test_fraction: Share of patients that training never touches.
        split_seed: Seed of the split.
        neighbours: Adjacent slices on each side that the generator also sees (2.5-D); the files of a patient
            must then be one stack of slices in order.
        separate_channels: Take each channel of a slice as a grey image of its own: the generator then has
            one channel, and upscales images of any contrast and any number of channels one by one.
    """

    root: str = ""
    kind: str = "auto"
    patient_pattern: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0
    neighbours: int = 0
    separate_channels: bool = False

    def __post_init__(self):
        set_types(self, "data.")
        one_of("data.kind", self.kind, ("auto", "lgg", "images", "volumes"))
        check(self.neighbours >= 0, "data.neighbours", self.neighbours, "0 or more")
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            check(0 < value < 1, f"data.{name}", value, "a number between 0 and 1")
        total = self.validation_fraction + self.test_fraction
        check(total < 1, "data.validation_fraction + data.test_fraction", total, "less than 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
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
            over sigma, see `degrade.noise`), or [low, high] between which it is drawn anew for each; None
            for no noise. Validation slices stay free of it.
        loss: "mean_squared_error", "mean_absolute_error", or "psnr" (`PSNRLoss`; no adversarial training),
            on [0, 1].
        optimizer: "adam", or "muon" (see `training.muon`), which learns as much in a fraction of the steps.
        learning_rate: Of the optimizer; the start of the schedule.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        precision: Keras dtype policy: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for the
            faster of the first two on the machine that trains.
        strategy: "none", or "mirrored" for all visible GPUs.
        early_stopping: Stop after so many epochs without a better validation PSNR; 0 for never.
        validation_slices: At most so many slices (or volumes), evenly spaced, are scored after each epoch.
        init: Model directory whose weights the generator starts from; it may have fewer residual blocks and
            fewer neighbours.
        seed: Seed of the weights and of the patches.
    """

    epochs: int = 100
    steps_per_epoch: int = 250
    batch_size: int = 16
    patch_size: int = 96
    patch_slices: int = 16
    candidates: int = 2
    augment: bool = True
    gain: list | None = None
    noise_snr: int | float | list | None = None
    loss: str = "mean_absolute_error"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    clip_norm: float = 0.0
    precision: str = "float32"
    strategy: str = "none"
    early_stopping: int = 0
    validation_slices: int = 64
    init: str | None = None
    seed: int = 0

    def __post_init__(self):
        set_types(self, "training.")
        for name in (
            "epochs", "steps_per_epoch", "batch_size", "patch_slices", "candidates", "validation_slices",
        ):  # fmt: skip
            check(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        for name in ("patch_size", "early_stopping", "clip_norm"):
            check(0 <= getattr(self, name) < math.inf, f"training.{name}", getattr(self, name), "0 or more")
        check(0 <= self.seed < 2**32, "training.seed", self.seed, "0 or more and less than 2**32")
        rate = self.learning_rate
        check(0 < rate < math.inf, "training.learning_rate", rate, "more than 0")
        if self.noise_snr is not None:
            _check_range("training.noise_snr", self.noise_snr, "a number over 0, or [low, high]")
        if self.gain is not None:
            _check_range("training.gain", self.gain, "[low, high], both over 0")
        one_of("training.loss", self.loss, LOSSES)
        one_of("training.optimizer", self.optimizer, OPTIMIZERS)
        one_of("training.schedule", self.schedule, SCHEDULES)
        one_of("training.precision", self.precision, PRECISIONS)
        one_of("training.strategy", self.strategy, STRATEGIES)


def _check_range(name, value, allowed):
    bounds = value if isinstance(value, list) else [value, value]
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds)
    good = numbers and len(bounds) == 2 and 0 < bounds[0] <= bounds[1] < math.inf
    check(good, name, value, allowed)


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """How the generator is trained further against a discriminator; see `training.SRGAN`.

    `training.epochs`, `batch_size` and so on are then those of the adversarial stage, and
    `training.learning_rate` is the generator's. Without `training.init`, a first stage trains the
    generator alone and hands its weights over.

    Attributes:
        on: Train adversarially.
        pretraining: Keys of `training` for the first stage that differ; empty for no first stage.
        discriminator: Name and options for `build_discriminator`.
        kind: "bce" (the paper), "relativistic" or "relativistic_average".
        discriminator_rate: Learning rate of the discriminator's Adam.
        discriminator_steps: Updates of the discriminator for each one of the generator.
        pixel_weight: Of `training.loss`.
        perceptual_weight: Of the distance between features.
        adversarial_weight: Of the adversarial loss, after the ramp.
        consistency_weight: Of the distance between the degraded SR and LR.
        segmentation_weight: Of the difference between what a frozen U-Net sees in SR and in HR; see
            `SegmentationConsistencyLoss`.
        segmentation_model: Directory of that U-Net, which `mrisr segment train` wrote. It must not know
            the patients that this run holds out.
        r1_weight: Of the R1 penalty on the discriminator.
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

    on: bool = False
    pretraining: dict = dataclasses.field(default_factory=dict)
    discriminator: dict = dataclasses.field(default_factory=lambda: {"name": "srgan"})
    kind: str = "bce"
    discriminator_rate: float = 1e-4
    discriminator_steps: int = 1
    pixel_weight: float = 1.0
    perceptual_weight: float = 0.0
    adversarial_weight: float = 1e-3
    consistency_weight: float = 0.0
    segmentation_weight: float = 0.0
    segmentation_model: str | None = None
    r1_weight: float = 0.0
    r1_every: int = 16
    features: dict = dataclasses.field(default_factory=lambda: {"network": "vgg19", "weights": "imagenet"})
    average: float = 0.999
    delay: int = 0
    ramp: int = 0
    label_smoothing: float = 0.0
    instance_noise: float = 0.0
    noise_steps: int = 1
    rollbacks: int = 3
    perception: float = 2.0

    @property
    def needs_features(self):
        """Whether the loss, or the choice of the best checkpoint, looks through the feature network."""
        return bool(self.perceptual_weight or self.perception)

    def __post_init__(self):
        set_types(self, "adversarial.")
        if "weights" in self.features:
            self.features["weights"] = none_or(self.features["weights"])
        one_of("adversarial.kind", self.kind, ADVERSARIAL_LOSSES)
        if "name" not in self.discriminator:
            raise ConfigError("adversarial.discriminator.name is missing.")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float):
                least = 1 if field.name in ("discriminator_steps", "r1_every", "noise_steps") else 0
                check(least <= value < math.inf, f"adversarial.{field.name}", value, f"{least} or more")
        check(self.average < 1, "adversarial.average", self.average, "less than 1")
        check(
            self.label_smoothing < 0.5, "adversarial.label_smoothing", self.label_smoothing, "less than 0.5"
        )
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
        for key in {"channels", "patch_size"} & set(self.discriminator):
            raise ConfigError(
                f"adversarial.discriminator.{key} is no option: it follows from data and training. Leave it "
                "out."
            )
        allowed = {field.name for field in dataclasses.fields(TrainingConfig)}
        for key in self.pretraining:
            if key not in allowed:
                raise ConfigError(unknown_key(f"adversarial.pretraining.{key}", TrainingConfig))


def _default_generator():
    return {"name": "edsr", "blocks": 16, "filters": 64}


@dataclasses.dataclass(frozen=True)
class RunConfig(Config):
    """Everything that decides a training run.

    Attributes:
        scale: 2, 3, 4 or 8; for a 3-D generator the factors (x, y, z) of the axes, each 1 to 4, where z
            goes across the slices.
        degradation: Name and arguments for `get_degradation`.
        generator: Name and options for `build_generator`.
        data: A `DataConfig`.
        training: A `TrainingConfig`.
        adversarial: An `AdversarialConfig`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    scale: int | tuple = 2
    degradation: dict = dataclasses.field(default_factory=lambda: {"name": "paper"})
    generator: dict = dataclasses.field(default_factory=_default_generator)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    adversarial: AdversarialConfig = dataclasses.field(default_factory=AdversarialConfig)

    _named = ("generator", "degradation")

    def __post_init__(self):
        set_types(self, "")
        object.__setattr__(self, "scale", scale_of(self.scale))
        if isinstance(self.scale, tuple):
            self._check_3d()
        else:
            one_of("scale", self.scale, SCALES)
        for key in ("degradation", "generator"):
            if "name" not in getattr(self, key):
                raise ConfigError(f"{key}.name is missing.")
        for key in {"scale", "channels", "neighbours"} & set(self.generator):
            raise ConfigError(f"generator.{key} is no option: it follows from scale and data. Leave it out.")
        scale = self.degradation.get("scale", self.scale)
        if scale_of(scale) != self.scale:
            raise ConfigError(
                f"degradation.scale must be the scale {self.scale}; leave it out. Received: {scale!r}"
            )
        if self.adversarial.on and not self.training.patch_size:
            raise ConfigError("Adversarial training needs training.patch_size. Received: 0 (whole slices)")
        if self.adversarial.on and self.training.loss == "psnr":
            raise ConfigError(
                "training.loss must be mean_absolute_error or mean_squared_error in adversarial training; "
                "'psnr' is for its first stage: adversarial.pretraining. Received: 'psnr'"
            )
        for factor in self.factors[:2]:
            if self.training.patch_size % factor:
                raise ConfigError(
                    f"training.patch_size must be a multiple of the scale {factor}. "
                    f"Received: {self.training.patch_size}"
                )

    @property
    def factors(self) -> tuple[int, ...]:
        """The factor of each axis: (2, 2) of the scale 2 of slices, (1, 1, 2) of volumes."""
        return factors_of(self.scale)

    @property
    def dimensions(self) -> int:
        """2 for a generator of slices, 3 for one of volumes."""
        return len(self.factors)

    def _check_3d(self):
        known = all(factor in FACTORS for factor in self.scale)
        good = len(self.scale) == 3 and known and max(self.scale) > 1
        check(good, "scale", self.scale, "a number, or three factors of 1 to 4 such as 1,1,2 (3-D)")
        if self.data.neighbours:
            raise ConfigError(
                f"data.neighbours must be 0 for a 3-D generator, which sees all slices. "
                f"Received: {self.data.neighbours}"
            )
        if self.data.separate_channels:
            raise ConfigError("data.separate_channels is for generators of slices. Leave it out.")
        if self.adversarial.on:
            raise ConfigError("Adversarial training is for generators of slices. Give a scale such as 2.")
        if self.training.noise_snr is not None:
            raise ConfigError("training.noise_snr is for generators of slices. Leave it out.")
        if not self.training.patch_size:
            raise ConfigError("A 3-D generator needs training.patch_size. Received: 0 (whole volumes)")
        if self.training.patch_slices % self.scale[2]:
            raise ConfigError(
                f"training.patch_slices must be a multiple of the scale {self.scale[2]} across the slices. "
                f"Received: {self.training.patch_slices}"
            )


def read_config(path, base=None):
    """Reads a YAML file over `base` (by default `RunConfig()`).

    Raises:
        ConfigError: No such file, no valid YAML, an unknown key or a bad value.
    """
    path = pathlib.Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the config {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The config {path} is not valid YAML: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The config {path} must hold keys and values, not {type(values).__name__}.")
    flat = {}
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


def write_config(config, path):
    """Writes a `RunConfig` as YAML, whole or not at all; `read_config` gives the same one back."""
    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


def parse_override(text):
    """Turns "training.epochs=10" into ("training.epochs", 10); the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"Expected KEY=VALUE, such as training.epochs=10. Received: {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"The value in {text!r} is not valid YAML.") from error
