"""Losses of segmentations: soft Dice and binary cross-entropy, on logits."""

from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.replicas import replica_count, replica_mean
from keras_mrisr.types import Tensor


def dice_loss(mask: Tensor, logits: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(p m) + smooth) / (sum(p) + sum(m) + smooth), sums over the whole batch.

    The soft Dice of Milletari et al. 2016 ("V-Net", section 3) without the squares, as Buda et al. 2019
    train with. Over the batch, because most slices have no tumour: their own Dice would be 0 or 1 by
    `smooth` alone.

    Args:
        mask: (N, H, W, 1), 0 and 1.
        logits: Same shape.
        smooth: Keeps a batch of empty masks finite.

    Returns:
        Scalar tensor in [0, 1], float32.

    Raises:
        ConfigError: Shapes differ.
    """
    mask, logits = _pair(mask, logits)
    chance = ops.sigmoid(logits)
    # All replicas together: their means instead of sums, with as small a part of `smooth`.
    both, either = replica_mean([ops.sum(chance * mask), ops.sum(chance) + ops.sum(mask)])
    smooth = smooth / replica_count()
    return 1 - (2 * both + smooth) / (either + smooth)


def cross_entropy(mask: Tensor, logits: Tensor) -> Tensor:
    """Mean binary cross-entropy of every image: tensor (N,), float32.

    Args:
        mask: (N, H, W, 1), in [0, 1].
        logits: Same shape.

    Raises:
        ConfigError: Shapes differ.
    """
    mask, logits = _pair(mask, logits)
    # -m log sigmoid(x) - (1 - m) log(1 - sigmoid(x)), without an overflow.
    return ops.mean(ops.softplus(logits) - mask * logits, axis=(1, 2, 3))


@keras.saving.register_keras_serializable("keras_mrisr")
class DiceCrossEntropy(keras.losses.Loss):
    """`dice_weight * dice_loss + cross_entropy` of masks and logits (N, H, W, 1).

    Args:
        dice_weight: Weight of Dice, of which there is one number for the batch.
        smooth: See `dice_loss`.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`; both parts are float32 anyway.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        name: str = "dice_cross_entropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.dice_weight = dice_weight
        self.smooth = smooth

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Loss of every image, shape (N,)."""
        return cross_entropy(y_true, y_pred) + self.dice_weight * dice_loss(y_true, y_pred, self.smooth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dice_weight": self.dice_weight, "smooth": self.smooth}


def _pair(mask: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    mask, logits = ops.cast(mask, "float32"), ops.cast(logits, "float32")
    if len(mask.shape) != len(logits.shape) or any(
        None not in (a, b) and a != b for a, b in zip(mask.shape, logits.shape, strict=True)
    ):
        raise ConfigError(
            f"Masks and logits must be (N, H, W, 1) both. Received: mask={tuple(mask.shape)}, "
            f"logits={tuple(logits.shape)}"
        )
    return mask, logits
