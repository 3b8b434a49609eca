"""A search space as data: which keys of a run's config may take which values."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Self

from keras_mrisr.checks import is_number
from keras_mrisr.errors import ConfigError

TYPES = {
    "choice": {"values"},
    "int": {"min", "max", "step", "log"},
    "float": {"min", "max", "step", "log"},
    "boolean": set(),
}
# What every parameter may have beside its own.
_COMMON = {"type", "when"}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One key of the config and the values that it may take.

    Attributes:
        key: Dotted key of a `RunConfig`, such as "training.learning_rate".
        kind: "choice", "int", "float" or "boolean".
        values: Of a choice: numbers, words, or anything else that YAML can say.
        low: Smallest value of a range.
        high: Largest one, which is included.
        step: Distance between values, or their ratio where `log`; None for any value.
        log: Equal ratios are equally likely.
        when: {key of another parameter: tuple of its values}: only then is this one searched.
    """

    key: str
    kind: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    when: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, key: str, entry: Any) -> Self:
        """Makes it from what a study file says.

        Raises:
            ConfigError: An unknown type or word, a range upside down, a value that is no number.
        """
        kind = _kind(key, entry)
        when = entry.get("when", {})
        if not isinstance(when, dict):
            raise ConfigError(f"{key}: when must hold keys and values. Received: {when!r}")
        when = {other: tuple(_listed(values)) for other, values in when.items()}
        if kind == "choice":
            values = entry.get("values")
            if not isinstance(values, list) or not values:
                raise ConfigError(f"{key}: a choice needs a list of values. Received: {values!r}")
            return cls(key, kind, tuple(values), when=when)
        if kind == "boolean":
            return cls(key, kind, (False, True), when=when)
        return cls(key, kind, when=when, **_range(key, kind, entry))

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, without its key."""
        entry: dict[str, Any] = {"type": self.kind}
        if self.kind == "choice":
            entry["values"] = list(self.values)
        elif self.kind != "boolean":
            entry.update(min=self.low, max=self.high)
            entry.update({} if self.step is None else {"step": self.step})
            entry.update({"log": True} if self.log else {})
        if self.when:
            entry["when"] = {other: list(values) for other, values in self.when.items()}
        return entry

    @property
    def labels(self) -> list[Any]:
        """How KerasTuner sees the values of a choice: all of one kind, in the same order."""
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        if numbers:
            whole = all(isinstance(value, int) for value in self.values)
            return [value if whole else float(value) for value in self.values]
        return [value if isinstance(value, str) else json.dumps(value) for value in self.values]

    def encode(self, value: Any) -> Any:
        """A config's value as KerasTuner's, or None for one that the parameter cannot take."""
        if self.kind == "choice":
            return self.labels[self.values.index(value)] if value in self.values else None
        if self.kind == "boolean":
            return value if isinstance(value, bool) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.low is None or self.high is None:
            return None
        return value if self.low <= value <= self.high and self._on_grid(value) else None

    def _on_grid(self, value: float) -> bool:
        if self.step is None or self.low is None:
            return True
        steps = math.log(value / self.low, self.step) if self.log else (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-6)

    def decode(self, value: Any) -> Any:
        """KerasTuner's value as the config's.

        Floats get four digits: enough, readable, and the same after a trip through gRPC, where they are of
        single precision.
        """
        if self.kind == "choice":
            labels = self.labels
            if isinstance(labels[0], str):
                return self.values[labels.index(value)]
            return min(self.values, key=lambda known: abs(known - value))
        if self.kind == "int":
            return int(value)
        return bool(value) if self.kind == "boolean" else float(f"{value:.4g}")

    def ask(self, hp: Any) -> Any:
        """Registers the parameter with a `keras_tuner.HyperParameters`: its value there, None if inactive."""
        if self.kind == "choice":
            return hp.Choice(self.key, self.labels)
        if self.kind == "boolean":
            return hp.Boolean(self.key)
        register = hp.Int if self.kind == "int" else hp.Float
        sampling = "log" if self.log else "linear"
        return register(self.key, self.low, self.high, step=self.step, sampling=sampling)


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The parameters of a study, each after those that its `when` names.

    Attributes:
        parameters: Tuple of `Parameter`.
    """

    parameters: tuple[Parameter, ...]

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """Makes it from the `space` of a study file.

        Raises:
            ConfigError: See `Parameter.from_dict`; or a `when` names no earlier parameter or value.
        """
        if not isinstance(entries, dict):
            raise ConfigError(f"space must hold keys and their ranges. Received: {entries!r}")
        parameters = tuple(Parameter.from_dict(key, entry) for key, entry in entries.items())
        earlier: dict[str, Parameter] = {}
        for parameter in parameters:
            for other, values in parameter.when.items():
                if other not in earlier or not earlier[other].values:
                    raise ConfigError(
                        f"{parameter.key}: when names {other!r}, which is no choice or boolean above it."
                    )
                for value in values:
                    if value not in earlier[other].values:
                        raise ConfigError(f"{parameter.key}: {other} never is {value!r}.")
            earlier[parameter.key] = parameter
        return cls(parameters)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes."""
        return {parameter.key: parameter.to_dict() for parameter in self.parameters}

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in order."""
        return tuple(parameter.key for parameter in self.parameters)

    def declare(self, hp: Any) -> dict[str, Any]:
        """Registers all parameters, for a `build(hp)` of KerasTuner.

        Args:
            hp: A `keras_tuner.HyperParameters`.

        Returns:
            Dictionary from key to the value in `hp`, as a config takes it; only those that are active.
        """
        asked = {}
        for parameter in self.parameters:
            with contextlib.ExitStack() as conditions:
                for other, values in parameter.when.items():
                    labels = [self._find(other).encode(value) for value in values]
                    conditions.enter_context(hp.conditional_scope(other, labels))
                asked[parameter.key] = parameter.ask(hp)
        return self.decode({key: value for key, value in asked.items() if value is not None})

    def decode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as KerasTuner holds them, by key, as a config takes them; what is inactive is left out."""
        decoded: dict[str, Any] = {}
        for parameter in self.parameters:
            active = all(decoded.get(other) in allowed for other, allowed in parameter.when.items())
            if active and parameter.key in values:
                decoded[parameter.key] = parameter.decode(values[parameter.key])
        return decoded

    def fixed(self, key: str, value: Any, keep: bool = False) -> Self:
        """The space with a parameter fixed; those that depend on another value of it go.

        A parameter without a `when` goes, too: its value is the base config's then. One that has a `when`
        is left as a choice of one value, because where it is inactive the config must not have it.

        Args:
            key: The parameter's; one that the space does not have changes nothing.
            value: Its value.
            keep: Leave a choice of one value in any case.
        """
        kept: list[Parameter] = []
        gone: set[str] = set()
        for parameter in self.parameters:
            when = dict(parameter.when)
            excluded = key in when and value not in when.pop(key)
            if excluded or gone & set(when):
                gone.add(parameter.key)
            elif parameter.key != key:
                kept.append(dataclasses.replace(parameter, when=when))
            elif when or keep:
                kept.append(Parameter(key, "choice", (value,), when=when))
        if keep and key not in self.keys:
            kept.append(Parameter(key, "choice", (value,)))
        return dataclasses.replace(self, parameters=tuple(kept))

    def _find(self, key: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.key == key)


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _kind(key: str, entry: Any) -> str:
    """The type that an entry names, once all its words are known for that."""
    kind = entry.get("type") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or not isinstance(kind, str) or kind not in TYPES:
        raise ConfigError(f"{key}: type must be one of {', '.join(TYPES)}. Received: {kind!r}")
    known = TYPES[kind] | _COMMON
    for word in entry:
        if word not in known:
            raise ConfigError(f"{key}: unknown word {word!r}. Known for {kind}: {', '.join(sorted(known))}.")
    return kind


def _range(key: str, kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a range, checked."""
    words = {"low": "min", "high": "max", "step": "step"}
    if entry.get("step") is None:
        del words["step"]
    found = {name: _number(f"{key}: {word}", entry.get(word), kind) for name, word in words.items()}
    low, high, log = found["low"], found["high"], entry.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{key}: log must be true or false. Received: {log!r}")
    if low >= high:
        raise ConfigError(f"{key}: min must be less than max. Received: min {low!r}, max {high!r}")
    if log and low <= 0:
        raise ConfigError(f"{key}: min must be more than 0 where log is true. Received: {low!r}")
    least = 1 if log else 0
    if found.get("step", math.inf) <= least:
        why = " where log is true (it is a ratio)" if log else ""
        raise ConfigError(f"{key}: step must be more than {least}{why}. Received: {found['step']!r}")
    return {**found, "log": log}


def _number(what: str, value: Any, kind: str) -> Any:
    # YAML 1.1 takes "1e-4" for a word.
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if not is_number(value):
        raise ConfigError(f"{what} must be a number. Received: {value!r}")
    if kind == "float":
        return float(value)
    if value != int(value):
        raise ConfigError(f"{what} must be a whole number. Received: {value!r}")
    return int(value)
