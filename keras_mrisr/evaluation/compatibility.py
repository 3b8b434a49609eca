"""What models must agree on before their numbers may stand in one table."""

from collections.abc import Sequence
from typing import Any, Protocol

from keras_mrisr.data import Split
from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.evaluation.methods import Model
from keras_mrisr.evaluation.volumes import INTERPOLATIONS


class Named(Protocol):
    """What stands in a table: its name, and where it comes from."""

    name: str
    source: str


IMAGES = ("LR", "HR", "original")
"""What figures and tables show beside the methods."""


def choose_degradation(
    models: Sequence[Model],
    degradation: Degradation | str | dict[str, Any] | None = None,
    scale: int | tuple[int, ...] | None = None,
) -> tuple[Degradation, list[str]]:
    """The one degradation of an evaluation.

    Args:
        models: `Model`s; may be empty where the degradation and the scale are given.
        degradation: A `Degradation`, its name, or a dictionary of `name` and options, to use whatever the
            models were trained to undo.
        scale: The scale that is asked for, or None.

    Returns:
        (`Degradation`, list of notes about models that were trained to undo another one).

    Raises:
        ConfigError: The models differ in scale, channels or degradation, or from what is asked for.
        ModelError: A model does not say what it was trained to undo, and no degradation is given.
    """
    scale = _choose_scale(models, degradation, scale)
    trained = {
        model.name: get_degradation(**model.info.degradation).to_dict()
        for model in models
        if model.info.degradation
    }
    if degradation is None:
        return _common_degradation(models, trained), []
    if isinstance(degradation, str):
        degradation = {"name": degradation}
    chosen: Any = degradation
    if isinstance(degradation, dict):
        chosen = get_degradation(**{"scale": scale, **degradation})
    if chosen.scale != scale:
        raise ConfigError(
            f"The degradation {chosen.name!r} has scale {chosen.scale}, "
            f"but {models[0].source if models else 'the task'} has {scale}. Choose one of the same scale."
        )
    return chosen, [
        f"{name} was trained to undo another degradation: {_in_words(own)}."
        for name, own in trained.items()
        if own != chosen.to_dict()
    ]


def _choose_scale(
    models: Sequence[Model], degradation: object, scale: int | tuple[int, ...] | None
) -> int | tuple[int, ...]:
    if models:
        _check_same_task(models)
        if scale is not None and scale != models[0].scale:
            raise ConfigError(
                f"{models[0].source} is a x{models[0].info.scale_text} model, not x{scale}. "
                "Choose another model or leave it out."
            )
        return models[0].scale
    if degradation is None or scale is None:
        raise ConfigError("Without a model, say what was undone: give the scale and the degradation.")
    return scale


def _common_degradation(models: Sequence[Model], trained: dict[str, dict[str, Any]]) -> Degradation:
    """What all models were trained to undo."""
    for model in models:
        if model.name not in trained:
            raise ModelError(
                f"{model.source} does not say what it was trained to undo: give the `degradation`."
            )
    first, *others = trained
    other = next((name for name in others if trained[name] != trained[first]), None)
    if other is not None:
        raise ConfigError(
            f"{first} was trained to undo {_in_words(trained[first])}, {other} "
            f"{_in_words(trained[other])}: they do different tasks. Evaluate each for itself, or give "
            "one `degradation` for all."
        )
    return get_degradation(**trained[first])


def choose_pattern(models: Sequence[Model], pattern: str | None = None, kind: str = "auto") -> str | None:
    """The patient pattern that folders of images are read with: the given one, or that of the models.

    Raises:
        ConfigError: The models were trained with different ones and none is given.
    """
    if pattern is not None or kind == "lgg":
        return pattern
    own = {model.name: model.info.data.get("patient_pattern") for model in models}
    names = list(own)
    for other in names[1:]:
        if own[other] != own[names[0]]:
            raise ConfigError(
                f"{names[0]} and {other} were trained with different patient patterns ({own[names[0]]!r} "
                f"and {own[other]!r}). Give the one of this data: `patient_pattern`."
            )
    return own[names[0]] if names else None


def split_of(info: Any) -> Split | None:
    """The `Split` of a `ModelInfo`, or None."""
    split = info.data.get("split")
    return Split.from_dict(split) if split else None


def check_names(plain: Sequence[Named], others: Sequence[Named]) -> None:
    """Raises ConfigError where two methods have one name, or one of `others` that of something else.

    Args:
        plain: The interpolators that are compared.
        others: Models and predictions. The names of all interpolators are taken, compared or not.
    """
    from keras_mrisr.degrade.interpolate import METHODS

    names = [one.name for one in (*plain, *others)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two methods are called {name!r}. Give one another name: NAME=PATH.")
    for one in others:
        if one.name in (*IMAGES, *METHODS, *INTERPOLATIONS):
            raise ConfigError(
                f"{one.source}: the name {one.name!r} is taken. Give it another name: NAME=PATH."
            )


def _check_same_task(models: Sequence[Model]) -> None:
    first, *others = models
    for other in others:
        for what, one, two in (
            ("scale", f"x{first.info.scale_text}", f"x{other.info.scale_text}"),
            ("number of channels", first.info.image_channels, other.info.image_channels),
        ):
            if one != two and None not in (one, two):  # None: any number of them, one by one.
                raise ConfigError(
                    f"{first.name} and {other.name} differ in {what} ({one} and {two}): they do different "
                    "tasks and are not compared. Evaluate each for itself."
                )


def _in_words(degradation: dict[str, Any]) -> str:
    options = [
        f"{key}={value}" for key, value in degradation.items() if key not in ("name", "scale") and value
    ]
    return f"{degradation['name']} ({', '.join(options)})"
