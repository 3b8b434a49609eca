"""VGG16 and VGG19 without their dense layers, and reading and writing their weights.

The same networks as in `keras.applications`, built here so that each convolution's output is there
before and after its ReLU, only as deep as needed, and so that weight files of any precision and
layout load with errors that say what is wrong.
"""

import os
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from keras import Input, Model, applications, layers, saving

from keras_mrisr.checks import known
from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.files import whole_file
from keras_mrisr.models.blocks import LAST
from keras_mrisr.types import PathLike

# Simonyan and Zisserman 2015, table 1, columns D and E: convolutions of each block.
NETWORKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_FILTERS = (64, 128, 256, 512, 512)
_CONV_NAME = re.compile(r"block\d_conv\d")


def conv_names(network: str, deepest: str | None = None) -> list[str]:
    """Names of the convolutions in order, such as "block5_conv4"; the last one is `deepest`.

    Raises:
        ConfigError: Unknown network, or it has no such convolution.
    """
    known("feature network", network, NETWORKS)
    counts = NETWORKS[network]
    names = [f"block{b}_conv{i}" for b, count in enumerate(counts, 1) for i in range(1, count + 1)]
    if deepest is None:
        return names
    if deepest not in names:
        raise ConfigError(f"{network} has no layer {deepest!r}. It has: {', '.join(names)}.")
    return names[: names.index(deepest) + 1]


def vgg(
    network: str = "vgg19",
    deepest: str | None = None,
    weights: PathLike | None = None,
    name: str | None = None,
    dtype: Any = "float32",
) -> Model:
    """Builds the convolutional part of VGG.

    Args:
        network: "vgg16" or "vgg19".
        deepest: Name of the last convolution to build; None for all.
        weights: "imagenet", a weight file (see `read_weights`) or None for fixed random values.
        name: Name of the model; by default the network's.
        dtype: Keras dtype policy of all layers but the first convolution, which is float32.

    Returns:
        A functional `keras.Model` from (N, H, W, 3) as `features.network_input` makes it to the
        ReLU of the last convolution. A convolution "block1_conv1" is linear; its ReLU is the layer
        "block1_conv1_relu".

    Raises:
        ModelError: Unknown name, or the weights are not there or not this network's.
    """
    names = conv_names(network, deepest)
    values = read_weights(network, weights, names[-1])
    inputs = x = Input((None, None, 3), name="image", dtype="float32")
    block = "1"
    for conv in names:
        if conv[5] != block:
            x = layers.MaxPooling2D(2, name=f"block{block}_pool", dtype=dtype, **LAST)(x)
            block = conv[5]
        filters = _FILTERS[int(block) - 1]
        # All values are set below: zeros are the cheapest start.
        policy = "float32" if conv == names[0] else dtype  # Pixels of 0..255 need all their digits.
        x = layers.Conv2D(
            filters, 3, padding="same", kernel_initializer="zeros", name=conv, dtype=policy, **LAST
        )(x)
        x = layers.ReLU(name=f"{conv}_relu", dtype=dtype)(x)
    model = Model(inputs, x, name=name or network)
    for conv in names:
        model.get_layer(conv).set_weights(values[conv])
    return model


def read_weights(network: str, weights: PathLike | None, deepest: str | None = None) -> dict[str, tuple]:
    """Reads the weights of VGG's convolutions.

    Args:
        network: "vgg16" or "vgg19".
        weights: "imagenet" (downloaded by `keras.applications`, then cached), None for random values
            (He et al. 2015) that are the same in every process, or a file: an `.h5` of Keras or of
            `write_weights` in any float type, a `.weights.h5`, or a `.keras` model that has these layers.
        deepest: Name of the last convolution that is needed; None for all.

    Returns:
        Dictionary of layer name to (kernel (3, 3, in, out), bias (out,)), float32.

    Raises:
        ModelError: The file is missing, broken or of another network, or the download fails.
    """
    names = conv_names(network, deepest)
    if weights is None:
        return _random_weights(names)
    if weights == "imagenet":
        found, source = _download(network), f"The download of {network}"
    elif not isinstance(weights, str | os.PathLike):
        raise ModelError(
            "Feature weights must be 'imagenet', the path of a weight file, or None for random weights. "
            f"Received: weights={weights!r}"
        )
    else:
        found, source = _read_file(pathlib.Path(weights), network), str(weights)
    return _checked(found, network, names, source)


def write_weights(model: Model, path: PathLike) -> None:
    """Writes the weights of a `vgg(...)`, or of a model that contains its layers, as an `.h5` file.

    `vgg` and `keras.applications` (`include_top=False`; only if all convolutions are there) read it.

    Args:
        model: The model.
        path: File to write; whole or not at all.

    Raises:
        ModelError: The model has no convolution of VGG.
    """
    import h5py

    found = _collect(model)
    if not found:
        raise ModelError(f"{model.name} has no layer of VGG, such as block1_conv1: nothing to write.")
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in found]
        for name, (kernel, bias) in found.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
            group["kernel:0"], group["bias:0"] = kernel, bias


