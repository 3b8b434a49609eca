"""What the configs are made of: frozen pydantic models, from and to nested dictionaries."""

import difflib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pydantic
import pydantic.fields

from keras_mrisr.errors import ConfigError

Count = Annotated[int, pydantic.Field(ge=1)]
Natural = Annotated[int, pydantic.Field(ge=0)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]
Weight = Annotated[float, pydantic.Field(ge=0)]
Rate = Annotated[float, pydantic.Field(gt=0)]
Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class Config(pydantic.BaseModel):
    """A configuration, or a section of one: typed values, each with a default, a meaning and its limits.

    Raises:
        ConfigError: An unknown key, a value of the wrong type or out of range; one line that names the key.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    prefix: ClassVar[str] = ""  # Of the keys of a section in messages, such as "training.".
    named: ClassVar[tuple[str, ...]] = ()  # Keys whose options mean nothing under a new "name".

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise ConfigError(_message(type(self), error.errors(include_url=False)[0])) from None

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: object, info: pydantic.ValidationInfo) -> object:
        """Whole floats and ints stand for each other, and "1e-4" for a float, as YAML 1.1 reads it."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if kind is float and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return value
        return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value

    def to_dict(self) -> dict[str, Any]:
        """All values as nested plain dictionaries."""
        return self.model_dump()

    @classmethod
    def from_dict(cls, values: object) -> typing.Self:
        """Makes a config from nested dictionaries; missing keys take their defaults.

        Raises:
            ConfigError: An unknown key, a value of the wrong type or out of range.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"The config must hold keys and values. Received: {values!r}")
        return cls(**{str(key): value for key, value in values.items()})

    def replace(self, overrides: Mapping[str, object]) -> typing.Self:
        """A copy with some values changed.

        Args:
            overrides: Dictionary from dotted key ("training.epochs") to value.

        Raises:
            ConfigError: As `from_dict`.
        """
        values = self.to_dict()
        # Names first: a new name drops the old one's options, not those that are given with it.
        for dotted in sorted(overrides, key=lambda dotted: not str(dotted).endswith(".name")):
            self._put(values, str(dotted), overrides[dotted])
        return self.from_dict(values)

    def _put(self, values: dict[str, Any], dotted: str, value: object) -> None:
        *parents, key = dotted.split(".")
        place = values
        for depth, parent in enumerate(parents, start=1):
            there = ".".join(parents[:depth])
            if parent not in place:
                raise ConfigError(unknown_key(there, type(self)))
            place = place[parent]
            if not isinstance(place, dict):
                raise ConfigError(f"{there} is one value, without keys of its own. Received: {dotted!r}")
        if dotted in {f"{name}.name" for name in self.named} and place.get("name") != value:
            place.clear()  # Options of another builder mean nothing to this one.
        place[key] = value


def sections(cls: type[Config]) -> dict[str, type[Config]]:
    """The fields of a config that are configs themselves."""
    kinds = {name: field.annotation for name, field in cls.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Config)}


def check_key(cls: type[Config], dotted: str) -> None:
    """Raises ConfigError unless the config has the key; options of a builder are left to the builder."""
    parts = dotted.split(".")
    for depth, name in enumerate(parts, start=1):
        inner = sections(cls).get(name)
        kind = cls.model_fields[name].annotation if name in cls.model_fields else None
        if typing.get_origin(kind) is dict:
            return
        if kind is None or (inner is None and depth < len(parts)):
            raise ConfigError(unknown_key(".".join(parts[:depth]), cls))
        cls = inner or cls


def unknown_key(dotted: str, cls: type[Config]) -> str:
    """The message about a key that `cls` does not have, with what may have been meant."""
    key = dotted.rpartition(".")[2]
    places = {name: f"{dotted[: -len(key)]}{name}" for name in cls.model_fields}
    for section, inner in sections(cls).items():  # A key of a section is often written without it: "epochs".
        places.update({name: f"{section}.{name}" for name in inner.model_fields})
    close = difflib.get_close_matches(key, places, n=1)
    hint = f"Did you mean {places[close[0]]!r}?" if close else f"Known here: {', '.join(cls.model_fields)}."
    return f"Unknown config key {dotted!r}. {hint}"


def _message(cls: type[Config], error: Mapping[str, Any]) -> str:
    """What pydantic found first, in one line that names the key, what is allowed and what was received."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):  # Of a validator of ours, or of a section.
        return str(cause)
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return unknown_key(f"{cls.prefix}{name}", cls)
    if name in sections(cls):
        return f"{cls.prefix}{name} must hold keys and values. Received: {error['input']!r}"
    allowed = _allowed(cls.model_fields[name], error["type"])
    return f"{cls.prefix}{name} must be {allowed}. Received: {error['input']!r}"


def _allowed(field: pydantic.fields.FieldInfo, problem: str) -> str:
    words = {"gt": "more than {}", "ge": "{} or more", "lt": "less than {}", "le": "at most {}"}
    limits = [(part, name) for part in field.metadata for name in words if hasattr(part, name)]
    bounds = [words[name].format(getattr(part, name)) for part, name in limits]
    if problem == "finite_number":
        return ", ".join(["a finite number", *bounds])
    if "than" in problem:
        return ", ".join(bounds)
    if typing.get_origin(field.annotation) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(field.annotation)))}"
    return f"of type {type_name(field.annotation)}"


def type_name(kind: Any) -> str:
    """A type as messages call it: "int", "list", "str | None"."""
    return str(kind) if isinstance(kind, types.UnionType) else str((typing.get_origin(kind) or kind).__name__)
