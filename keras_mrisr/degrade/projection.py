"""Patches brought to the nearest ones that a linear degradation takes to the measured LR."""

import math
from collections.abc import Callable

import numpy as np

from keras_mrisr.degrade.axis_modes import AxisModes
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor

# Tikhonov's damping of the way back: noise of LR is amplified no more than 5 times.
DAMPING = 1 / (2 * 5.0) ** 2


class Projection:
    """Takes patches to the nearest ones that degrade to what was measured.

    SR + A^T (A A^T + m)^-1 (LR - A SR) with A the degradation and a small m, which keeps the noise of LR
    small (see `inference.enforce_consistency`, which chooses m for each image). What A lets through is taken
    from LR, all else from SR: a loss of the result moves only what was not measured. LR pixels that depend on
    what lies outside the patch correct nothing.

    Args:
        degradation: A `Degradation` with an `axis_matrix`, the same for all images.

    Raises:
        ConfigError: Another degradation.
    """

    def __init__(self, degradation: Degradation) -> None:
        degradation.require_fixed()
        if not degradation.linear:
            raise ConfigError(
                f"adversarial.consistency needs a degradation that is linear along both axes. "
                f"Received: {degradation.name!r}"
            )
        self.degradation = degradation

    def __call__(self, sr: Tensor, lr: Tensor) -> Tensor:
        """The consistent patches.

        Args:
            sr: (N, H, W, C), float, in [0, 1]; H and W are known before the first step.
            lr: (N, h, w, C), as measured.

        Returns:
            Tensor like `sr`, float32.
        """
        rows, columns = self._axes(sr, AxisModes.within)
        from keras import ops  # Here, as everywhere in `degrade`: see `registration`.

        sr, lr = ops.cast(sr, "float32"), ops.cast(lr, "float32")
        again = _product(rows.matrix, sr, columns.matrix)
        if self.degradation.magnitude:
            # Of the images +-LR that were folded together, the nearer one.
            lr = ops.where(ops.logical_and(again < 0, lr > 0), -lr, lr)
        return sr + self._back(lr - again, rows, columns)

    def residual(self, images: Tensor) -> Tensor:
        """What LR does not hold of images (N, H, W, C): they less what comes back from their own LR."""
        rows, columns = self._axes(images, AxisModes.of)
        from keras import ops

        images = ops.cast(images, "float32")
        return images - self._back(_product(rows.matrix, images, columns.matrix), rows, columns)

    def _axes(self, images: Tensor, modes: Callable[..., AxisModes]) -> tuple[AxisModes, AxisModes]:
        height, width = images.shape[1:3]
        if height is None or width is None:
            raise ConfigError("adversarial.consistency needs patches of one size: set training.patch_size.")
        return modes(self.degradation, height), modes(self.degradation, width)

    def _back(self, lr: Tensor, rows: AxisModes, columns: AxisModes) -> Tensor:
        """A^T (A A^T + m)^-1 of LR, where that is known."""
        known = np.outer(rows.known, columns.known)[..., np.newaxis]
        modes = _product(rows.vectors.T, lr * _constant(known), columns.vectors.T)
        weights = math.prod(self.degradation.factors) / (
            np.outer(rows.eigenvalues, columns.eigenvalues) + DAMPING
        )
        modes = modes * _constant(weights[..., np.newaxis])
        return _product(rows.matrix.T @ rows.vectors, modes, columns.matrix.T @ columns.vectors)


def _constant(values: np.ndarray) -> Tensor:
    # As a tensor: PyTorch takes no gradient through an operation with a NumPy array.
    from keras import ops

    return ops.convert_to_tensor(np.asarray(values, "float32"))


def _product(left: np.ndarray, images: Tensor, right: np.ndarray) -> Tensor:
    """left X right^T of every channel of every image."""
    from keras import ops

    return ops.einsum("ij,njkc,lk->nilc", _constant(left), images, _constant(right))
