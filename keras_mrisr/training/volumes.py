"""Scoring and showing a 3-D generator during its training."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.volume_pairs import VolumePair
from keras_mrisr.models.volume_layers import CubicUpsampling
from keras_mrisr.training.callbacks import Validation
from keras_mrisr.types import Model, Tensor

log = logging.getLogger(__name__)


class VolumeValidation(Validation):
    """Scores a 3-D generator after each epoch: `val_psnr` and `val_ssim` are means over HR slices.

    Before the first epoch it scores cubic interpolation on the same blocks: `facts`.

    Args:
        generator: The float32 copy.
        pairs: List of `VolumePair`, small enough to go through the generator in one piece.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        cubic = self.score_of(CubicUpsampling(_factors(self.pairs[0]))) or {}
        self.facts = {name.replace("val_", "cubic_"): value for name, value in cubic.items()}
        log.info("Cubic interpolation: PSNR %(cubic_psnr).2f dB, SSIM %(cubic_ssim).4f", self.facts)

    @staticmethod
    def images(hr: Tensor, sr: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The pairs of images to compare in a block (1, X, Y, Z, C): its slices."""
        return [(hr[:, :, :, z], sr[:, :, :, z]) for z in range(hr.shape[3])]


def volume_sampler(generator: Model, pairs: Sequence[Any]) -> Callable[[], np.ndarray]:
    """A function that makes pictures for TensorBoard: LR, cubic, SR and HR, cut across the slices."""
    first = pairs[0]
    factors = _factors(first)

    def sample() -> np.ndarray:
        lr, hr = (first.normalizer.normalize(volume)[np.newaxis] for volume in (first.lr, first.hr))
        nearest = lr
        for axis, factor in enumerate(factors, start=1):
            nearest = np.repeat(nearest, factor, axis=axis)
        shown = [nearest, np.asarray(CubicUpsampling(factors)(lr)), generator.predict_on_batch(lr), hr]
        # The middle plane of the first axis, slices from bottom to top.
        planes = [np.swapaxes(volume[:, hr.shape[1] // 2], 1, 2)[:, ::-1] for volume in shown]
        row = np.clip(np.concatenate(planes, axis=2), 0, 1)
        return row if row.shape[-1] in (1, 3) else row[..., :1]

    return sample


def _factors(pair: VolumePair) -> list[int]:
    return [hr // lr for hr, lr in zip(pair.hr.shape[:3], pair.lr.shape[:3], strict=True)]
