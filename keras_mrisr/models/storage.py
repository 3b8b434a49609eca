"""A trained model is one directory: `generator.keras`, `model.json`, `card.md`."""

import dataclasses
import json
import pathlib

import keras

from keras_mrisr.errors import InputError
from keras_mrisr.files import whole_file, write_json, write_text

WEIGHTS = "generator.keras"
INFO = "model.json"
CARD = "card.md"


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What a trained generator is and where it comes from: the contents of `model.json`.

    Attributes:
        scale: Factor of the super-resolution.
        channels: Channels of input and output.
        generator: Name and options of the builder.
        degradation: What the generator was trained to undo: `get_degradation(**degradation)`.
        data: Root, kind and patient pattern of the data, and the split by patient.
        training: Configuration of the run, and what it took.
        metrics: Scores on the validation patients, with their protocol.
        normalization: How pixel values become the network's [0, 1]: see `data.normalize`.
        version: Version of keras-mrisr that wrote it.
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

    def to_dict(self):
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Makes it from `to_dict()`; keys of later versions are ignored.

        Raises:
            InputError: A key is missing or has a value of another type.
        """
        if not isinstance(values, dict):
            raise InputError(f"it holds no keys and values but {type(values).__name__}")
        arguments = {}
        for field in dataclasses.fields(cls):
            if field.name in values:
                arguments[field.name] = values[field.name]
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise InputError(f"{field.name} is missing")
            if type(arguments.get(field.name, field.type())) is not field.type:
                raise InputError(f"{field.name} must be {field.type.__name__}, not {values[field.name]!r}")
        return cls(**arguments)


def save_trained(directory, generator, info, card):
    """Writes a trained model into `directory`; each file whole or not at all, `model.json` last.

    Args:
        directory: Folder of the model; made if missing, files of the same names are replaced.
        generator: The functional `keras.Model`, float32.
        info: Its `ModelInfo`.
        card: Text of `card.md`.
    """
    directory = pathlib.Path(directory)
    with whole_file(directory / WEIGHTS) as temporary:
        generator.save(temporary)
    write_text(directory / CARD, card)
    write_json(directory / INFO, info.to_dict())


def load_info(path):
    """Reads the `ModelInfo` of a model directory, or of a `.keras` file in one, without its weights.

    Raises:
        InputError: Nothing there, or `model.json` is missing or broken.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise InputError(f"No model at {path}: expected a model directory or a .keras file.")
    directory = path.parent if path.suffix == ".keras" else path
    file = directory / INFO
    if not file.is_file():
        raise InputError(
            f"{directory} is no model directory: {INFO} is missing. Give a folder that mrisr train wrote."
        )
    try:
        return ModelInfo.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:  # InputError, and those of broken JSON or UTF-8.
        raise InputError(
            f"{file} is no model description: {error}. Copy the model again or retrain."
        ) from error


def load_trained(path):
    """Loads a trained generator.

    Args:
        path: A model directory, or a `.keras` file that lies in one (such as `last.keras`).

    Returns:
        (generator, info): the uncompiled `keras.Model` and its `ModelInfo`.

    Raises:
        InputError: Nothing there, or something in it is missing, broken or of another shape.
    """
    path = pathlib.Path(path)
    info = load_info(path)
    weights = path if path.suffix == ".keras" else path / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{path} holds no {WEIGHTS}: the run has not saved a model yet.")
    try:
        generator = keras.saving.load_model(weights, compile=False)
    except Exception as error:  # Keras raises whatever the broken part of the file raises.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{weights} cannot be loaded ({reason}). Copy the model again or retrain."
        ) from error
    _check_shapes(generator, info, weights)
    return generator, info


def _check_shapes(generator, info, weights):
    channels = generator.input_shape[-1]
    if channels != info.channels:
        raise InputError(
            f"{weights} takes {channels} channel(s), but its {INFO} says {info.channels}: the files are of "
            "two models. Copy the model again or retrain."
        )
    output = generator.compute_output_shape((1, 16, 16, channels))
    if output != (1, 16 * info.scale, 16 * info.scale, channels):
        raise InputError(
            f"{weights} makes {output[1:]} of {(16, 16, channels)}, but its {INFO} says scale {info.scale}: "
            "the files are of two models. Copy the model again or retrain."
        )
