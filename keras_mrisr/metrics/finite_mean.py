"""The mean of per-image values over batches that one blank slice cannot poison."""

from typing import Any

import keras
from keras import ops

from keras_mrisr.metrics.image_pairs import check_data_range
from keras_mrisr.types import Tensor


class FiniteImageMean(keras.metrics.Mean):
    """Base of the Keras metrics here: mean per image over everything seen, non-finite values left out.

    A reconstruction that equals its original has an infinite PSNR; one constant slice would turn the
    mean of an epoch into `inf`. Such images are left out of the mean and counted in `excluded`.

    Args:
        data_range: Distance between the smallest and the largest possible value: 1.0 for [0, 1].
        name: Name in the logs.
        dtype: Type of the state.

    Raises:
        ConfigError: `data_range` is no positive number.
    """

    def __init__(self, data_range: float = 1.0, name: str | None = None, dtype: Any = None) -> None:
        check_data_range(data_range)
        super().__init__(name=name, dtype=dtype)
        self.data_range = float(data_range)
        self.excluded = self.add_variable(shape=(), initializer="zeros", dtype="float32", name="excluded")

    def per_image(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One value per image, shape (N,)."""
        raise NotImplementedError

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch: `y_true` and `y_pred` (N, H, W, C), `sample_weight` (N,) or None."""
        values = self.per_image(y_true, y_pred)
        finite = ops.isfinite(values)
        weight = ops.cast(finite, self.dtype)
        self.excluded.assign_add(ops.cast(ops.sum(1.0 - weight), "float32"))
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        values = ops.cast(ops.where(finite, values, ops.zeros_like(values)), self.dtype)
        super().update_state(values, sample_weight=weight)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this metric again."""
        return {**super().get_config(), "data_range": self.data_range}
