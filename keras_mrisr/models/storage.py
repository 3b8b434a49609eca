"""A trained model is one directory: `generator.keras`, `model.json`, `card.md`."""

import json
import pathlib

import keras

from keras_mrisr.errors import ModelError
from keras_mrisr.files import whole_file, write_json, write_text
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.pretrained import find_model

WEIGHTS = "generator.keras"
INFO = "model.json"
CARD = "card.md"
EXPORT = "export.json"  # What mrisr export leaves in its folder.


def save_trained(directory, network, info, card, weights=WEIGHTS):
    """Writes a trained model into `directory`; each file whole or not at all, `model.json` last.

    Args:
        directory: Folder of the model; made if missing, files of the same names are replaced.
        network: The functional `keras.Model`, float32.
        info: Its `ModelInfo`, or another `Description`.
        card: Text of `card.md`.
        weights: Name of the network's file.
    """
    directory = pathlib.Path(directory)
    with whole_file(directory / weights) as temporary:
        network.save(temporary)
    write_text(directory / CARD, card)
    write_json(directory / INFO, info.to_dict())


def load_info(path, kind=ModelInfo):
    """Reads the description of a model directory, or of a `.keras` file in one, without its weights.

    Args:
        path: The directory or file, or the name of a model that comes with the package.
        kind: The `Description` that its `model.json` holds.

    Raises:
        ModelError: Nothing there, or `model.json` is missing or broken.
    """
    path = find_model(path)
    directory = path.parent if path.suffix == ".keras" else path
    file = directory / INFO
    if not file.is_file() and path.suffix == ".keras":
        raise ModelError(f"{path} lies in no model directory: there is no {INFO} beside it. Copy that, too.")
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
        return kind.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:  # ModelError, and those of broken JSON or UTF-8.
        raise ModelError(
            f"{file} is no model description: {error}. Copy the model again or retrain."
        ) from error


def load_trained(path):
    """Loads a trained generator.

    Args:
        path: A model directory, a `.keras` file that lies in one (such as `last.keras`), or the name of a
            model that comes with the package.

    Returns:
        (generator, info): the uncompiled `keras.Model` and its `ModelInfo`.

    Raises:
        ModelError: Nothing there, or something in it is missing, broken or of another shape.
    """
    path = find_model(path)
    info = load_info(path)
    weights = path if path.suffix == ".keras" else path / WEIGHTS
    generator = load_network(weights)
    _check_shapes(generator, info, weights)
    return generator, info


def load_network(weights):
    """Loads the `.keras` file of a model directory, uncompiled.

    Raises:
        ModelError: It is missing or broken.
    """
    weights = pathlib.Path(weights)
    if not weights.is_file():
        raise ModelError(f"{weights.parent} holds no {weights.name}: the run has not saved a model yet.")
    try:
        return keras.saving.load_model(weights, compile=False)
    except Exception as error:  # Keras raises whatever the broken part of the file raises.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{weights} cannot be loaded ({reason}). Copy the model again or retrain."
        ) from error


def _check_shapes(generator, info, weights):
    channels = generator.input_shape[-1]
    if channels != info.input_channels:
        of = f" of {2 * info.neighbours + 1} slices" if info.neighbours else ""
        raise ModelError(
            f"{weights} takes {channels} channel(s), but its {INFO} says {info.input_channels}{of}: the "
            "files are of two models. Copy the model again or retrain."
        )
    factors = info.factors or (info.scale, info.scale)
    sizes = (16,) * (len(generator.input_shape) - 2)
    output = generator.compute_output_shape((1, *sizes, channels))
    if output != (1, *(16 * factor for factor in factors), info.channels):
        raise ModelError(
            f"{weights} makes {output[1:]} of {(*sizes, channels)}, but its {INFO} says scale "
            f"{info.scale_text} and {info.channels} channel(s): the files are of two models. Copy the model "
            "again or retrain."
        )
