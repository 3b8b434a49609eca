"""A trained model is one directory: `generator.keras`, `model.json`, `card.md`, maybe `finish.keras`."""

import json
import os
import pathlib
import re
import typing
from typing import Any

import keras

from keras_mrisr.checks import check_perception
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ModelError
from keras_mrisr.files import whole_file, write_json, write_text
from keras_mrisr.model_info import THROUGH_PLANE, Description, ModelInfo, ThroughPlaneInfo
from keras_mrisr.models.perception import at_perception, load_gan_end
from keras_mrisr.pretrained import WEIGHTS, find_model
from keras_mrisr.registration import ENTRY_POINTS, load_entry_points
from keras_mrisr.types import Model, PathLike

_Kind = typing.TypeVar("_Kind", bound=Description)
FINISH = "finish.keras"  # Of a model for thick slices: what makes one volume of two.
INFO = "model.json"
CARD = "card.md"
# What Keras says of a class that is not registered, and of code that it does not run.
_UNKNOWN = re.compile(r"Could not locate \w+ '([^']+)'")
_UNSAFE = re.compile(r"arbitrary code execution")
EXPORT = "export.json"  # What mrisr export leaves in its folder.


def save_trained(
    directory: PathLike,
    network: Model,
    info: Description,
    card: str,
    weights: str = WEIGHTS,
    finish: Model | None = None,
) -> None:
    """Writes a trained model into `directory`; each file whole or not at all, `model.json` last.

    Args:
        directory: Folder of the model; made if missing, files of the same names are replaced.
        network: The functional `keras.Model`, float32.
        info: Its `ModelInfo`, or another `Description`.
        card: Text of `card.md`.
        weights: Name of the network's file.
        finish: Of a model for thick slices: its `models.volume_finish`, or None.
    """
    directory = pathlib.Path(directory)
    for name, one in ((weights, network), (FINISH, finish)):
        if one is not None:
            with whole_file(directory / name) as temporary:
                one.save(temporary)
    write_text(directory / CARD, card)
    write_json(directory / INFO, info.to_dict())


def load_info(path: PathLike) -> ModelInfo:
    """Reads the description of a model directory, or of a `.keras` file in one, without its weights.

    Args:
        path: The directory or file, or the name of a bundled model.

    Raises:
        ModelError: Nothing there, or `model.json` is missing or broken.
    """
    return load_description(path, ModelInfo)


