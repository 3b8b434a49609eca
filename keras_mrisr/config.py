"""The configuration of a training run: frozen dataclasses and their YAML round trip."""

import dataclasses
import difflib
import math
import pathlib

import yaml

from keras_mrisr.errors import InputError
from keras_mrisr.files import write_text

SCALES = (2, 3, 4, 8)
ADVERSARIAL_LOSSES = ("bce", "relativistic", "relativistic_average")
LOSSES = ("mean_squared_error", "mean_absolute_error")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
STRATEGIES = ("none", "mirrored")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the slices are and how patients are held out.

    Attributes:
        root: Folder of the data.
        kind: "lgg" (the published kaggle_3m tree), "images" (folders of images) or "auto".
        patient_pattern: Regular expression that finds the patient in a file's relative path; by
            default the parent folder is the patient.
        validation_fraction: Share of patients for choosing the best checkpoint.
        test_fraction: Share of patients that training never touches.
        split_seed: Seed of the split.
    """

    root: str = ""
    kind: str = "auto"
    patient_pattern: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0

    def __post_init__(self):
        _set_types(self, "data.")
        _one_of("data.kind", self.kind, ("auto", "lgg", "images"))
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            _check(0 < value < 1, f"data.{name}", value, "a number between 0 and 1")
        total = self.validation_fraction + self.test_fraction
        _check(total < 1, "data.validation_fraction + data.test_fraction", total, "less than 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the generator is trained.

    Attributes:
        epochs: Number of epochs; after each, the validation patients are scored.
        steps_per_epoch: Batches an epoch.
        batch_size: Patches a batch, over all replicas.
        patch_size: Edge of the HR patches in pixels; 0 for whole slices.
        candidates: Places drawn for each patch, of which the one with the most contrast is taken.
        augment: Random flips and quarter turns.
        loss: "mean_squared_error" or "mean_absolute_error", on [0, 1].
        learning_rate: Of Adam; the start of the schedule.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        precision: Keras dtype policy: "float32", "mixed_bfloat16" or "mixed_float16".
        strategy: "none", or "mirrored" for all visible GPUs.
        early_stopping: Stop after so many epochs without a better validation PSNR; 0 for never.
        validation_slices: At most so many slices, evenly spaced, are scored after each epoch.
        init: Model directory whose weights the generator starts from; it may have fewer residual blocks.
        seed: Seed of the weights and of the patches.
    """

    epochs: int = 100
    steps_per_epoch: int = 250
    batch_size: int = 16
    patch_size: int = 96
    candidates: int = 2
    augment: bool = True
    loss: str = "mean_absolute_error"
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
        _set_types(self, "training.")
        for name in ("epochs", "steps_per_epoch", "batch_size", "candidates", "validation_slices"):
            _check(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        for name in ("patch_size", "early_stopping", "clip_norm"):
            _check(0 <= getattr(self, name) < math.inf, f"training.{name}", getattr(self, name), "0 or more")
        _check(0 <= self.seed < 2**32, "training.seed", self.seed, "0 or more and less than 2**32")
        rate = self.learning_rate
        _check(0 < rate < math.inf, "training.learning_rate", rate, "more than 0")
        _one_of("training.loss", self.loss, LOSSES)
        _one_of("training.schedule", self.schedule, SCHEDULES)
        _one_of("training.precision", self.precision, PRECISIONS)
        _one_of("training.strategy", self.strategy, STRATEGIES)


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
        perceptual_weight: Of the distance between features; 0 needs no feature network.
        adversarial_weight: Of the adversarial loss, after the ramp.
        consistency_weight: Of the distance between the degraded SR and LR.
        r1_weight: Of the R1 penalty on the discriminator.
        r1_every: Steps between two penalties.
        features: Arguments for `build_features`; also measures `val_features`.
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

    def __post_init__(self):
        _set_types(self, "adversarial.")
        _one_of("adversarial.kind", self.kind, ADVERSARIAL_LOSSES)
        if "name" not in self.discriminator:
            raise InputError("adversarial.discriminator.name is missing.")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float):
                least = 1 if field.name in ("discriminator_steps", "r1_every", "noise_steps") else 0
                _check(least <= value < math.inf, f"adversarial.{field.name}", value, f"{least} or more")
        _check(self.average < 1, "adversarial.average", self.average, "less than 1")
        _check(
            self.label_smoothing < 0.5, "adversarial.label_smoothing", self.label_smoothing, "less than 0.5"
        )
        if self.label_smoothing and self.kind != "bce":
            raise InputError(
                "adversarial.label_smoothing must be 0 unless adversarial.kind is 'bce'. "
                f"Received: {self.label_smoothing!r} with {self.kind!r}"
            )
        for key in {"channels", "patch_size"} & set(self.discriminator):
            raise InputError(
                f"adversarial.discriminator.{key} is no option: it follows from data and training. Leave it "
                "out."
            )
        allowed = {field.name for field in dataclasses.fields(TrainingConfig)}
        for key in self.pretraining:
            if key not in allowed:
                raise InputError(_unknown_key(f"adversarial.pretraining.{key}", TrainingConfig))


