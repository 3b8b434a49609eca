"""Peak signal-to-noise ratio, per image."""

import math
from typing import Any

import keras
from keras import ops

from keras_mrisr.metrics.finite_mean import FiniteImageMean
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, check_data_range, masked_mean
from keras_mrisr.types import Tensor


def psnr(hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """PSNR of every image of a batch: 10 log10(data_range^2 / MSE).

    The squared error is averaged over all pixels and channels of one image, never over the batch; the
    result equals `skimage.metrics.peak_signal_noise_ratio` of that image.

    Args:
        hr: Originals (N, H, W, C), any real type.
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value: 1.0 for images in
            [0, 1], 255 for 8-bit ones. It is never guessed.
        mask: (N, H, W), bool or weights; only these pixels count. None for all.

    Returns:
        Tensor (N,) in dB: `inf` where both images are equal, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes differ or `data_range` is no positive number.
    """
    check_data_range(data_range)
    hr, sr = as_pair(hr, sr)
    mask = None if mask is None else as_mask(mask, hr)
    mse = masked_mean(ops.square(hr - sr), mask)
    differs = mse > 0
    # The logarithm sees 1 where the answer is known already, so that no backend warns of log(0).
    decibel = (20 * math.log10(data_range)) - 10 * ops.log10(ops.where(differs, mse, ops.ones_like(mse)))
    same = ops.where(ops.isnan(mse), mse, ops.full_like(mse, float("inf")))
    return ops.where(differs, decibel, same)


@keras.saving.register_keras_serializable(package="keras_mrisr")
class PSNR(FiniteImageMean):
    """Mean PSNR per image in dB, for `model.compile(metrics=[PSNR(data_range=1.0)])`.

    Images that equal their original (PSNR infinite) are left out and counted in `excluded`.
    """

    def __init__(self, data_range: float = 1.0, name: str = "psnr", dtype: Any = None) -> None:
        super().__init__(data_range=data_range, name=name, dtype=dtype)

    def per_image(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """PSNR of every image, shape (N,)."""
        return psnr(y_true, y_pred, self.data_range)
