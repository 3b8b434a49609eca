"""What models, predictions and feature networks are called on the command line."""

import os
import pathlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from keras_mrisr.checks import none_or
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import PathLike


def named_paths(words: Iterable[PathLike]) -> dict[str, str]:
    """Reads "NAME=PATH" or "PATH" (named after its folder).

    Returns:
        Dict name -> path.

    Raises:
        ConfigError: An empty name or path, or two of one name.
    """
    found: dict[str, str] = {}
    for word in map(str, words):
        name, path = _name_and_path(word)
        if name is None:
            name = _own_name(pathlib.Path(path))
        if not name or not path:
            raise ConfigError(f"Expected NAME=PATH or PATH. Received: {word!r}")
        if name in found:
            raise ConfigError(f"Two are called {name!r}: {found[name]} and {path}. Name them: NAME=PATH.")
        found[name] = path
    return found


def single_name(
    words: Sequence[PathLike], models: dict[str, str], predictions: Collection[str] = ()
) -> dict[str, str]:
    """`models` as it is; but one that has no name of its own and no rival is called "SR"."""
    if len(models) == 1 and not predictions and _name_and_path(str(words[0]))[0] is None:
        return {"SR": next(iter(models.values()))}
    return models


def parse_features(text: str | None) -> dict[str, Any] | None:
    """Reads "vgg16:WEIGHTS" or "vgg16:WEIGHTS:LAYER" as arguments of `build_features`; None stays None.

    Raises:
        ConfigError: No colon.
    """
    if text is None:
        return None
    network, separator, weights = text.partition(":")
    if not separator or not weights:
        raise ConfigError(
            f"Expected NETWORK:WEIGHTS, such as vgg19:imagenet or vgg16:FILE. Received: {text!r}"
        )
    layer = re.fullmatch(r"(.+):(block\d_conv\d)", weights)
    if layer:
        return {"network": network, "weights": none_or(layer[1]), "layers": layer[2]}
    return {"network": network, "weights": none_or(weights)}


def _name_and_path(word: str) -> tuple[str | None, str]:
    """(name or None, path); a path may have an equals sign in it, and a name no slash."""
    name, separator, path = word.partition("=")
    is_path = not separator or os.sep in name or os.path.exists(word)
    return (None, word) if is_path else (name, path)


def _own_name(path: pathlib.Path) -> str:
    if path.suffix != ".keras":
        return path.resolve().name
    folder = path.resolve().parent.name
    return folder if path.stem == "generator" else f"{folder}-{path.stem}"
