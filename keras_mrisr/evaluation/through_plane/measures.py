"""Scores of a volume: in 3-D, by plane, and across the slices."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.through_plane.volumes import Thickened
from keras_mrisr.metrics.hfen import SIGMA as LOG_SIGMA, SIZE as LOG_SIZE
from keras_mrisr.metrics.ssim import BORDER, SIGMA, WINDOW
from keras_mrisr.volumes.geometry import plane_of

VOLUME = "volume"
LEAST_PIXELS = WINDOW**2  # Of the mask, in a plane that is scored.
_C1, _C2 = 0.01**2, 0.03**2

MEASURES = (
    Measure(
        "psnr", "PSNR", "of the mean squared error inside the mask, in float; by plane: the mean over planes",
        True, 2, "dB",
    ),
    Measure(
        "ssim", "SSIM",
        "Gaussian window 11x11x11 (by plane 11x11), sigma 1.5 (Wang et al. 2004; scikit-image), mean inside "
        "the mask; by plane: the mean over planes", True,
    ),
    Measure(
        "hfen", "HFEN",
        "|LoG(SR - HR)| / |LoG(HR)| inside the mask, Laplacian of a Gaussian of sigma 1.5 over 15 voxels in "
        "3-D (by plane in 2-D, mean over planes)", False,
    ),
    Measure(
        "sharpness", "sharpness",
        "across the slices: how much of the original's detail along the axis, finer than the thick slices "
        "can hold (over their Nyquist frequency), is there: <SR, HR> / <HR, HR> of these frequencies, lines "
        "that meet the mask, under a Hann window. 1: as sharp as the original, 0: nothing; stair steps and "
        "noise do not count", True, 3,
    ),
)  # fmt: skip


class Scorer:
    """Scores of what methods make of one `Thickened`."""

    def __init__(self, case: Thickened) -> None:
        self.case = case
        self.hr = case.scaled(case.hr.array)
        # Filters reach this far around the mask.
        places = [np.nonzero(case.mask.any(axis=_others(axis)))[0] for axis in range(3)]
        reach = LOG_SIZE // 2 + 1
        self.box = tuple(slice(max(0, int(one[0]) - reach), int(one[-1]) + reach + 1) for one in places)
        self.mask = case.mask[self.box]
        self.inside = {axes: self._inside(axes) for axes in _AXES}
        hr = self.hr[self.box]
        self.detail = {axes: np.square(laplacian_of_gaussian(hr, axes)) for axes in _AXES}

    def __call__(self, sr: np.ndarray) -> Iterator[tuple[str, dict[str, float]]]:
        """(region, values) in 3-D and of each plane.

        Args:
            sr: float32, in the units of the file, on the grid of the original.
        """
        sr = self.case.scaled(sr)
        one, other = self.hr[self.box], sr[self.box]
        axis = self.case.axis
        across = detail_recovered(self.hr, sr, axis, self.case.lr.shape[axis], self.case.mask)
        square = np.square(one - other)
        for axes in _AXES:
            kept = None if len(axes) == 3 else next(axis for axis in range(3) if axis not in axes)
            error = _means(square, self.mask, kept)
            ssim = _means(ssim_map(one, other, axes), self.inside[axes], kept)
            missed = _means(np.square(laplacian_of_gaussian(one - other, axes)), self.mask, kept)
            detail = _means(self.detail[axes], self.mask, kept)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = {
                    "psnr": _mean(-10 * np.log10(error)),
                    "ssim": _mean(ssim),
                    "hfen": _mean(np.sqrt(missed / detail)),
                }
            if kept is None:
                yield VOLUME, {**values, "sharpness": across}
            else:
                yield plane_of(self.case.hr.affine, kept), values

    def _inside(self, axes: tuple[int, ...]) -> np.ndarray:
        """The mask where the whole window of SSIM lies in the volume."""
        inside = np.zeros(self.case.mask.shape, bool)
        inside[tuple(slice(BORDER, -BORDER) if axis in axes else slice(None) for axis in range(3))] = True
        return (self.case.mask & inside)[self.box]


_AXES: tuple[tuple[int, ...], ...] = ((0, 1, 2), (1, 2), (0, 2), (0, 1))


def ssim_map(hr: np.ndarray, sr: np.ndarray, axes: Sequence[int] = (0, 1, 2)) -> np.ndarray:
    """SSIM of every voxel, the window spanning some of the axes; data range 1.

    Equal to `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, full=True)` in so many dimensions.
    """
    from scipy import ndimage

    sigmas = [SIGMA if axis in axes else 0.0 for axis in range(hr.ndim)]

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, sigmas, radius=BORDER)

    mean_hr, mean_sr = mean(hr), mean(sr)
    both, squares = mean_hr * mean_sr, np.square(mean_hr) + np.square(mean_sr)
    variances = mean(np.square(hr) + np.square(sr)) - squares
    covariance = mean(hr * sr) - both
    return (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))


def laplacian_of_gaussian(x: np.ndarray, axes: Sequence[int] = (0, 1, 2)) -> np.ndarray:
    """The filter of HFEN over some of the axes; edges are mirrored."""
    from scipy import ndimage

    total = np.zeros_like(x)
    for second in axes:
        order = [2 if axis == second else 0 for axis in range(x.ndim)]
        sigmas = [LOG_SIGMA if axis in axes else 0.0 for axis in range(x.ndim)]
        total += ndimage.gaussian_filter(x, sigmas, order, mode="mirror", radius=LOG_SIZE // 2)
    return total


def detail_recovered(hr: np.ndarray, sr: np.ndarray, axis: int, slices: int, mask: np.ndarray) -> float:
    """How much of the original's detail across the slices a result holds.

    Args:
        hr: Array (X, Y, Z).
        sr: The result, of the same shape.
        axis: The axis across the slices.
        slices: How many thick slices the extent held: frequencies over half of them count.
        mask: bool (X, Y, Z); lines along the axis that do not meet it are left out.

    Returns:
        <SR, HR> / <HR, HR> of these frequencies; nan where the original has none.
    """
    lines = mask.any(axis=axis)
    window = np.hanning(hr.shape[axis] + 2)[1:-1].astype("float32")
    high = np.arange(hr.shape[axis] // 2 + 1) > slices / 2
    spectra = []
    for array in (hr, sr):
        chosen = np.moveaxis(array, axis, -1)[lines]
        chosen = (chosen - chosen.mean(axis=1, keepdims=True)) * window
        spectra.append(np.fft.rfft(chosen, axis=1)[:, high])
    energy = float(np.square(np.abs(spectra[0])).sum())
    return float((spectra[1] * spectra[0].conj()).real.sum()) / energy if energy else math.nan


def _means(values: np.ndarray, mask: np.ndarray, kept: int | None) -> np.ndarray:
    """Means inside the mask: one, or one of each plane along `kept` that holds enough of it."""
    axes = None if kept is None else _others(kept)
    counts = np.atleast_1d(mask.sum(axis=axes))
    sums = np.atleast_1d(np.where(mask, values, 0).sum(axis=axes, dtype="float64"))
    enough = counts >= (1 if kept is None else LEAST_PIXELS)
    return sums[enough] / counts[enough]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)
