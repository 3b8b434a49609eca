"""LPIPS (Zhang et al. 2018) through the authors' package `lpips`, where it is installed; per image."""

import warnings
from typing import Any

import numpy as np

from keras_mrisr.errors import ConfigError
from keras_mrisr.metrics.image_pairs import check_data_range
from keras_mrisr.types import Tensor

NETWORKS = ("alex", "vgg", "squeeze")


def lpips_network(name: str = "alex", **options: Any) -> Any:
    """The network that `lpips` compares with; it downloads ImageNet weights when first used.

    Args:
        name: "alex" (the authors' choice for evaluation), "vgg" or "squeeze".
        **options: Further arguments of `lpips.LPIPS`.

    Returns:
        A `torch.nn.Module` that gives maps.

    Raises:
        ConfigError: Unknown name, the package is not installed, or the weights cannot be had.
    """
    if name not in NETWORKS:
        raise ConfigError(f"Unknown LPIPS network {name!r}. Known: {', '.join(NETWORKS)}.")
    try:
        import lpips as package
    except ImportError as error:
        raise ConfigError("LPIPS needs PyTorch and lpips: pip install lpips.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips 0.1.4 asks torchvision for weights in an old way.
            return package.LPIPS(net=name, spatial=True, verbose=False, **options).eval()
    except OSError as error:
        raise ConfigError(
            f"The ImageNet weights of LPIPS ({name}) cannot be downloaded ({error}): run it once where "
            "there is a network, or leave lpips out of the metrics."
        ) from error


def lpips(hr: Tensor, sr: Tensor, data_range: float, network: Any, mask: Tensor | None = None) -> Tensor:
    """LPIPS of every image of a batch; smaller is better.

    Images are brought to the [-1, 1] and three channels that the network was trained with: one channel is
    repeated, three are taken as red, green and blue, of any other number the mean is repeated.

    Args:
        hr: Originals (N, H, W, C), NumPy or a tensor.
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value; black is 0.
        network: What `lpips_network` gives.
        mask: (N, H, W), bool or weights: the map of distances is averaged inside it. None for all.

    Returns:
        Array (N,), float32: 0 for equal images, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes differ, or `data_range` is no positive number.
    """
    return lpips_of_map(lpips_map(hr, sr, data_range, network), mask)


def lpips_map(hr: Tensor, sr: Tensor, data_range: float, network: Any) -> Tensor:
    """Distances of every pixel, array (N, H, W)."""
    import torch

    check_data_range(data_range)
    hr, sr = (np.asarray(images, "float32") for images in (hr, sr))
    if hr.ndim != 4 or hr.shape != sr.shape:
        raise ConfigError(
            f"Two batches (N, H, W, C) of one shape are compared. Received: hr={hr.shape}, sr={sr.shape}"
        )
    with torch.no_grad():
        return network(*(torch.from_numpy(_three(x, data_range)) for x in (hr, sr))).numpy()[:, 0]


def lpips_of_map(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of a `lpips_map` inside a mask (N, H, W), or of all of it: array (N,)."""
    if mask is None:
        return values.mean(axis=(1, 2))
    weights = np.asarray(mask, "float32")
    total = weights.sum(axis=(1, 2))
    means = (values * weights).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
    return np.where(total > 0, means, np.float32("nan"))


def _three(images: Tensor, data_range: float) -> Tensor:
    """(N, H, W, C) in [0, data_range] -> (N, 3, H, W) in [-1, 1]."""
    if images.shape[-1] != 3:
        images = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) * np.float32(2 / data_range) - 1
