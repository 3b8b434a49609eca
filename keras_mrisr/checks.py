"""Checks of arguments, which say what is allowed and what was received."""

import inspect
import numbers
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

from keras_mrisr.errors import ConfigError


def check(holds: bool, key: str, value: object, allowed: str) -> None:
    """Raises ConfigError that says what is allowed, unless `holds`."""
    if not holds:
        raise ConfigError(f"{key} must be {allowed}. Received: {value!r}")


def one_of(key: str, value: object, allowed: Collection[object]) -> None:
    """Raises ConfigError unless the value is in `allowed`."""
    check(value in list(allowed), key, value, f"one of {', '.join(map(str, allowed))}")


def known(kind: str, name: object, names: Collection[str]) -> None:
    """Raises ConfigError unless `names` holds the name of, say, a preset; it may be no word at all."""
    if name not in list(names):
        raise ConfigError(f"Unknown {kind} {name!r}. Known: {', '.join(sorted(names))}.")


def none_or(value: Any) -> Any:
    """The value, or None for the words that stand for it on a command line."""
    return None if value in ("none", "None", "null") else value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, which True and False are not."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and abs(value) <= sys.float_info.max  # No isfinite: it fails for ints of 309 digits.


def check_flags(**flags: object) -> None:
    """Raises ConfigError unless all of the named values are True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false. Received: {name}={value!r}")


def check_counts(**values: object) -> None:
    """Raises ConfigError unless all of the named values are whole numbers of 1 or more."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be an integer of 1 or more. Received: {name}={value!r}")


def check_options(
    name: str, builder: Callable[..., object], options: Iterable[str], given: Collection[str]
) -> None:
    """Raises ConfigError for an option that a builder does not have, or that it is given otherwise.

    Args:
        name: What messages call the builder.
        builder: A function or a class.
        options: Names of the options.
        given: Names of its parameters that are no options.
    """
    allowed = [key for key in inspect.signature(builder).parameters if key not in given]
    for key in options:
        if key not in allowed:
            raise ConfigError(f"Unknown option {key!r} of {name!r}. Allowed: {', '.join(allowed)}.")


def check_perception(perception: float) -> float:
    """The place of the dial, if it is one.

    Raises:
        ConfigError: It is no number from 0 to 1.
    """
    if not is_number(perception) or not 0 <= perception <= 1:
        raise ConfigError(
            f"`perception` must be a number from 0 (fidelity) to 1 (the GAN end). Received: {perception!r}"
        )
    return float(perception)
