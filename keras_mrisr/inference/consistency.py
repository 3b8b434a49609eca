"""Data consistency: nothing that was measured is changed by what a network adds."""

import math
from collections.abc import Sequence

import numpy as np

from keras_mrisr.degrade.axis_modes import AxisModes
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import DataError

# How far 8-bit LR slices are from what the degradation's formula gives, as a root mean square: 0.29 grey
# levels (1 / sqrt(12)) for one rounding, 0.37 for the paper's degradation, in which Pillow rounds after
# each pass (measured on LGG slices, with the true HR slice in the formula).
NOISE_8BIT = 0.37 / 255

# Gains from LR to SR, in units of that of an ideal crop: the most that noise may get, and the most at all.
_LARGEST_GAIN_OF_NOISE = 5.0
_LARGEST_GAIN = 1000.0


def enforce_consistency(
    sr: np.ndarray, lr: np.ndarray, degradation: Degradation, noise: float = NOISE_8BIT
) -> tuple[np.ndarray, float, float]:
    """Changes SR as little as possible so that the degradation takes it back to LR.

    Without noise this is the projection onto the images that degrade to LR: SR + A^T (A A^T)^-1 (LR - A SR)
    with A the degradation. For `KSpaceCrop` that replaces the measured centre of k-space and divides by the
    window. Where A damps frequencies (a blur, a window) the division amplifies LR's own errors, so that the
    correction stops as soon as A SR is as near to LR as those errors: A^T (A A^T + m)^-1 with the largest m
    that gets there (Tikhonov's regularisation by Morozov's discrepancy principle; Engl, Hanke and Neubauer
    1996, chapters 4 and 5), but never so small that noise is amplified more than 5 times. It is solved
    exactly, since A acts along the axes one after the other.

    For a degradation that ends with the absolute value, of the images +-LR that were folded together the
    one that is nearer to A SR in each pixel is taken.

    Args:
        sr: Array (H, W, C), float, in the units of `lr`, nominally [0, 1]. H and W are the scale times those
            of LR and any numbers.
        lr: Array (h, w, C), float: what was measured.
        degradation: A `Degradation` with an `axis_matrix`.
        noise: Root mean square of the errors in `lr` that need not be reproduced; by default that of
            8-bit slices, which also keeps the noise of other data bounded. 0 trusts LR to the last digit.
            It makes no difference where no noise is amplified (k-space without a window): the
            projection is then exact.

    Returns:
        (sr, before, after): float32 array like `sr`, not clipped, and the root mean square of
        `degradation(sr) - lr` before and after (times 255 for grey levels; see `relative_residual`). Rounding
        or clipping the result for a file adds its own error, see `consistency_residual`.

    Raises:
        DataError: The shapes don't belong together, or the degradation is not of this kind.
    """
    sr, lr = np.asarray(sr, "float64"), np.asarray(lr, "float64")
    operator = _operator(sr, lr, degradation)
    again = operator.apply(sr)
    target = np.where((again < 0) & (lr > 0), -lr, lr) if degradation.magnitude else lr
    residual = target - again
    before = rms(residual)
    modes = operator.modes(residual)
    damping = 0.0 if operator.gain <= 1 + 1e-6 else _damping(modes, operator.eigenvalues, noise)
    if not math.isinf(damping):
        sr = sr + operator.correction(modes, damping)
    sr = sr.astype("float32")
    return sr, before, consistency_residual(sr, lr, degradation)


def consistency_residual(sr: np.ndarray, lr: np.ndarray, degradation: Degradation) -> float:
    """Root mean square of `degradation(sr) - lr`, in the units of both.

    Args:
        sr: Array (H, W, C).
        lr: Array (h, w, C).
        degradation: A `Degradation` with an `axis_matrix`; what it rounds is not rounded here.

    Raises:
        DataError: As `enforce_consistency`.
    """
    return rms(degraded_again(sr, lr, degradation) - lr)


def degraded_again(sr: np.ndarray, lr: np.ndarray, degradation: Degradation) -> np.ndarray:
    """`degradation(sr)`, float64 (h, w, C); arguments as for `consistency_residual`."""
    sr, lr = np.asarray(sr, "float64"), np.asarray(lr, "float64")
    again = _operator(sr, lr, degradation).apply(sr)
    return np.abs(again) if degradation.magnitude else again


def relative_residual(residual: float, lr: np.ndarray) -> float:
    """A residual as a share of the root mean square of LR; 0 for a black LR without residual."""
    return residual / rms(lr) if residual else 0.0


def _operator(sr: np.ndarray, lr: np.ndarray, degradation: Degradation) -> "_Operator":
    scale = degradation.scale
    if sr.ndim != 3 or lr.ndim != 3 or sr.shape != (lr.shape[0] * scale, lr.shape[1] * scale, lr.shape[2]):
        raise DataError(
            f"SR must be {scale} times as high and wide as LR (H, W, C), with as many channels. "
            f"Received: SR of shape {sr.shape}, LR of shape {lr.shape}"
        )
    return _Operator(*(AxisModes.of(degradation, size) for size in sr.shape[:2]))


