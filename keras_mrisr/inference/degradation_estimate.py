"""How was an image degraded? Told by its spectrum, and by how well a model's result degrades to it again."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.degrade.acquisition import Acquisition
from keras_mrisr.errors import ConfigError
from keras_mrisr.inference.consistency import rms

# What results can be made consistent with: options of `Acquisition`, by the name that users give.
CANDIDATES: dict[str, dict[str, Any]] = {
    "kspace": {},
    "hamming": {"window": "hamming"},
    "hann": {"window": "hann"},
    "kaiser": {"window": "kaiser"},
    "tukey": {"window": "tukey"},
    "fermi": {"window": "fermi"},
    "bicubic": {"resampled": "bicubic"},
    "lanczos": {"resampled": "lanczos"},
    "bilinear": {"resampled": "bilinear"},
    "box": {"resampled": "box"},
    "blur-0.5": {"resampled": "bicubic", "sigma": 0.5},
    "blur-1": {"resampled": "bicubic", "sigma": 1.0},
    "blur-1.5": {"resampled": "bicubic", "sigma": 1.5},
    "blur-2": {"resampled": "bicubic", "sigma": 2.0},
}
AUTO, UNKNOWN = "auto", "unknown"


def words(name: str) -> str:
    """A candidate for a person: "a crop of k-space with a Hann window"."""
    options = CANDIDATES[name]
    if "resampled" not in options:
        window = f" with a {options['window'].capitalize()} window" if options else ""
        return f"a crop of k-space{window}"
    blur = f"a blur of radius {options['sigma']:g} and " if "sigma" in options else ""
    return f"{blur}{options['resampled']} resizing"


# Bands of the spectrum along each axis, and what is called low, middle and its edge.
_BANDS = 10
_LOWEST, _LOW, _MIDDLE, _EDGE = slice(0, 3), slice(2, 4), slice(5, 7), slice(8, 10)
_TINY = 1e-5
# A loss counts twice as much as a gain of its size, and less than this gain (in dB) is left alone.
_LOSSES, _LEAST_GAIN = 2.0, 0.1
_KEPT_SIZE = 1024  # Pixels of an SR edge for which matrices are kept: at most 2 MB each.
_USUAL = 0.95  # Share of a candidate's own images whose residual is within its limit.
# By so much likelier than each other kind before anything is seen: the plain crop of k-space, and noise.
_LIKELY = {"kspace": 8.0, "noise": 8.0, "noisy-kspace": 8.0, "soft-noise": 8.0}
# Bilinear resizing and blurs in between look like bicubic resizing of images that are less sharp themselves,
# which undoing a blur would spoil: 1 to 3 dB were lost where one was taken for the other.
_NEVER_TOLD = ("bilinear", "blur-0.5", "blur-1.5")


def check_degraded_by(name: str) -> None:
    """Raises ConfigError unless it is "auto", "unknown" or a candidate."""
    known = (AUTO, UNKNOWN, *CANDIDATES)
    if name not in known:
        raise ConfigError(f"`degraded_by` must be one of {', '.join(known)}. Received: {name!r}")


@functools.lru_cache(maxsize=64)
def candidate(name: str, scale: int) -> Acquisition:
    """The degradation of a name from `CANDIDATES`.

    Raises:
        ConfigError: No such name.
    """
    check_degraded_by(name)
    return Acquisition(scale, **CANDIDATES[name], name=name)


def evidence(sr: np.ndarray, lr: np.ndarray, scale: int) -> np.ndarray:
    """What tells how a slice was degraded.

    Args:
        sr: What the network made of it, (H, W, 1), nominally in [0, 1].
        lr: The slice, (h, w, 1), likewise.
        scale: H / h.

    Returns:
        Array (27,): for each candidate, how far (as a logarithm) the RMS of `candidate(sr) - lr` is over the
        least of all; that least, over the RMS of the steps between pixels of `lr` and by itself; and 11
        differences between the logarithms of the power of `lr` in bands along the axes and the diagonal.
    """
    residuals = np.log(np.array([_residual(sr, lr, candidate(name, scale)) for name in CANDIDATES]) + _TINY)
    steps = rms(np.concatenate([np.diff(lr, axis=axis).ravel() for axis in (0, 1)]))
    least = residuals.min()
    return np.array([*(residuals - least), least - np.log(steps + _TINY), least, *_shape(lr[..., 0])])


def _residual(sr: np.ndarray, lr: np.ndarray, degradation: Acquisition) -> float:
    rows, columns = (_axis_matrix(degradation, size) for size in sr.shape[:2])
    again = rows @ sr[..., 0] @ columns.T
    return rms((np.abs(again) if degradation.magnitude else again) - lr[..., 0])


def _axis_matrix(degradation: Acquisition, size: int) -> np.ndarray:
    # They take half of the time of telling, and those of larger images too much memory to be kept.
    return (_kept_matrix if size <= _KEPT_SIZE else _kept_matrix.__wrapped__)(degradation, size)


@functools.lru_cache(maxsize=2 * len(CANDIDATES))  # Of each candidate for two edges.
def _kept_matrix(degradation: Acquisition, size: int) -> np.ndarray:
    return degradation.axis_matrix(size).astype("float32")


def _shape(lr: np.ndarray) -> list[float]:
    """How the power of (h, w) falls towards the edge of k-space along the axes and the diagonal."""
    power = np.abs(_periodic_spectrum(lr.astype("float64"))) ** 2
    bands = [
        np.minimum((2 * _BANDS * np.abs(np.fft.fftfreq(size))).astype(int), _BANDS - 1) for size in lr.shape
    ]
    places = (bands[0][:, np.newaxis] * _BANDS + bands[1]).ravel()
    count = np.maximum(np.bincount(places, minlength=_BANDS**2), 1)
    mean = np.bincount(places, power.ravel(), _BANDS**2) / count
    level = np.log(mean / (mean[1:].sum() or 1.0) + 1e-9).reshape(_BANDS, _BANDS)
    level[0, 0] = 0.0

    def along(band: slice) -> tuple[float, float]:
        return float(level[band, _LOWEST].mean()), float(level[_LOWEST, band].mean())

    def diagonal(band: slice) -> float:
        return float(level[band, band].mean())

    (edge_y, edge_x), (middle_y, middle_x), (low_y, low_x) = along(_EDGE), along(_MIDDLE), along(_LOW)
    (last_y, last_x), (before_y, before_x) = along(slice(9, 10)), along(slice(8, 9))
    fall_y, fall_x = edge_y - middle_y, edge_x - middle_x
    return [
        diagonal(_EDGE) - (edge_y + edge_x) / 2,
        fall_y, fall_x, fall_y - fall_x, abs(fall_y - fall_x),
        diagonal(_MIDDLE) - (middle_y + middle_x) / 2,
        middle_y - low_y, middle_x - low_x,
        last_y - before_y, last_x - before_x,
        diagonal(_EDGE) - diagonal(_MIDDLE),
    ]  # fmt: skip


def _periodic_spectrum(image: np.ndarray) -> np.ndarray:
    """The spectrum without the cross that opposite borders cause where they differ (Moisan 2011, "Periodic
    plus smooth image decomposition", Journal of Mathematical Imaging and Vision 39).
    """
    jumps = np.zeros_like(image)
    for axis in (0, 1):
        moved = np.moveaxis(jumps, axis, 0)
        across = np.moveaxis(image, axis, 0)
        difference = across[-1] - across[0]
        moved[0] += difference
        moved[-1] -= difference
    waves = [2 * np.cos(2 * np.pi * np.fft.fftfreq(size)) for size in image.shape]
    laplacian = waves[0][:, np.newaxis] + waves[1] - 4
    laplacian[0, 0] = 1.0
    smooth = np.fft.fft2(jumps) / laplacian
    smooth[0, 0] = 0.0
    return np.fft.fft2(image) - smooth


@dataclasses.dataclass(frozen=True)
class DegradationEstimate:
    """Which candidate a result should be made consistent with, by what was seen in training.

    Kinds of degradation, of which only some are candidates, have each a linear score of the evidence; their
    probabilities weigh what each candidate would bring. A wrong one costs more than the right one gains.

    Attributes:
        kinds: Names of the kinds, (K,).
        weights: Of the evidence and, last, the constant, in the score of each kind: (K, 28).
        gains: What making consistent with each candidate brought of PSNR on images of each kind, dB, where a
            loss counts `_LOSSES` times: (K, number of candidates).
        limits: Of each candidate, the most of its part of the evidence that is usual (19 of 20 images) where
            it is the true one, beyond which it is not chosen; below 0 it never is: (number of candidates,).
    """

    kinds: tuple[str, ...]
    weights: np.ndarray
    gains: np.ndarray
    limits: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `model.json`."""
        return {
            "kinds": list(self.kinds),
            "candidates": list(CANDIDATES),
            "weights": [[float(f"{value:.4g}") for value in row] for row in self.weights],
            "gains": [[round(float(value), 3) for value in row] for row in self.gains],
            "limits": [round(float(value), 3) for value in self.limits],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self | None:
        """What `to_dict` gave; None where it is of a version with other candidates."""
        if values.get("candidates") != list(CANDIDATES):
            return None
        arrays = (np.array(values[name]) for name in ("weights", "gains", "limits"))
        return cls(tuple(values["kinds"]), *arrays)

    @classmethod
    def fitted(cls, seen: np.ndarray, kinds: Sequence[str], gains: np.ndarray, shrinkage: float) -> Self:
        """Linear discriminant analysis: all kinds have one covariance; some are likelier than the others.

        Args:
            seen: `evidence` of images, (N, 27).
            kinds: Of each image; those of a candidate have its name.
            gains: What consistency with each candidate brought for it, dB, (N, number of candidates).
            shrinkage: Share of the covariance that is replaced by its diagonal, 0 to 1.
        """
        names = tuple(dict.fromkeys(kinds))
        own = np.array([names.index(kind) for kind in kinds])
        means = np.array([seen[own == place].mean(axis=0) for place in range(len(names))])
        covariance = np.cov((seen - means[own]).T)
        diagonal = np.diag(np.diag(covariance) + 1e-12)
        slopes = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * diagonal, means.T).T
        constants = -0.5 * np.einsum("kf,kf->k", slopes, means)
        constants += np.log([_LIKELY.get(name, 1.0) for name in names])
        gains = np.clip(gains, -3, 3)
        gains = np.where(gains < 0, _LOSSES * gains, gains)
        mean_gains = np.array([gains[own == place].mean(axis=0) for place in range(len(names))])
        limits = [
            np.quantile(seen[own == names.index(name), place], _USUAL)
            if name in names and name not in _NEVER_TOLD else -1.0
            for place, name in enumerate(CANDIDATES)
        ]  # fmt: skip
        return cls(names, np.hstack([slopes, constants[:, np.newaxis]]), mean_gains, np.array(limits))

    def choose(self, seen: Sequence[np.ndarray]) -> str | None:
        """The candidate that promises the most for slices of one scan; None where none does.

        Args:
            seen: `evidence` of each slice. Their scores are averaged, not added: they are much alike.
        """
        scores = np.mean([self.weights @ np.append(one, 1.0) for one in seen], axis=0)
        likely = np.exp(scores - scores.max())
        promised = likely / likely.sum() @ self.gains
        residuals = np.mean([one[: len(self.limits)] for one in seen], axis=0)
        promised[residuals > self.limits] = 0.0
        best = int(promised.argmax())
        return list(CANDIDATES)[best] if promised[best] > _LEAST_GAIN else None
