"""LPIPS and DISTS on VGG16 through the package `piq`, without a download: all weights come from files.

`piq` downloads two things when its own classes are made. What the metrics learnt on top of VGG16 comes from
the packages of their authors (`lpips`, `DISTS_pytorch`), which carry it; VGG16 itself is in none of them.
"""

import importlib.util
import pathlib
from typing import Any

import numpy as np

from keras_mrisr.checks import known
from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.metrics.image_pairs import check_data_range
from keras_mrisr.models.vgg import conv_names, read_weights
from keras_mrisr.types import PathLike, Tensor

# The package of the learnt weights, and their file in it.
_HEADS = {"lpips_vgg": ("lpips", "weights/v0.1/vgg.pth"), "dists": ("DISTS_pytorch", "weights.pt")}
_LAYERS = ("3", "8", "15", "22", "29")  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 in torchvision's count.
_CHANNELS = (3, 64, 128, 256, 512, 512)
# Of ImageNet in red, green, blue: as the weights of torchvision, and those of Keras (Caffe's), were trained.
_TORCHVISION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_CAFFE = ([123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3)


class PiqMetric:
    """A distance of images in the features of VGG16; smaller is better.

    Args:
        name: "lpips_vgg" (Zhang et al. 2018) or "dists" (Ding et al. 2020).
        backbone: File with the weights of VGG16: torchvision's (.pth, .pt), on which the metrics learnt
            their own, or anything that `models.vgg.read_weights` reads. Those of Keras are another training
            of the same network: values then compare only among themselves.

    Raises:
        ConfigError: Unknown name, or no file is given.
        MissingDependencyError: A package is not installed.
        ModelError: The file does not hold VGG16.
    """

    def __init__(self, name: str, backbone: PathLike | None) -> None:
        known("metric of piq", name, _HEADS)
        if backbone is None:
            raise ConfigError(
                f"The metric {name!r} needs the weights of VGG16, which its packages do not carry: give "
                "`backbone`, a file such as torchvision's vgg16-397923af.pth or an .h5 of Keras."
            )
        heads = _heads(name)
        trunk, (mean, std) = _trunk(pathlib.Path(backbone))
        self.name, self.backbone = name, str(backbone)
        self._network = _NETWORKS[name](trunk, heads, mean, std)
        self._features = self._network.get_features
        self._network.get_features = self._features_once

    def __call__(self, hr: Tensor, sr: Tensor, data_range: float) -> np.ndarray:
        """Distances of two batches; an original that `np.broadcast_to` repeats goes through the network once.

        Args:
            hr: Originals (N, H, W, C), at least 16 x 16 pixels. Three channels are taken as red, green and
                blue, of any other number the mean is repeated.
            sr: Reconstructions, same shape and range.
            data_range: Distance between the smallest and the largest possible value; black is 0.

        Returns:
            Array (N,), 0 for equal images.

        Raises:
            ConfigError: Shapes differ, or `data_range` is no positive number.
        """
        import torch

        check_data_range(data_range)
        if np.ndim(hr) != 4 or np.shape(hr) != np.shape(sr):
            raise ConfigError(
                "Two batches (N, H, W, C) of one shape are compared. "
                f"Received: hr={np.shape(hr)}, sr={np.shape(sr)}"
            )
        with torch.no_grad():
            return self._network(_tensor(hr, data_range), _tensor(sr, data_range)).numpy()

    def _features_once(self, images: Any) -> list[Any]:
        if images.stride(0) or len(images) == 1:
            return self._features(images)
        return [one.expand(len(images), -1, -1, -1) for one in self._features(images[:1])]


def _tensor(images: Tensor, data_range: float) -> Any:
    """What the network takes; a batch that repeats one image stays a view of it."""
    import torch

    images = np.asarray(images)
    own = images[:1] if images.strides[0] == 0 else images
    return torch.from_numpy(_three(own, data_range)).expand(len(images), -1, -1, -1)


def _three(images: Tensor, data_range: float) -> np.ndarray:
    """(N, H, W, C) in [0, data_range] to (N, 3, H, W) in [0, 1]."""
    images = np.asarray(images, "float32") / np.float32(data_range)
    if images.shape[-1] != 3:
        images = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.clip(np.ascontiguousarray(np.moveaxis(images, -1, 1)), 0, 1)


def _heads(name: str) -> Any:
    package, place = _HEADS[name]
    for needed in ("torch", "piq", package):
        if importlib.util.find_spec(needed) is None:
            raise MissingDependencyError(
                f"The metric {name!r} needs the package {needed}: pip install 'keras-mrisr[realism]'."
            )
    import torch

    spec = importlib.util.find_spec(package)  # Not imported: lpips brings plots, DISTS_pytorch a download.
    folder = pathlib.Path(*((spec and spec.submodule_search_locations) or ()))
    return torch.load(folder / place, map_location="cpu", weights_only=True)


def _trunk(path: pathlib.Path) -> tuple[Any, tuple[list[float], list[float]]]:
    """VGG16 up to its last ReLU in torchvision's count of layers, and the mean and scale of its input."""
    import torch

    torchvision = path.suffix in (".pth", ".pt")
    kernels = _read_torch(path) if torchvision else _read_keras(path)
    layers: list[Any] = []
    for number, name in enumerate(conv_names("vgg16")):
        if number and name.endswith("_conv1"):
            layers.append(torch.nn.MaxPool2d(2))
        kernel, bias = (torch.as_tensor(np.ascontiguousarray(one)).float() for one in kernels[number])
        conv = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        conv.load_state_dict({"weight": kernel, "bias": bias})
        layers += [conv, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).eval(), _TORCHVISION if torchvision else _CAFFE


def _read_keras(path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    found = [(kernel.transpose(3, 2, 0, 1), bias) for kernel, bias in read_weights("vgg16", path).values()]
    kernel, bias = found[0]
    return [(kernel[:, ::-1], bias), *found[1:]]  # Keras' takes blue first.


def _read_torch(path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    import torch

    if not path.is_file():
        raise ModelError(f"No weights of VGG16 at {path}: give the path of a .pth or .h5 file.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kernels = [value.numpy() for value in state.values() if value.ndim == 4]
        biases = [state[key.replace("weight", "bias")].numpy() for key in state if state[key].ndim == 4]
    except Exception as error:  # torch raises whatever the broken part of the file raises.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} cannot be read as weights of VGG16: {reason}") from error
    expected = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256), (512, 256)]
    if [kernel.shape for kernel in kernels] != [(*one, 3, 3) for one in (*expected, *[(512, 512)] * 5)]:
        raise ModelError(f"{path} does not hold the 13 convolutions of VGG16.")
    return list(zip(kernels, biases, strict=True))


def _lpips(trunk: Any, heads: Any, mean: list[float], std: list[float]) -> Any:
    from piq.perceptual import ContentLoss

    weights = [heads[f"lin{place}.model.1.weight"] for place in range(len(_LAYERS))]
    options = {"mean": mean, "std": std, "reduction": "none", "normalize_features": True}
    return ContentLoss(trunk, _LAYERS, weights, **options)


def _dists(trunk: Any, heads: Any, mean: list[float], std: list[float]) -> Any:
    from piq.perceptual import DISTS, ContentLoss

    total = float(heads["alpha"].sum() + heads["beta"].sum())
    weights = [
        part for key in ("alpha", "beta") for part in (heads[key].detach() / total).split(_CHANNELS, dim=1)
    ]
    metric = DISTS.__new__(DISTS)  # Its own __init__ is where the downloads are.
    options = {"mean": mean, "std": std, "reduction": "none", "allow_layers_weights_mismatch": True}
    ContentLoss.__init__(metric, trunk, _LAYERS, weights, replace_pooling=True, **options)
    return metric


_NETWORKS = {"lpips_vgg": _lpips, "dists": _dists}
