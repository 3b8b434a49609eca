"""What a trained network is: the contents of `model.json`. Needs neither Keras nor TensorFlow."""

import dataclasses
from typing import Any, Self

from keras_mrisr.errors import ModelError
from keras_mrisr.factors import factors_of, scale_of, scale_text


@dataclasses.dataclass(frozen=True)
class Description:
    """Base of what a `model.json` holds: frozen fields and their JSON round trip."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        # JSON has no tuples.
        values = dataclasses.asdict(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Makes it from `to_dict()`; keys of later versions are ignored.

        Raises:
            ModelError: A key is missing or has a value of another type.
        """
        if not isinstance(values, dict):
            raise ModelError(f"it holds no keys and values but {type(values).__name__}")
        arguments = {}
        for field in dataclasses.fields(cls):
            if field.name in values:
                value = values[field.name]
                arguments[field.name] = tuple(value) if field.type is tuple and type(value) is list else value
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise ModelError(f"{field.name} is missing")
            kind: Any = field.type
            if type(arguments.get(field.name, kind())) is not kind:
                raise ModelError(f"{field.name} must be {kind.__name__}, not {values[field.name]!r}")
        return cls(**arguments)


@dataclasses.dataclass(frozen=True)
class ModelInfo(Description):
    """What a trained generator is and where it comes from: the contents of `model.json`.

    Attributes:
        scale: Factor of the super-resolution; for a 3-D generator the largest of its `factors`.
        channels: Channels of a slice or volume, and of the output.
        generator: Name and options of the builder.
        degradation: What the generator was trained to undo: `get_degradation(**degradation)`.
        data: Root, kind and patient pattern of the data, and the split by patient.
        training: Configuration of the run, and what it took.
        metrics: Scores on the validation patients, with their protocol.
        normalization: How pixel values become the network's [0, 1]: see `data.normalize`.
        version: Version of keras-mrisr that wrote it.
        neighbours: Adjacent slices on each side that the generator also takes: its input has
            (2 * neighbours + 1) * channels channels, in the order of `data.neighbours`.
        factors: The factor of each axis. By default the scale for both axes of slices, such as (2, 2), for
            which `model.json` holds an empty list. A 3-D generator, which maps (N, X, Y, Z, C), has three,
            such as (1, 1, 2); its third axis is the one across the slices.
        consistent: Whether what the generator makes is always brought to the nearest image that degrades to
            LR (`inference.enforce_consistency`), as it was in its training.
        perception: Of a model with a GAN end (see `models.perception`): the name of its file under
            "weights", and what is other than the fidelity model's: "generator", "consistent", "training",
            "metrics". Of a network at a place of the dial {"value"}; else empty.
        estimate: Of a model for images that were degraded in any way: how it tells in which, so that its
            results can be made consistent with that (see `inference.degradation_estimate`); or empty.
    """

    scale: int
    channels: int
    generator: dict
    degradation: dict
    data: dict = dataclasses.field(default_factory=dict)
    training: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    normalization: str = "range"
    version: str = ""
    neighbours: int = 0
    factors: tuple = ()
    consistent: bool = False
    perception: dict = dataclasses.field(default_factory=dict)
    estimate: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.factors:
            object.__setattr__(self, "factors", factors_of(self.scale))

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        for key in ("consistent", "perception", "estimate"):  # Of few models.
            if not values[key]:
                del values[key]
        return values if self.dimensions == 3 else {**values, "factors": []}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """As `Description.from_dict`; also raises ModelError for parts that contradict each other."""
        info = super().from_dict(values)
        scale = scale_of(info.factors)
        given: Any = info.degradation.get("scale")
        if info.degradation and scale_of(given) != scale:
            raise ModelError(f"degradation.scale must be {scale} as the model's, not {given!r}")
        if info.degradation and "name" not in info.degradation:
            raise ModelError("degradation.name is missing")
        if not isinstance(info.data.get("split"), dict | None):
            raise ModelError(f"data.split must hold lists of patients, not {info.data['split']!r}")
        return info

    @property
    def dimensions(self) -> int:
        """2 of a generator of slices (N, H, W, C), 3 of one of volumes (N, X, Y, Z, C)."""
        return len(self.factors)

    @property
    def input_channels(self) -> int:
        """Channels of the generator's input."""
        return (2 * self.neighbours + 1) * self.channels

    @property
    def image_channels(self) -> int | None:
        """Channels that an image must have; None for a model that takes any number of them, one by one."""
        if self.data.get("separate_channels") and self.channels == 1 and not self.neighbours:
            return None
        return self.channels

    @property
    def scale_text(self) -> str:
        """The scale for a person: "2", or "1x1x2" of a 3-D generator."""
        return scale_text(self.factors)


THROUGH_PLANE = "through-plane"
# Inputs of such a network beside the plane; see `models.through_plane`.
POSITIONS = "positions"
ACQUISITION = "acquisition"


@dataclasses.dataclass(frozen=True)
class ThroughPlaneInfo(Description):
    """What a network of `models.through_plane` is: the contents of its `model.json`.

    Attributes:
        task: "through-plane".
        generator: Options of the builder.
        factors: [least, most] factor that it was trained for, in slices' spacing over that of the lines.
        thickness: [least, most] slice thickness over slice spacing that it was trained for.
        channels: Channels of a plane: 1, any contrast.
        data: Root, kind and patient pattern of the data, and the split by patient.
        training: Configuration of the run, and what it took.
        metrics: Scores on the validation patients, with their protocol.
        version: Version of keras-mrisr that wrote it.
        finish: Options of `models.volume_finish`, whose network lies beside it and was trained last: then
            `data`, `training` and `metrics` are those of that training. Empty without one.
    """

    task: str
    generator: dict
    factors: list
    thickness: list
    channels: int = 1
    data: dict = dataclasses.field(default_factory=dict)
    training: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    version: str = ""
    finish: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task != THROUGH_PLANE:
            raise ModelError(f"task must be {THROUGH_PLANE}, not {self.task!r}")
