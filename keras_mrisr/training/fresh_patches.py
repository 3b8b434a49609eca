"""Patches whose LR is degraded again each time, of slices that are rescaled and given other contrasts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_mrisr.data.contrasts import random_contrast
from keras_mrisr.data.pipeline import PatchDataset, SlicePair, crop_to_multiple
from keras_mrisr.degrade.random_acquisition import RandomAcquisition
from keras_mrisr.errors import DataError

_FEWEST_LEVELS, _MOST_BITS_MORE = 255, 2  # Half of the LR slices are rounded, as if stored in 8 to 10 bits.


class FreshPatches(PatchDataset):
    """`PatchDataset` for one model that is right on any scan: HR slices are whole, and LR is made of them.

    For each patch a slice is drawn, brought to another spacing, contrast and orientation, degraded as a whole
    by an `Acquisition` of its own, and cut.

    Args:
        pairs: List of `SlicePair`, of which only `hr` is used.
        scale: Factor between LR and HR.
        degradation: A `RandomAcquisition`.
        rescale: (low, high) of a random factor on the number of pixels of half of the slices, drawn evenly on
            a logarithmic scale; None for none. Factors over 1 make finer pixels, and so softer images.
        contrasts: Whether slices get contrasts that they do not show (see `data.contrasts`).
        **options: As for `PatchDataset`; without `corrupt` and `gain`.

    Yields:
        (lr, hr): float32, nominally in [0, 1], (N, h, w, C) and (N, h * scale, w * scale, C).

    Raises:
        DataError: As for `PatchDataset`, or pairs with neighbours.
    """

    def __init__(
        self,
        pairs: Sequence[SlicePair],
        scale: int,
        degradation: RandomAcquisition,
        rescale: tuple[float, float] | None = None,
        contrasts: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(pairs, scale, **options)
        if any(pair.around for pair in pairs):
            raise DataError(
                "Slices that are degraded again each time have no neighbours: train without them."
            )
        self.degradation = degradation
        self.rescale = rescale
        self.contrasts = contrasts

    def _sample(self, pair: SlicePair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        hr = pair.normalizer.normalize(pair.hr)
        if self.rescale is not None and rng.random() < 0.5:
            hr = self._rescaled(hr, float(np.exp(rng.uniform(*np.log(self.rescale)))))
        if self.contrasts:
            hr = random_contrast(hr, rng)
        if self.augment:
            hr = np.rot90(hr, int(rng.integers(4)))[:, :: rng.choice((-1, 1))]
        hr = np.ascontiguousarray(crop_to_multiple(hr, self.scale), "float32")
        lr = self.degradation.of_slice(hr).degrade(hr).astype("float32")
        if rng.random() < 0.5:
            levels = np.float32(_FEWEST_LEVELS * 2 ** rng.uniform(0, _MOST_BITS_MORE))
            lr = np.rint(lr * levels) / levels
        return (lr, hr) if self.patch_size is None else self._cut(lr, hr, rng)

    def _cut(self, lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size, s = self.patch_size // self.scale, self.scale
        places = [
            tuple(int(rng.integers(edge - size + 1)) for edge in lr.shape[:2]) for _ in range(self.candidates)
        ]
        patches = [hr[y * s : (y + size) * s, x * s : (x + size) * s] for y, x in places]
        best = int(np.argmax([patch[::2, ::2].std() for patch in patches]))
        y, x = places[best]
        return lr[y : y + size, x : x + size], patches[best]

    def _rescaled(self, hr: np.ndarray, factor: float) -> np.ndarray:
        """The slice with other pixels (Lanczos, antialiased), no smaller than a patch."""
        least = self.patch_size or self.scale
        height, width = (max(round(size * factor), least) for size in hr.shape[:2])
        channels = [
            np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS))
            for channel in np.moveaxis(np.ascontiguousarray(hr, "float32"), -1, 0)
        ]
        return np.maximum(np.stack(channels, axis=-1), 0)