def load_description(path: PathLike, kind: type[_Kind]) -> _Kind:
    """Reads what `kind` says that a `model.json` holds; otherwise as `load_info`.

    Args:
        path: The directory or file, or the name of a bundled model.
        kind: A `Description`.

    Raises:
        ModelError: Nothing there, or `model.json` is missing or broken.
    """
    place = find_model(path)
    directory = place.parent if place.suffix == ".keras" else place
    file = directory / INFO
    if not file.is_file() and place.suffix == ".keras":
        raise ModelError(f"{place} lies in no model directory: there is no {INFO} beside it. Copy that, too.")
    if not file.is_file() and (directory / EXPORT).is_file():
        raise ModelError(
            f"{directory} is an export: give the folder that mrisr train wrote. ONNX exports are for mrisr "
            "upscale, SavedModels for mrisr serve-client."
        )
    if not file.is_file():
        raise ModelError(
            f"{directory} is no model directory: {INFO} is missing. Give a folder that mrisr train wrote."
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        other = _other_task(values, kind, directory)
        if not other:
            return kind.from_dict(values)
    except ValueError as error:  # ModelError, and those of broken JSON or UTF-8.
        raise ModelError(
            f"{file} is no model description: {error}. Copy the model again or retrain."
        ) from error
    raise ModelError(other)


def _other_task(values: Any, kind: type[Description], directory: pathlib.Path) -> str:
    """What is wrong with the description of a model of another task; "" where it is of the right one."""
    task = values.get("task") if isinstance(values, dict) else None
    if kind in (ModelInfo, ThroughPlaneInfo) and isinstance(values, dict) and "unet" in values:
        return f"{directory} is a U-Net, which mrisr segment takes: give a model for super-resolution."
    if kind is ThroughPlaneInfo and task is None:
        return (
            f"{directory} is no model that makes thick slices thin: give one whose {INFO} has the task "
            f"{THROUGH_PLANE}, such as thick."
        )
    if kind is not ThroughPlaneInfo and task == THROUGH_PLANE:
        return (
            f"{directory} is a model that makes thick slices thin (task {THROUGH_PLANE}), which mrisr "
            "upscale and `ThroughPlaneResolver` take: give one of the task that is asked for."
        )
    return ""


def load_trained(source: PathLike | Model, perception: float = 0.0) -> tuple[Model, ModelInfo]:
    """Loads a trained generator.

    Args:
        source: A model directory, a `.keras` file (such as `last.keras` in one), the name of a bundled model,
            or a `keras.Model` itself, such as one that `model.fit` trained. Without a `model.json` beside it
            the network is described by its shapes: see `describe_network`.
        perception: Of a model with a GAN end: 0 for the fidelity model, 1 for the GAN, or between them (see
            `models.perception`).

    Returns:
        (generator, info): the uncompiled `keras.Model` and its `ModelInfo`.

    Raises:
        ConfigError: `perception` is out of range.
        ModelError: Nothing there, or something in it is missing, broken or of another shape.
    """
    if check_perception(perception):
        return _load_between(source, perception)
    if isinstance(source, keras.Model):
        return source, describe_network(source)
    path = find_model(source)
    if path.suffix == ".keras" and not (path.parent / INFO).is_file():
        generator = load_network(path)
        return generator, describe_network(generator)
    info = load_info(path)
    weights = path if path.suffix == ".keras" else path / WEIGHTS
    generator = load_network(weights)
    _check_shapes(generator, info, weights)
    return generator, info


def has_gan_end(source: PathLike | Model) -> bool:
    """Whether `perception` may be over 0 for a model: only a model directory can hold both ends.

    Raises:
        ModelError: Nothing there, or `model.json` is broken.
    """
    if not isinstance(source, str | os.PathLike):
        return False
    path = find_model(source)
    return path.suffix != ".keras" and (path / INFO).is_file() and bool(load_info(path).perception)


def _load_between(source: PathLike | Model, perception: float) -> tuple[Model, ModelInfo]:
    """`load_trained` of a model with a GAN end."""
    name = source.name if isinstance(source, keras.Model) else str(source)
    if has_gan_end(source):
        path = find_model(source)
        fidelity, info = load_trained(path)
        gan = load_gan_end(path / info.perception["weights"], fidelity, info)
        return at_perception(fidelity, gan, info, perception)
    raise ModelError(
        f"{name} has no GAN end, so that its `perception` is 0: leave that out, or give a model folder with "
        "one, which mrisr models pack makes."
    )


def describe_network(network: Model, degradation: Degradation | None = None) -> ModelInfo:
    """What the shapes of a network say about it.

    Args:
        network: A `keras.Model` (N, H, W, C) -> (N, fH, fW, C), or (N, X, Y, Z, C) -> (N, fX, gY, hZ, C), of
            images in [0, 1]. Where it takes 2k + 1 times the channels that it makes, these are the slices of
            k neighbours on each side.
        degradation: What it was trained to undo, if that is known.

    Raises:
        ModelError: The shapes are not those of a network for super-resolution.
    """
    channels, factors = _zoom(network)
    inputs = network.input_shape[-1]
    slices, rest = divmod(inputs, channels)
    if rest or slices % 2 == 0:
        raise ModelError(
            f"{network.name} makes {channels} channel(s) of {inputs}: the input must have as many, or an odd "
            "multiple of them (neighbouring slices)."
        )
    if len(factors) == 2 and factors[0] != factors[1]:
        raise ModelError(f"{network.name} upscales by {factors}: a slice has one factor for both axes.")
    return ModelInfo(
        scale=max(factors),
        channels=channels,
        generator={"name": network.name},
        degradation={} if degradation is None else degradation.to_dict(),
        neighbours=slices // 2,
        factors=factors,
    )


def _zoom(network: Model) -> tuple[int, tuple[int, ...]]:
    """Channels of the output, and the factor of each axis."""
    shape = network.input_shape
    output: tuple[int, ...] = ()
    sizes = tuple(size or 16 for size in shape[1:-1]) if isinstance(shape, tuple) else ()
    if len(sizes) in (2, 3):
        output = network.compute_output_shape((1, *sizes, shape[-1]))
    pairs = list(zip(output[1:-1], sizes, strict=False))
    if len(output) != len(sizes) + 2 or any(big % small for big, small in pairs):
        raise ModelError(
            f"{network.name} is no network for super-resolution, (N, H, W, C) to whole multiples of H and W: "
            f"it makes {output or 'something else'} of {shape}."
        )
    return output[-1], tuple(big // small for big, small in pairs)


def load_network(weights: PathLike) -> Model:
    """Loads the `.keras` file of a model directory, uncompiled.

    Raises:
        ModelError: It is missing or broken.
    """
    weights = pathlib.Path(weights)
    if not weights.is_file():
        raise ModelError(f"{weights.parent} holds no {weights.name}: the run has not saved a model yet.")
    load_entry_points()
    try:
        return keras.saving.load_model(weights, compile=False)
    except Exception as error:  # Keras raises whatever the broken part of the file raises.
        raise ModelError(f"{weights} {_why_not(error)}") from error


def _why_not(error: Exception) -> str:
    """What is wrong with a `.keras` file that Keras refused, and the way out."""
    text = str(error).strip()
    unknown = _UNKNOWN.search(text)
    if unknown:
        return (
            f"holds {unknown[1]!r}, which is neither Keras' nor this package's. Import the module that "
            "registers it with Keras (`import`), or name that in an entry point of the group "
            f"{ENTRY_POINTS}."
        )
    if _UNSAFE.search(text):
        return (
            "holds code (a Lambda layer) that would run when it is loaded: unsafe, and refused. Build the "
            "model from layers that are registered with Keras."
        )
    reason = text.splitlines()[0] if text else type(error).__name__
    return f"cannot be loaded ({reason}). Copy the model again or retrain."


def _check_shapes(generator: Model, info: ModelInfo, weights: PathLike) -> None:
    channels = generator.input_shape[-1]
    if channels != info.input_channels:
        of = f" of {2 * info.neighbours + 1} slices" if info.neighbours else ""
        raise ModelError(
            f"{weights} takes {channels} channel(s), but its {INFO} says {info.input_channels}{of}: the "
            "files are of two models. Copy the model again or retrain."
        )
    sizes = (16,) * (len(generator.input_shape) - 2)
    output = generator.compute_output_shape((1, *sizes, channels))
    if output != (1, *(16 * factor for factor in info.factors), info.channels):
        raise ModelError(
            f"{weights} makes {output[1:]} of {(*sizes, channels)}, but its {INFO} says scale "
            f"{info.scale_text} and {info.channels} channel(s): the files are of two models. Copy the model "
            "again or retrain."
        )
