"""Random changes of what a discriminator is shown, through which gradients flow."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.replicas import random_rows
from keras_mrisr.types import Tensor

KINDS = ("gain", "translation", "cutout")
# MRI has no scale of intensities; a patch moves by up to an eighth, and a quarter of its edge is hidden.
_GAIN, _SHIFT, _HOLE = 1.25, 1 / 8, 1 / 4


def augment(images: Sequence[Tensor], kinds: Sequence[str], seed: keras.random.SeedGenerator) -> list[Tensor]:
    """Changes images that belong together alike (Zhao et al. 2020, "Differentiable augmentation for
    data-efficient GAN training", with what fits MRI).

    "gain": intensities times 0.8 to 1.25; black stays black. "translation": by up to an eighth of the edge,
    with zeros behind. "cutout": a square of a quarter of the edge becomes zero.

    Args:
        images: Tensors (N, H, W, C) of one shape: HR, SR and others of the same places.
        kinds: Names of `KINDS`.
        seed: Where the random numbers come from.

    Returns:
        The images, changed.

    Raises:
        ConfigError: Unknown kind.
    """
    check_augmentation(kinds)
    images = list(images)
    count, height, width = (ops.shape(images[0])[axis] for axis in range(3))
    if "gain" in kinds:
        gain = _GAIN ** random_rows(keras.random.uniform, (count, 1, 1, 1), -1.0, 1.0, seed=seed)
        images = [image * ops.cast(gain, image.dtype) for image in images]
    if "translation" in kinds:
        rows, columns = _shifts(count, height, seed), _shifts(count, width, seed)
        images = [_shifted(image, rows, columns) for image in images]
    if "cutout" in kinds:
        inside = ops.logical_and(
            _stretch(count, height, seed)[:, :, None, None], _stretch(count, width, seed)[:, None, :, None]
        )
        images = [ops.where(inside, ops.zeros_like(image), image) for image in images]
    return images


def check_augmentation(kinds: Sequence[str]) -> None:
    """Raises ConfigError for kinds that are not known."""
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"Unknown augmentation {kind!r}. Known: {', '.join(KINDS)}.")


def _shifts(count: Tensor, size: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """(N, size, size): for each image the matrix that moves an axis by a random number of pixels."""
    most = ops.cast(ops.cast(size, "float32") * _SHIFT, "int32")
    drawn = random_rows(keras.random.uniform, (count, 1, 1), -1.0, 1.0, seed=seed)
    shift = ops.cast(ops.round(drawn * ops.cast(most, "float32")), "int32")
    places = ops.arange(size, dtype="int32")
    return ops.cast(ops.equal(places[None, :, None], places[None, None, :] + shift), "float32")


def _shifted(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    rows, columns = ops.cast(rows, image.dtype), ops.cast(columns, image.dtype)
    return ops.einsum("nij,njkc,nlk->nilc", rows, image, columns)


def _stretch(count: Tensor, size: Tensor, seed: keras.random.SeedGenerator) -> Tensor:
    """(N, size): which pixels of an axis lie within a random stretch."""
    length = ops.cast(ops.cast(size, "float32") * _HOLE, "int32")
    first = random_rows(keras.random.uniform, (count, 1), 0.0, 1.0, seed=seed)
    first = first * ops.cast(size - length + 1, "float32")
    first = ops.cast(ops.floor(first), "int32")
    places = ops.arange(size, dtype="int32")[None]
    return ops.logical_and(places >= first, places < first + length)