def _default_generator():
    return {"name": "edsr", "blocks": 16, "filters": 64}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides a training run.

    Attributes:
        scale: 2, 3, 4 or 8.
        degradation: Name and arguments for `get_degradation`.
        generator: Name and options for `build_generator`.
        data: A `DataConfig`.
        training: A `TrainingConfig`.
        adversarial: An `AdversarialConfig`.

    Raises:
        InputError: A value is out of range; the message names the key and what is allowed.
    """

    scale: int = 2
    degradation: dict = dataclasses.field(default_factory=lambda: {"name": "paper"})
    generator: dict = dataclasses.field(default_factory=_default_generator)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    adversarial: AdversarialConfig = dataclasses.field(default_factory=AdversarialConfig)

    def __post_init__(self):
        _set_types(self, "")
        _one_of("scale", self.scale, SCALES)
        for key in ("degradation", "generator"):
            if "name" not in getattr(self, key):
                raise InputError(f"{key}.name is missing.")
        for key in {"scale", "channels"} & set(self.generator):
            raise InputError(f"generator.{key} is no option: it follows from scale and data. Leave it out.")
        if self.degradation.get("scale", self.scale) != self.scale:
            raise InputError(
                f"degradation.scale must be the scale {self.scale}; leave it out. "
                f"Received: {self.degradation['scale']!r}"
            )
        if self.adversarial.on and not self.training.patch_size:
            raise InputError("Adversarial training needs training.patch_size. Received: 0 (whole slices)")
        if self.training.patch_size % self.scale:
            raise InputError(
                f"training.patch_size must be a multiple of the scale {self.scale}. "
                f"Received: {self.training.patch_size}"
            )

    def to_dict(self):
        """All values as nested plain dictionaries."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Makes a config from nested dictionaries; missing keys take their defaults.

        Raises:
            InputError: An unknown key, a value of the wrong type or out of range.
        """
        return _from_dict(cls, values, "")

    def replace(self, overrides):
        """A copy with some values changed.

        Args:
            overrides: Dictionary from dotted key ("training.epochs") to value.

        Raises:
            InputError: As `from_dict`.
        """
        values = self.to_dict()
        # Names first: a new name drops the old one's options, not those that are given with it.
        for dotted in sorted(overrides, key=lambda dotted: not str(dotted).endswith(".name")):
            value = overrides[dotted]
            *parents, key = str(dotted).split(".")
            place = values
            for depth, parent in enumerate(parents, start=1):
                place = place.get(parent)
                if not isinstance(place, dict):
                    raise InputError(_unknown_key(".".join(parents[:depth]), RunConfig))
            if dotted in ("generator.name", "degradation.name") and place.get("name") != value:
                place.clear()  # Options of another builder mean nothing to this one.
            place[key] = value
        return self.from_dict(values)


SECTIONS = (("training", TrainingConfig), ("data", DataConfig), ("adversarial", AdversarialConfig))


def read_config(path, base=None):
    """Reads a YAML file over `base` (by default `RunConfig()`).

    Raises:
        InputError: No such file, no valid YAML, an unknown key or a bad value.
    """
    path = pathlib.Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the config {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"The config {path} is not valid YAML: {reason}") from error
    if not isinstance(values, dict):
        raise InputError(f"The config {path} must hold keys and values, not {type(values).__name__}.")
    flat = {}
    for key, value in values.items():
        # A named generator or degradation replaces the base's with all its options.
        if isinstance(value, dict) and "name" not in value:
            flat.update({f"{key}.{inner}": value[inner] for inner in value})
        else:
            flat[key] = value
    try:
        return (base or RunConfig()).replace(flat)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_config(config, path):
    """Writes a `RunConfig` as YAML, whole or not at all; `read_config` gives the same one back."""
    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False))


def parse_override(text):
    """Turns "training.epochs=10" into ("training.epochs", 10); the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InputError(f"Expected KEY=VALUE, such as training.epochs=10. Received: {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"The value in {text!r} is not valid YAML.") from error


def _from_dict(cls, values, prefix):
    if not isinstance(values, dict):
        raise InputError(
            f"{prefix.rstrip('.') or 'The config'} must hold keys and values. Received: {values!r}"
        )
    kinds = {field.name: field.type for field in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in kinds:
            raise InputError(_unknown_key(f"{prefix}{key}", cls))
        nested = dataclasses.is_dataclass(kinds[key])
        arguments[key] = _from_dict(kinds[key], value, f"{prefix}{key}.") if nested else value
    return cls(**arguments)


def _set_types(config, prefix):
    """Makes every field of a frozen dataclass what its annotation says, or raises InputError."""
    for field in dataclasses.fields(config):
        value = _typed(getattr(config, field.name), field.type, f"{prefix}{field.name}")
        object.__setattr__(config, field.name, value)


def _typed(value, kind, key):
    """The value as `kind`; whole floats and ints stand for each other, "1e-4" for a float."""
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
        name = getattr(kind, "__name__", str(kind))
        raise InputError(f"{key} must be of type {name}. Received: {value!r}")
    return dict(value) if kind is dict else value


def _unknown_key(dotted, cls):
    key = dotted.rpartition(".")[2]
    known = [field.name for field in dataclasses.fields(cls)]
    places = {name: f"{dotted[: -len(key)]}{name}" for name in known}
    if cls is RunConfig:  # A key of a section is often written without it: "epochs".
        for name, section in SECTIONS:
            places.update({field.name: f"{name}.{field.name}" for field in dataclasses.fields(section)})
    close = difflib.get_close_matches(key, places, n=1)
    hint = f"Did you mean {places[close[0]]!r}?" if close else f"Known here: {', '.join(known)}."
    return f"Unknown config key {dotted!r}. {hint}"


def _check(holds, key, value, allowed):
    if not holds:
        raise InputError(f"{key} must be {allowed}. Received: {value!r}")


def _one_of(key, value, allowed):
    _check(value in allowed, key, value, f"one of {', '.join(map(str, allowed))}")
