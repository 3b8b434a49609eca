"""The configuration of a training run: frozen dataclasses, YAML round trip, presets."""

import dataclasses
import difflib
import math
import pathlib

import yaml

from keras_mrisr.errors import InputError
from keras_mrisr.files import write_text

SCALES = (2, 3, 4, 8)
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
        init: Model directory whose weights the generator starts from.
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

    Raises:
        InputError: A value is out of range; the message names the key and what is allowed.
    """

    scale: int = 2
    degradation: dict = dataclasses.field(default_factory=lambda: {"name": "paper"})
    generator: dict = dataclasses.field(default_factory=_default_generator)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

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


PRESETS = {
    # Small enough for two CPU cores: about an hour to a good x2 model.
    "compact": {
        "generator": {"name": "edsr", "blocks": 8, "filters": 64, "direct_upsampling": True},
        "training": {
            "epochs": 40,
            "learning_rate": 7e-4,
            "clip_norm": 0.5,
            "precision": "mixed_bfloat16",
        },
    },
    # The same recipe at the paper's size, for a GPU.
    "full": {
        "generator": {"name": "edsr", "blocks": 16, "filters": 64},
        "training": {"epochs": 400, "learning_rate": 5e-4, "clip_norm": 0.5},
    },
    # SRResNet as in the paper: Adam 1e-3, batch 16, MSE, no schedule.
    "paper": {
        "degradation": {"name": "paper"},
        "generator": {"name": "srresnet", "blocks": 16, "filters": 64},
        "training": {"loss": "mean_squared_error", "schedule": "constant", "candidates": 1},
    },
}
DEFAULT_PRESET = "full"


def preset_config(name=DEFAULT_PRESET):
    """The `RunConfig` of a preset: "compact", "full" or "paper".

    Raises:
        InputError: Unknown preset.
    """
    if name not in PRESETS:
        raise InputError(f"Unknown preset {name!r}. Known: {', '.join(sorted(PRESETS))}.")
    return RunConfig.from_dict(PRESETS[name])


def read_config(path, base=None):
    """Reads a YAML file over `base` (by default the default preset).

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
        return (base or preset_config()).replace(flat)
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
        for name, section in (("training", TrainingConfig), ("data", DataConfig)):
            places.update({field.name: f"{name}.{field.name}" for field in dataclasses.fields(section)})
    close = difflib.get_close_matches(key, places, n=1)
    hint = f"Did you mean {places[close[0]]!r}?" if close else f"Known here: {', '.join(known)}."
    return f"Unknown config key {dotted!r}. {hint}"


def _check(holds, key, value, allowed):
    if not holds:
        raise InputError(f"{key} must be {allowed}. Received: {value!r}")


def _one_of(key, value, allowed):
    _check(value in allowed, key, value, f"one of {', '.join(map(str, allowed))}")