def _shapes(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for name in names:
        filters = _FILTERS[int(name[5]) - 1]
        shapes[name] = (3, 3, before, filters)
        before = filters
    return shapes


def _random_weights(names: Sequence[str]) -> dict[str, tuple]:
    # From NumPy with a fixed seed: a resumed run meets the same features, on any backend.
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in _shapes(names).items():
        kernel = rng.standard_normal(shape, "float32") * np.float32(np.sqrt(2 / np.prod(shape[:3])))
        found[name] = (kernel, np.zeros(shape[3], "float32"))
    return found


def _download(network: str) -> dict[str, tuple]:
    build = {"vgg16": applications.VGG16, "vgg19": applications.VGG19}[network]
    try:
        return _collect(build(include_top=False, weights="imagenet"))
    except Exception as error:  # Keras raises a plain Exception for a failed download.
        raise ModelError(
            f"ImageNet weights of {network} cannot be downloaded ({_first_line(error)}): give the path of "
            "a local weight file, or None for random weights."
        ) from error


def _read_file(path: pathlib.Path, network: str) -> dict[str, tuple]:
    if not path.is_file():
        raise ModelError(
            f"No feature weights at {path}: give an .h5 or .keras file, 'imagenet' to download them, or None "
            "for random weights."
        )
    try:
        if path.suffix == ".keras":
            return _collect(saving.load_model(path, compile=False))
        return _read_h5(path, network)
    except Exception as error:  # h5py and Keras raise whatever the broken part of the file raises.
        raise ModelError(f"{path} cannot be read as weights of {network}: {_first_line(error)}") from error


def _read_h5(path: pathlib.Path, network: str) -> dict[str, tuple]:
    import h5py

    found: dict[str, dict[int, Any]] = {}

    def visit(name: str, item: Any) -> None:
        parts = name.split("/")
        if not isinstance(item, h5py.Dataset) or parts[0].startswith("optimizer"):
            return
        layer = next((part for part in parts if _CONV_NAME.fullmatch(part)), None)
        if layer and item.ndim in (1, 4):
            found.setdefault(layer, {})[item.ndim] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
        if not found and "layers" in file:
            found = _read_numbered(file["layers"], network)
    return {name: (arrays.get(4), arrays.get(1)) for name, arrays in found.items()}


def _read_numbered(layers: Any, network: str) -> dict[str, dict[int, Any]]:
    """The arrays by rank in Keras 3's .weights.h5, which names layers by class and number."""
    groups = [key for key in layers if re.fullmatch(r"conv2d(_\d+)?", key)]
    groups.sort(key=lambda key: int(key[7:] or 0))
    names = conv_names(network)
    if len(groups) != len(names):
        raise ModelError(f"it holds {len(groups)} convolutions, {network} has {len(names)}.")
    arrays = ([item[()] for item in layers[key]["vars"].values()] for key in groups)
    return {name: {array.ndim: array for array in each} for name, each in zip(names, arrays, strict=True)}


def _collect(model: Model) -> dict[str, tuple]:
    """(kernel, bias) of every convolution of VGG in a model, however deep it is nested."""
    found = {}
    for layer in getattr(model, "layers", ()):
        found.update(_collect(layer))
        if _CONV_NAME.fullmatch(layer.name):
            found[layer.name] = tuple(layer.get_weights())
    return found


def _checked(
    found: Mapping[str, tuple], network: str, names: Sequence[str], source: object
) -> dict[str, tuple]:
    _check_names(found, network, names, source)
    checked = {}
    for name, shape in _shapes(names).items():
        shapes = [None if array is None else array.shape for array in found[name]]
        if shapes != [shape, shape[3:]]:
            raise ModelError(
                f"{source} does not hold the weights of {network}: {name} is {shapes}, "
                f"expected {[shape, shape[3:]]}."
            )
        checked[name] = tuple(np.asarray(array, "float32") for array in found[name])
        if not all(np.isfinite(array).all() for array in checked[name]):
            raise ModelError(f"{source} has values in {name} that are not finite.")
    return checked


def _check_names(found: Collection[str], network: str, names: Sequence[str], source: object) -> None:
    expected = conv_names(network)
    # Up to its last convolution a file must hold all: VGG16's looks like VGG19's with gaps.
    depth = max([len(names), *(expected.index(name) + 1 for name in found if name in expected)])
    missing = [name for name in expected[:depth] if name not in found]
    foreign = sorted(set(found) - set(expected))
    if missing or foreign:
        reason = f"it lacks {missing[0]}" if missing else f"it has {foreign[0]}"
        raise ModelError(f"{source} does not hold the weights of {network}: {reason}.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
