"""A trained U-Net is one directory: `unet.keras`, `model.json`, `card.md`."""

import dataclasses
import pathlib

from keras_mrisr.errors import ModelError
from keras_mrisr.model_info import Description
from keras_mrisr.models import storage
from keras_mrisr.types import Model, PathLike

WEIGHTS = "unet.keras"


@dataclasses.dataclass(frozen=True)
class SegmenterInfo(Description):
    """What a trained U-Net is and where it comes from: the contents of its `model.json`.

    Attributes:
        channels: Channels of the slices.
        unet: Options for `segmentation_unet`.
        data: Root, kind and patient pattern of the data, and the split by patient.
        training: Configuration of the run, and what it took.
        metrics: Scores on the validation patients, with their protocol.
        normalization: How intensities become the network's: see `segmentation.masked`.
        version: Version of keras-mrisr that wrote it.
    """

    channels: int
    unet: dict
    data: dict = dataclasses.field(default_factory=dict)
    training: dict = dataclasses.field(default_factory=dict)
    metrics: dict = dataclasses.field(default_factory=dict)
    normalization: str = "patient-p99"
    version: str = ""


def save_unet(directory: PathLike, unet: Model, info: SegmenterInfo, card: str) -> None:
    """Writes a trained U-Net into `directory`; each file whole or not at all, `model.json` last."""
    storage.save_trained(directory, unet, info, card, WEIGHTS)


def load_unet_info(path: PathLike) -> SegmenterInfo:
    """The `SegmenterInfo` of a directory, or of a `.keras` file in one.

    Raises:
        ModelError: Nothing there, broken, or the model is no U-Net.
    """
    path = pathlib.Path(path)
    folder = path.parent if path.suffix == ".keras" else path
    if (folder / storage.WEIGHTS).exists():
        raise ModelError(f"{path} is a super-resolution model. Give a U-Net that mrisr segment train wrote.")
    return storage.load_description(path, SegmenterInfo)


def load_unet(path: PathLike) -> tuple[Model, SegmenterInfo]:
    """Loads a trained U-Net.

    Args:
        path: A model directory, or a `.keras` file that lies in one (such as `last.keras`).

    Returns:
        (unet, info): the uncompiled `keras.Model` and its `SegmenterInfo`.

    Raises:
        ModelError: Nothing there, or something in it is missing, broken or of another shape.
    """
    path = pathlib.Path(path)
    info = load_unet_info(path)
    weights = path if path.suffix == ".keras" else path / WEIGHTS
    unet = storage.load_network(weights)
    if (unet.input_shape[-1], unet.output_shape[-1]) != (info.channels, 1):
        raise ModelError(
            f"{weights} maps {unet.input_shape[-1]} channel(s) to {unet.output_shape[-1]}, but its "
            f"{storage.INFO} says {info.channels} to 1: the files are of two models. Copy the model again or "
            "retrain."
        )
    return unet, info
