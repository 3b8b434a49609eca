"""The dial between a fidelity model and the GAN that started from it, and how one folder holds both.

`generator.keras` is the fidelity model, `perception.npz` has the weights of the layers in which the GAN end
is another; `model.json` describes the end under "perception".
"""

import dataclasses
import io
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np

from keras_mrisr.checks import check_perception
from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.models.blocks import TEXTURE_OUTPUT, THIN
from keras_mrisr.models.registry import build_generator
from keras_mrisr.types import Model, PathLike

FILE = "perception.npz"


def interpolated(fidelity: Model, gan: Model, perception: float) -> Model:
    """A network whose weights lie between those of two (Wang et al. 2018, "ESRGAN", section 3.4).

    Thin layers that the GAN has grown add nothing at 0: of these only the last convolution is scaled, so
    that with all other weights alike, what they add is in proportion to `perception`.

    Args:
        fidelity: The generator at 0.
        gan: The one at 1, which has its layers, of the same shapes, and maybe thin layers.
        perception: From 0 to 1.

    Returns:
        A network like `gan`; at 0 the same function as `fidelity`.

    Raises:
        ModelError: The networks are of two kinds.
    """
    check_ends(fidelity, gan)
    share = np.float32(check_perception(perception))
    ends = {layer.name: layer.get_weights() for layer in fidelity.layers}
    network = keras.models.clone_model(gan)
    for layer, trained in zip(network.layers, gan.layers, strict=True):
        weights = trained.get_weights()
        if layer.name in ends:
            weights = [(1 - share) * a + share * b for a, b in zip(ends[layer.name], weights, strict=True)]
        elif layer.name == TEXTURE_OUTPUT:
            weights = [share * weight for weight in weights]
        layer.set_weights(weights)
    return network


def check_ends(fidelity: Model, gan: Model) -> None:
    """Raises ModelError unless a GAN could have started from a fidelity model: see `interpolated`."""
    shapes = [
        {layer.name: [weight.shape for weight in layer.get_weights()] for layer in one.layers}
        for one in (fidelity, gan)
    ]
    grown = {name: value for name, value in shapes[1].items() if not name.startswith(THIN)}
    if grown != shapes[0]:
        differ = sorted(name for name in {*grown, *shapes[0]} if grown.get(name) != shapes[0].get(name))
        raise ModelError(
            "The GAN end is of another network than the fidelity model: they differ in "
            f"{', '.join(differ[:3])}. Give a GAN that started from it."
        )


def save_gan_end(path: PathLike, fidelity: Model, gan: Model) -> None:
    """Writes the layers of a GAN end that are not the fidelity model's, in float16.

    Layers that the GAN's training left as they were are stored once, with the fidelity model.

    Args:
        path: File to write, `.npz`.
        fidelity: The fidelity model as it is stored, so with weights that float16 can hold.
        gan: The GAN that started from it.

    Raises:
        ModelError: The networks are of two kinds.
    """
    check_ends(fidelity, gan)
    shared = {layer.name: layer.get_weights() for layer in fidelity.layers}
    arrays = {}
    for layer in gan.layers:
        weights = [weight.astype("float16") for weight in layer.get_weights()]
        known = shared.get(layer.name)
        if known is None or not all(map(np.array_equal, weights, known)):
            arrays.update({f"{layer.name}/{i}": weight for i, weight in enumerate(weights)})
    np.savez_compressed(os.fspath(path), **arrays)


def load_gan_end(path: PathLike, fidelity: Model, info: ModelInfo) -> Model:
    """The GAN end that `save_gan_end` wrote.

    Args:
        path: The file.
        fidelity: The generator of the model.
        info: Its `ModelInfo`, with `perception`.

    Raises:
        ModelError: The file is missing or broken, or holds another network than `info` says.
    """
    try:
        gan = build_generator(
            scale=info.factors if info.dimensions == 3 else info.scale,
            channels=info.channels,
            neighbours=info.neighbours,
            **info.perception["generator"],
        )
        shared = {layer.name: layer.get_weights() for layer in fidelity.layers}
        with np.load(io.BytesIO(pathlib.Path(path).read_bytes())) as stored:
            for layer in gan.layers:
                names = [f"{layer.name}/{i}" for i in range(len(layer.weights))]
                mine = [stored[name] for name in names if name in stored]
                layer.set_weights(mine or shared.get(layer.name, []))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ConfigError) as error:
        raise ModelError(f"{path} is no GAN end of this model: {error}. Copy the model again.") from error
    return gan


def at_perception(fidelity: Model, gan: Model, info: ModelInfo, perception: float) -> tuple[Model, ModelInfo]:
    """The network at a place of the dial over 0, and its description.

    Args:
        fidelity: The generator of the model.
        gan: Its GAN end.
        info: The model's `ModelInfo`, with `perception`.
        perception: Over 0, at most 1.
    """
    end = info.perception
    network = interpolated(fidelity, gan, perception)
    return network, dataclasses.replace(
        info,
        generator=end["generator"],
        consistent=end["consistent"],
        training={**info.training, "adversarial": end["training"].get("adversarial", {})},
        perception={"value": perception},
    )


def gan_end(info: ModelInfo) -> dict[str, Any]:
    """What a `model.json` says of the GAN end, made of the `ModelInfo` of its run."""
    return {
        "weights": FILE,
        "generator": info.generator,
        "consistent": info.consistent,
        "training": info.training,
        "metrics": info.metrics,
    }