class _Operator:
    """A degradation of whole slices; its modes are products of those along the two axes."""

    def __init__(self, rows: AxisModes, columns: AxisModes) -> None:
        self.rows, self.columns = rows, columns
        self.eigenvalues = np.outer(rows.eigenvalues, columns.eigenvalues)
        # HR has more pixels than LR by this factor.
        self.pixels = rows.matrix.shape[1] * columns.matrix.shape[1] / self.eigenvalues.size

    @property
    def gain(self) -> float:
        """How much stronger the noise of LR is in the exact correction, as a root mean square."""
        return math.sqrt(np.mean(1 / np.maximum(self.eigenvalues, _LARGEST_GAIN**-2)))

    def apply(self, hr: np.ndarray) -> np.ndarray:
        return _product(self.rows.matrix, hr, self.columns.matrix)

    def modes(self, lr: np.ndarray) -> np.ndarray:
        return _product(self.rows.vectors.T, lr, self.columns.vectors.T)

    def correction(self, modes: np.ndarray, damping: float) -> np.ndarray:
        """A^T (A A^T + damping)^-1 of what `modes` gave; modes that A all but erases are left out."""
        eigenvalues = np.maximum(self.eigenvalues, _LARGEST_GAIN**-2)
        weights = self.pixels / (eigenvalues + damping) * (self.eigenvalues == eigenvalues)
        lr = _product(self.rows.vectors, modes * weights[..., np.newaxis], self.columns.vectors)
        return _product(self.rows.matrix.T, lr, self.columns.matrix.T)


def _damping(modes: np.ndarray, eigenvalues: np.ndarray, noise: float) -> float:
    """The m of `enforce_consistency`: infinite where nothing is to be corrected, 0 without noise."""
    from scipy.optimize import brentq

    energy = np.square(modes).sum(axis=-1)
    allowed = modes.size * noise**2
    if energy.sum() <= allowed:
        return math.inf
    if not noise:
        return 0.0

    def excess(logarithm: float) -> float:
        damping = math.exp(logarithm)
        return float((energy * np.square(damping / (eigenvalues + damping))).sum()) - allowed

    # g / (g^2 + m) has its maximum, 1 / (2 sqrt(m)), at g = sqrt(m).
    least, most = 2 * math.log(1 / (2 * _LARGEST_GAIN_OF_NOISE)), 40.0
    if excess(least) >= 0:
        return math.exp(least)
    return math.exp(brentq(excess, least, most, xtol=1e-3)) if excess(most) > 0 else math.inf


def _product(left: np.ndarray, image: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left X right^T of every channel."""
    return np.moveaxis(left @ np.moveaxis(image, -1, 0) @ right.T, 0, -1)


def rms(values: np.ndarray | Sequence[float]) -> float:
    """The root mean square; 0 of nothing."""
    values = np.asarray(values, "float64")
    return math.sqrt(np.mean(np.square(values))) if values.size else 0.0


def joined_residual(residuals: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """The residuals (before, after) of several images as one; None of nothing."""
    if not residuals:
        return None
    before, after = rms_of_columns(residuals)
    return before, after


def rms_of_columns(rows: Sequence[Sequence[float]]) -> list[float]:
    """The root mean square of each column, such as those of several images' residuals before and after."""
    return [rms(column) for column in zip(*rows, strict=True)]


def enforce_axis_consistency(
    sr: np.ndarray, lr: np.ndarray, matrix: np.ndarray, axis: int, noise: float = NOISE_8BIT
) -> tuple[np.ndarray, float, float]:
    """As `enforce_consistency`, for a linear degradation of one axis of an image or volume.

    Args:
        sr: Array with any axes, float, nominally in [0, 1].
        lr: Array, as long as `matrix` is high in `axis`, else like `sr`.
        matrix: The degradation along the axis, (lr.shape[axis], sr.shape[axis]).
        axis: The axis.
        noise: Root mean square of the errors in `lr` that need not be reproduced.

    Returns:
        (sr, before, after): float32, and the root mean squares of `matrix @ sr - lr` before and after.
    """
    long, short = np.moveaxis(sr, axis, 0), np.moveaxis(lr, axis, 0)
    product = matrix @ matrix.T * (matrix.shape[1] / matrix.shape[0])
    eigenvalues, vectors = np.linalg.eigh(product)
    eigenvalues = np.maximum(eigenvalues, _LARGEST_GAIN**-2)
    residual = short - np.tensordot(matrix, long, axes=(1, 0))
    before = rms(residual)
    modes = np.tensordot(vectors.T, residual, axes=(1, 0)).reshape(len(eigenvalues), -1)
    gain = math.sqrt(np.mean(1 / eigenvalues))
    damping = 0.0 if gain <= 1 + 1e-6 else _damping(modes[:, np.newaxis], eigenvalues[:, np.newaxis], noise)
    if math.isinf(damping):
        return np.asarray(sr, "float32"), before, before
    back = matrix.T @ vectors * (matrix.shape[1] / matrix.shape[0]) / (eigenvalues + damping)
    long = long + (back @ modes).reshape(long.shape)
    after = rms(short - np.tensordot(matrix, long, axes=(1, 0)))
    return np.moveaxis(long, 0, axis).astype("float32"), before, after
