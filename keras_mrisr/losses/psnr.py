"""PSNR as a loss: every image counts by the ratio of its error, not by its size."""

import math
from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


def psnr_loss(hr: Tensor, sr: Tensor, floor: float = 1 / 255) -> Tensor:
    """-PSNR of every image in dB: 10 log10(MSE + floor^2), for intensities in [0, 1].

    What Chen et al. 2021 ("HINet", section 3.3) minimise. A mean of PSNR weights a slice with little
    tissue as much as any other, while the mean error of a batch is that of its brightest slices.

    Args:
        hr: Originals (N, ..., C), in [0, 1].
        sr: Reconstructions, same shape.
        floor: Error in intensity below which an image gains nothing more: without it the gradient of an
            empty patch would be infinite. One grey level of 255 by default.

    Returns:
        Tensor (N,), float32.

    Raises:
        ConfigError: Shapes differ, or `floor` is not over 0.
    """
    if not 0 < floor < math.inf:
        raise ConfigError(f"floor must be over 0. Received: {floor!r}")
    hr, sr = ops.cast(hr, "float32"), ops.cast(sr, "float32")
    if len(hr.shape) != len(sr.shape) or any(
        None not in (a, b) and a != b for a, b in zip(hr.shape, sr.shape, strict=True)
    ):
        raise ConfigError(f"HR and SR differ in shape. Received: {tuple(hr.shape)} and {tuple(sr.shape)}")
    error = ops.mean(ops.square(hr - sr), axis=tuple(range(1, len(hr.shape))))
    return 10 * ops.log10(error + floor**2)


@keras.saving.register_keras_serializable("keras_mrisr")
class PSNRLoss(keras.losses.Loss):
    """`psnr_loss` for `model.compile(loss=PSNRLoss())`; `training.loss: psnr` in a config.

    Args:
        floor: See `psnr_loss`.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`; the loss is float32 anyway.
    """

    def __init__(
        self,
        floor: float = 1 / 255,
        name: str = "psnr_loss",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.floor = floor

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """`psnr_loss` of every image, shape (N,)."""
        return psnr_loss(y_true, y_pred, self.floor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "floor": self.floor}
