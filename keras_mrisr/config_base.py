"""What the configs are made of: frozen dataclasses with typed fields, from and to nested dictionaries."""

import dataclasses
import difflib
import math
import numbers
import types
import typing

from keras_mrisr.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of a whole configuration, whose sections are dataclasses, too."""

    _named = ()  # Dictionaries in which a new "name" drops the options of the old one.

    def to_dict(self):
        """All values as nested plain dictionaries."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Makes a config from nested dictionaries; missing keys take their defaults.

        Raises:
            ConfigError: An unknown key, a value of the wrong type or out of range.
        """
        return _from_dict(cls, values, "")

    def replace(self, overrides):
        """A copy with some values changed.

        Args:
            overrides: Dictionary from dotted key ("training.epochs") to value.

        Raises:
            ConfigError: As `from_dict`.
        """
        values = self.to_dict()
        # Names first: a new name drops the old one's options, not those that are given with it.
        for dotted in sorted(overrides, key=lambda dotted: not str(dotted).endswith(".name")):
            value = overrides[dotted]
            *parents, key = str(dotted).split(".")
            place = values
            for depth, parent in enumerate(parents, start=1):
                there = ".".join(parents[:depth])
                if parent not in place:
                    raise ConfigError(unknown_key(there, type(self)))
                place = place[parent]
                if not isinstance(place, dict):
                    raise ConfigError(f"{there} is one value, without keys of its own. Received: {dotted!r}")
            if dotted in {f"{name}.name" for name in self._named} and place.get("name") != value:
                place.clear()  # Options of another builder mean nothing to this one.
            place[key] = value
        return self.from_dict(values)


def set_types(config, prefix):
    """Makes every field of a dataclass what its annotation says, or raises ConfigError.

    Args:
        config: The instance; if it is frozen, in its `__post_init__`.
        prefix: What stands before the names in messages: "training." or "".
    """
    for field in dataclasses.fields(config):
        value = _typed(getattr(config, field.name), field.type, f"{prefix}{field.name}")
        object.__setattr__(config, field.name, value)


def check(holds, key, value, allowed):
    """Raises ConfigError that says what is allowed, unless `holds`."""
    if not holds:
        raise ConfigError(f"{key} must be {allowed}. Received: {value!r}")


def none_or(value):
    """The value, or None for the words that stand for it on a command line."""
    return None if value in ("none", "None", "null") else value


def one_of(key, value, allowed):
    """Raises ConfigError unless the value is in `allowed`."""
    check(value in allowed, key, value, f"one of {', '.join(map(str, allowed))}")


def is_number(value):
    """Whether a value is a finite number, which True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def check_flags(**flags):
    """Raises ConfigError unless all of the named values are True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false. Received: {name}={value!r}")


def unknown_key(dotted, cls):
    """The message about a key that the dataclass `cls` does not have, with what may have been meant."""
    key = dotted.rpartition(".")[2]
    fields = dataclasses.fields(cls)
    places = {field.name: f"{dotted[: -len(key)]}{field.name}" for field in fields}
    for section in fields:  # A key of a section is often written without it: "epochs".
        if dataclasses.is_dataclass(section.type):
            inner = dataclasses.fields(section.type)
            places.update({field.name: f"{section.name}.{field.name}" for field in inner})
    close = difflib.get_close_matches(key, places, n=1)
    known = ", ".join(field.name for field in fields)
    hint = f"Did you mean {places[close[0]]!r}?" if close else f"Known here: {known}."
    return f"Unknown config key {dotted!r}. {hint}"


def _from_dict(cls, values, prefix):
    if not isinstance(values, dict):
        raise ConfigError(
            f"{prefix.rstrip('.') or 'The config'} must hold keys and values. Received: {values!r}"
        )
    kinds = {field.name: field.type for field in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in kinds:
            raise ConfigError(unknown_key(f"{prefix}{key}", cls))
        nested = dataclasses.is_dataclass(kinds[key])
        arguments[key] = _from_dict(kinds[key], value, f"{prefix}{key}.") if nested else value
    return cls(**arguments)


def _typed(value, kind, key):
    """The value as `kind`; whole floats and ints stand for each other, "1e-4" for a float."""
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(kind, types.UnionType) and tuple in typing.get_args(kind):
        if isinstance(value, list | tuple):  # YAML and JSON have no tuples.
            return tuple(_typed(part, int, key) for part in value)
        return _typed(value, int, key)
    if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
        name = getattr(kind, "__name__", str(kind))
        raise ConfigError(f"{key} must be of type {name}. Received: {value!r}")
    return dict(value) if kind is dict else value
