"""Pairs of thick slices and thin lines, made of images whose own detail is fine in both axes."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.data.contrasts import random_contrast
from keras_mrisr.degrade.thick_slices import FACTORS, PROFILES, ThickSlices
from keras_mrisr.errors import ConfigError, DataError

THICKNESS = (0.6, 1.4)  # Over spacing, of four samples in ten; the slices of the others touch.
NOISE = (0.002, 0.03)  # Standard deviation of Rician noise in the thick slices of a third of the samples.


class ThroughPlanePatches(ResumableBatches):
    """Batches for `model.fit` of a `models.through_plane` network, the same ones for the same seed.

    A batch has one factor, drawn evenly on a logarithmic scale, and one place of the lines between the
    slices. Each sample has its own image, direction, contrast, thickness, profile and noise. Lines are
    averaged as they stand in the whole image, beyond the borders of the patch.

    Args:
        images: Arrays (H, W), float32 in [0, 1]; each is taken in both directions.
        slices: Thick slices of a patch; of a high factor fewer, where the images hold no more.
        width: Width of a patch in pixels.
        batch_size: Patches a batch.
        steps: Batches an epoch.
        factor: (low, high) of the factor.
        thickness: Slice thickness over spacing, of all samples; by default drawn.
        contrasts: Whether samples get contrasts that the images do not show.
        candidates: Places drawn for each patch; the one with the most contrast is taken.
        multiple: The number of lines of a batch is a multiple of this, as some discriminators need it.
        seed: Seed of everything that is random.

    Attributes:
        fewest_lines: A batch has so many lines or more.

    Yields:
        ({"lr": (N, slices, width, 1), "positions": (N, lines), "acquisition": (N, 2)}, hr (N, lines, width,
        1)), float32.

    Raises:
        ConfigError: Batches might have fewer lines than `multiple`.
        DataError: There are no images, or one is too small.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        slices: int = 20,
        width: int = 40,
        batch_size: int = 16,
        steps: int = 250,
        factor: tuple[float, float] = FACTORS,
        thickness: float | None = None,
        contrasts: bool = True,
        candidates: int = 3,
        multiple: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, steps, seed)
        if not images:
            raise DataError("There are no images to take patches from.")
        self.smallest = min(min(image.shape) for image in images)
        if self.smallest < max(width, 4 * factor[1]):
            needed = math.ceil(max(width, 4 * factor[1]))
            raise DataError(f"An image is {self.smallest} pixels wide: patches need {needed}.")
        fewest = int(min(slices * factor[0], self.smallest - factor[1]))
        self.fewest_lines = fewest - fewest % multiple
        if not self.fewest_lines:
            raise ConfigError(
                f"{slices} slices may hold fewer than {multiple} lines at factors of {factor[0]:g} to "
                f"{factor[1]:g}: raise `slices`, or give images of more than {self.smallest} pixels."
            )
        self.images = images
        self.slices = slices
        self.width = width
        self.factor = factor
        self.thickness = thickness
        self.contrasts = contrasts
        self.candidates = candidates
        self.multiple = multiple

    def __getitem__(self, index: int) -> tuple[dict[str, Any], Any]:
        return self._shapes() if _asked_for_shapes() else self._batch(index)

    def _batch(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rng = self.of_batch(index)
        factor = float(np.exp(rng.uniform(*np.log(self.factor))))
        slices = min(self.slices, int(self.smallest / factor))
        lines = int(slices * factor)
        # The grid of the slices lies anywhere between the lines.
        centres = (np.arange(slices) + 0.5) * factor - 0.5 + rng.uniform(-0.5, 0.5)
        kept = lines - lines % self.multiple
        rows = np.arange(kept) / factor - centres[0] / factor
        samples = [self._sample(factor, centres, lines, each) for each in self.of_samples(index)]
        lr, hr, thickness = (np.stack(part).astype("float32") for part in zip(*samples, strict=True))
        inputs = {
            "lr": lr,
            "positions": np.tile(rows.astype("float32"), (len(lr), 1)),
            "acquisition": np.stack([np.full_like(thickness, 1 / factor), thickness], axis=-1),
        }
        return inputs, hr[:, :kept]

    def _shapes(self) -> tuple[dict[str, Any], Any]:
        """What all batches have in common."""
        count, width = self.batch_size, self.width
        inputs = {
            "lr": keras.KerasTensor((count, None, width, 1)),
            "positions": keras.KerasTensor((count, None)),
            "acquisition": keras.KerasTensor((count, 2)),
        }
        return inputs, keras.KerasTensor((count, None, width, 1))

    def _sample(
        self, factor: float, centres: np.ndarray, lines: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        acquired = draw_acquisition(factor, rng, self.thickness)
        block, before = self._block(lines, math.ceil(acquired.reach), rng)
        if self.contrasts:
            block = random_contrast(block, rng)
        lr = acquired.weights(centres, np.arange(len(block)) - before).astype("float32") @ block
        lr = add_noise(lr, rng)
        return lr[..., np.newaxis], block[before : before + lines, :, np.newaxis], acquired.thickness

    def _block(self, lines: int, reach: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """A strip of an image with up to `reach` more lines on both sides; and how many before."""
        best: tuple[float, np.ndarray, int] | None = None
        for _ in range(self.candidates):
            image = self.images[int(rng.integers(len(self.images)))]
            image = image.T if rng.random() < 0.5 else image
            image = image[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
            y = int(rng.integers(len(image) - lines + 1))
            x = int(rng.integers(image.shape[1] - self.width + 1))
            before = min(y, reach)
            block = image[y - before : y + lines + reach, x : x + self.width]
            contrast = float(block[before : before + lines : 2, ::2].std())
            if best is None or contrast > best[0]:
                best = contrast, block, before
        assert best is not None
        return best[1], best[2]


def _asked_for_shapes() -> bool:
    """Whether Keras asks for batches only to see their shapes.

    With TensorFlow it takes what two batches have in common for the shape of all: two that happen to have as
    many lines make a later one with more fail.
    """
    frame = sys._getframe(2)  # That of the caller, which is a comprehension before Python 3.12.
    names = (frame.f_code.co_name, frame.f_back.f_code.co_name if frame.f_back else "")
    return "get_tf_dataset" in names


def draw_acquisition(factor: float, rng: np.random.Generator, thickness: float | None = None) -> ThickSlices:
    """How a scan of this factor might have been acquired: profile and, where it is not given, thickness."""
    if thickness is None:
        thickness = rng.uniform(*THICKNESS) if rng.random() < 0.4 else 1.0
    return ThickSlices(factor, thickness, rng.choice(PROFILES, p=(0.5, 0.25, 0.25)))


def add_noise(lr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Thick slices with Rician noise, in a third of the cases."""
    if rng.random() < 1 / 3:
        sigma = np.exp(rng.uniform(*np.log(NOISE)))
        real, imaginary = rng.normal(0, sigma, (2, *lr.shape))
        lr = np.hypot(lr + real, imaginary)
    return lr
