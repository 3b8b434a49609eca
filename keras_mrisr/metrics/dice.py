"""Overlap of two segmentations.

The convention for empty masks, here and wherever the package speaks of Dice: two empty masks agree, and
their Dice is 1; where only one of the two is empty it is 0.
"""

from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


def dice(mask: Tensor, prediction: Tensor) -> Tensor:
    """Dice coefficient of every item: 2 |A and B| / (|A| + |B|) (Dice 1945).

    Args:
        mask: The truth, (N, ...): whatever is over 0.5 is inside. A volume is one item: (1, Z, H, W).
        prediction: Same shape, thresholded in the same way.

    Returns:
        Tensor (N,), float32, in [0, 1]; 1 where both are empty.

    Raises:
        ConfigError: Shapes differ, or there are no axes but the first.
    """
    intersection, one, other = overlap(mask, prediction)
    total = ops.cast(one + other, "float32")
    empty = ops.equal(one + other, 0)
    ratio = 2 * ops.cast(intersection, "float32") / ops.where(empty, ops.ones_like(total), total)
    return ops.where(empty, ops.ones_like(ratio), ratio)


def overlap(mask: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What Dice is made of: |A and B|, |A| and |B| of every item.

    Args:
        mask: As in `dice`.
        prediction: As in `dice`.

    Returns:
        Three tensors (N,), int32.

    Raises:
        ConfigError: As `dice`.
    """
    mask, prediction = ops.convert_to_tensor(mask), ops.convert_to_tensor(prediction)
    pairs = zip(mask.shape, prediction.shape, strict=False)
    # A size that is only known at run time (None) fits everything.
    fits = all(None in (a, b) or a == b for a, b in pairs)
    if len(mask.shape) < 2 or len(mask.shape) != len(prediction.shape) or not fits:
        raise ConfigError(
            f"Two batches of masks of one shape (N, ...) are compared. Received: mask={tuple(mask.shape)}, "
            f"prediction={tuple(prediction.shape)}"
        )
    mask, prediction = (ops.cast(ops.cast(x, "float32") > 0.5, "int32") for x in (mask, prediction))
    axes = tuple(range(1, len(mask.shape)))
    # Counted in integers: float32 loses count above 16.8 million voxels.
    return tuple(ops.sum(x, axis=axes) for x in (mask * prediction, mask, prediction))


@keras.saving.register_keras_serializable("keras_mrisr")
class Dice(keras.metrics.Mean):
    """Mean `dice` per image over everything seen, for `compile`.

    Args:
        from_logits: Predictions are logits: inside is what is over 0. Otherwise it is what is over 0.5.
        name: Name in the logs.
        dtype: Type of the state.
    """

    def __init__(self, from_logits: bool = True, name: str = "dice", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = from_logits

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch: `y_true` and `y_pred` (N, H, W, 1), `sample_weight` (N,) or None."""
        y_pred = ops.convert_to_tensor(y_pred)
        inside = y_pred > (0.0 if self.from_logits else 0.5)
        super().update_state(dice(y_true, inside), sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits}
