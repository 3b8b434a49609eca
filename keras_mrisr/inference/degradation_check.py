"""Was an image degraded by what a model undoes? If so, the model's result degrades to the image again."""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.degrade import BlurBicubic, Degradation
from keras_mrisr.errors import ModelError
from keras_mrisr.inference.consistency import degraded_again, rms

# Measured on 25 slices of 5 patients that trained none of the shipped models, residuals in grey levels of
# 255, shares of the steps: degraded as the model undoes at most 0.36 (lgg-x2), 0.18 (lgg-x2-bicubic), 0.68
# (a kspace-x2 of 8 blocks; the shipped one of 24 has 0.52) and 0.38 (lgg-x4), inverted 0.63; so nothing
# under LEAST is warned about. lgg-x2 on its own degradation has a share of 0.04 to 0.10 where it is over
# 0.3 grey levels; on HR slices 0.14 to 0.47 (0.8 to 2.0 grey levels), on slices degraded by `bicubic` 0.22
# to 0.34, by `kspace` 0.29 to 0.42 (up to 6.3 grey levels): 22, 22 and 23 of 25 are warned about, the
# others are nearly empty. A Hamming window in k-space, which it does no harm to, gives 0.06 to 0.12 (none
# of 25), noise of 5 grey levels 0.31 to 0.59 (all). The other three models stay below LEAST or SHARE with
# any of these but for noise (the kspace-x2 of 8 blocks: on 4 of 25; the one of 24: on none).
LEAST = 0.75 / 255
SHARE = 0.12

# Of larger slices only the middle is looked at, but for a rim that pixels outside of it reach.
_LARGEST, _RIM = 512, 8


def degradation_mismatch(sr: np.ndarray, lr: np.ndarray, degradation: Degradation) -> float | None:
    """How far a result is from degrading to the image that it was made from, where that is too far.

    Args:
        sr: Array (H, W, C), nominally in [0, 1].
        lr: Array (h, w, C), likewise.
        degradation: What the model undoes: a `Degradation`.

    Returns:
        Root mean square of `degradation(sr) - lr` as a share of that of the steps between neighbouring pixels
        of `lr`; 0 where it is no more than on images that were degraded so; None where it cannot be told,
        because the degradation has no `axis_matrix`.
    """
    if not degradation.linear:
        return None
    starts = [max(size - _LARGEST, 0) // 2 for size in lr.shape[:2]]
    if any(starts) and not isinstance(degradation, BlurBicubic):
        return None  # In k-space, the middle of a slice has something of all of it.
    lr, sr = _middle(lr, starts, 1), _middle(sr, starts, degradation.factors[0])
    again = degraded_again(sr, lr, degradation)
    inner = tuple(slice(_RIM, -_RIM) if start else slice(None) for start in starts)
    residual, steps = rms((again - lr)[inner]), _steps(lr[inner])
    if not np.isfinite(residual):
        return None
    return residual / steps if residual > max(LEAST, SHARE * steps) else 0.0


def refuse_mismatch(mismatches: Sequence[float], model: str, degraded_by: Sequence[str] = ()) -> None:
    """Raises ModelError where the results of most slices do not degrade to these again.

    Args:
        mismatches: `degradation_mismatch` of each slice where it could be told.
        model: What the message calls the model.
        degraded_by: Of a model for any degradation, what it was told that the slices were degraded by.
    """
    bad = [value for value in mismatches if value]
    if 2 * len(bad) > len(mismatches):
        who, other = f"{model} does not fit this image", "`model` for one that is made for any scan"
        if degraded_by:
            who = f"This image was not degraded by {' or '.join(degraded_by)}"
            other = "`degraded_by`"
        raise ModelError(
            f"{who}: on {len(bad)} of {len(mismatches)} slices the result of {model} does not degrade to the "
            f"image again (off by up to {100 * max(bad):.0f} % of the steps between pixels). Nothing is "
            f"written. Leave out {other}, or write it all the same with `force`."
        )


def _steps(image: np.ndarray) -> float:
    """Root mean square of the steps between neighbouring pixels; infinite where there are none."""
    steps = [np.diff(image, axis=axis).ravel() for axis in (0, 1)]
    return rms(np.concatenate(steps)) or np.inf


def _middle(image: np.ndarray, starts: Sequence[int], scale: int) -> np.ndarray:
    return image[tuple(slice(scale * start, scale * (start + _LARGEST)) for start in starts)]
