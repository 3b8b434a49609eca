"""Whether a reconstruction, degraded again, gives back the slice it was made from."""

from typing import Any

import keras
from keras import ops

from keras_mrisr.degrade import Degradation, get_degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


def consistency_loss(lr: Tensor, sr: Tensor, degradation: Degradation) -> Tensor:
    """Mean |degrade(SR) - LR|, in intensity.

    L1 and not MSE: the goal, an error below one grey level of 255, has a square of 1.5e-5, whose
    gradient would vanish before it is reached.

    Args:
        lr: What the generator was given, (N, h, w, C) in [0, 1].
        sr: What it made, (N, h * scale, w * scale, C).
        degradation: Callable from HR to LR: a `Degradation`.

    Returns:
        Scalar tensor, the mean over the batch, float32.

    Raises:
        ConfigError: The degraded reconstruction has another shape than `lr`.
    """
    return ops.mean(consistency_error(lr, sr, degradation))


def consistency_error(lr: Tensor, sr: Tensor, degradation: Degradation) -> Tensor:
    """`consistency_loss` of every image: tensor (N,)."""
    lr, sr = ops.cast(lr, "float32"), ops.cast(sr, "float32")
    again = degradation(sr)
    if any(None not in (a, b) and a != b for a, b in zip(again.shape, lr.shape, strict=True)):
        raise ConfigError(
            "The degraded reconstruction and LR differ in shape: is the degradation of another scale? "
            f"Received: degraded={tuple(again.shape)}, lr={tuple(lr.shape)}"
        )
    return ops.mean(ops.abs(again - lr), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("keras_mrisr")
class ConsistencyLoss(keras.losses.Loss):
    """`consistency_error` as a loss of (LR, SR): the true value is what the generator was given.

    Args:
        degradation: A `Degradation` that is `fixed`, or its `to_dict()`.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.

    Raises:
        ConfigError: The degradation differs from image to image.
    """

    def __init__(
        self,
        degradation: Degradation | dict[str, Any],
        name: str = "consistency",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not isinstance(degradation, Degradation):
            degradation = get_degradation(**degradation)
        self.degradation = degradation
        self.degradation.require_fixed()

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Error of every image, shape (N,)."""
        return consistency_error(y_true, y_pred, self.degradation)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "degradation": self.degradation.to_dict()}
