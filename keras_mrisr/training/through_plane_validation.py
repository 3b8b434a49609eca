"""Scoring and showing a network for thick slices during its training."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from keras_mrisr import ranks
from keras_mrisr.data.fine_planes import FinePlanes
from keras_mrisr.degrade.thick_slices import ThickSlices
from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.inference.resample import resample_axis
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.training.adversarial import AdversarialValidation
from keras_mrisr.training.callbacks import Validation
from keras_mrisr.types import Tensor

FACTORS = (2.0, 4.0, 6.67)
EDGE = 256  # Pixels at most: enough to choose a checkpoint by.
PROTOCOL = (
    "planes of the validation patients, degraded along one axis by a Gaussian profile as wide as the slices "
    "lie apart, no noise; PSNR with data_range 1, mean over planes and factors"
)
SAMPLE = ("LR", "B-spline", "SR", "HR", "error x5")
"""What stands side by side in a sample; the error is that of SR."""


@dataclasses.dataclass(frozen=True)
class LinePair:
    """A plane of thin lines and the thick slices made of it, float32, nominally in [0, 1].

    Attributes:
        hr: (lines, W).
        lr: (slices, W).
        factor: Lines a slice, as it was asked for.
        thickness: Slice thickness over slice spacing.
    """

    hr: np.ndarray
    lr: np.ndarray
    factor: float
    thickness: float = 1.0

    @property
    def spline(self) -> np.ndarray:
        """The cubic B-spline interpolation of `lr`."""
        return resample_axis(self.lr, 0, len(self.hr))

    def restored(self, resolver: ThroughPlaneResolver) -> np.ndarray:
        """What a network makes of `lr`.

        Raises:
            ModelError: Something that is not finite.
        """
        return resolver.restore(self.lr[np.newaxis], len(self.hr), self.thickness)[0]


def line_pair(image: np.ndarray, factor: float, thickness: float = 1.0) -> LinePair | None:
    """The pair of an image along its first axis, of about this factor: whole slices that fill whole lines.

    Args:
        image: (H, W), float32; of more than `EDGE` pixels an edge the middle is taken.
        factor: Lines a slice.
        thickness: Slice thickness over slice spacing.

    Returns:
        The pair; None where the image holds fewer than two slices.
    """
    image = image[tuple(_middle(size) for size in image.shape)]
    slices = int(len(image) / factor + 1e-6)
    lines = round(slices * factor)
    lines -= lines > len(image)
    if slices < 2:
        return None
    hr = np.ascontiguousarray(image[:lines], "float32")
    return LinePair(hr, ThickSlices(lines / slices, thickness).degrade(hr, 0), factor, thickness)


def line_pairs(planes: FinePlanes, factor: Sequence[float]) -> list[LinePair]:
    """The pairs of all planes at all `FACTORS` within a range; every other plane along its second axis.

    Args:
        planes: The planes.
        factor: [low, high] of the training.

    Raises:
        ConfigError: There are none.
    """
    low, high = factor
    factors = [one for one in FACTORS if low <= one <= high] or [(low * high) ** 0.5]
    images = [image.T if place % 2 else image for place, image in enumerate(planes)]
    pairs = list(filter(None, (line_pair(image, one) for one in factors for image in images)))
    if not pairs:
        raise ConfigError(
            "The planes of the validation patients are too small for two slices: choose another "
            "data.split_seed or give larger images."
        )
    return pairs


def _middle(size: int) -> slice:
    first = max(0, (size - EDGE) // 2)
    return slice(first, first + min(size, EDGE))


def psnr_of(hr: np.ndarray, sr: np.ndarray) -> float:
    """PSNR in dB with a data range of 1; at most 120."""
    error = float(np.mean(np.square(hr - sr, dtype="float64")))
    return -10 * float(np.log10(max(error, 1e-12)))


def mean_psnr(pairs: Iterable[LinePair], resolver: ThroughPlaneResolver) -> dict[float, float]:
    """{factor: mean PSNR of its pairs}, in dB.

    Raises:
        ModelError: The network gives something that is not finite.
    """
    scores: dict[float, list[float]] = {}
    for pair in pairs:
        scores.setdefault(pair.factor, []).append(psnr_of(pair.hr, pair.restored(resolver)))
    return {factor: float(np.mean(values)) for factor, values in scores.items()}


class LineValidation(Validation):
    """Scores a float32 copy of the network on planes of unseen patients after each epoch.

    Adds to the logs: `val_psnr` in dB, the mean over pairs; `val_gain`, how much that is over the cubic
    B-spline; and `val_gain_2` and so on for each factor.

    Args:
        resolver: With the copy; it gets the weights of the trained model.
        pairs: Of `line_pairs`.
    """

    def __init__(self, resolver: ThroughPlaneResolver, pairs: Sequence[LinePair]) -> None:
        super().__init__(resolver.network, pairs)
        self.resolver = resolver
        self.splines = {
            factor: float(np.mean([psnr_of(pair.hr, pair.spline) for pair in pairs if pair.factor == factor]))
            for factor in dict.fromkeys(pair.factor for pair in pairs)
        }

    def score(self) -> dict[str, float] | None:
        """Means over the factors of the means over their pairs; None for output not finite."""
        rows: dict[float, list[dict[str, float]]] = {factor: [] for factor in self.splines}
        for pair, row in zip(self.pairs, ranks.shared_out(self.pairs, self._compared), strict=True):
            if row is None:
                return None
            rows[pair.factor].append(row)
        means = {
            factor: {name: float(np.mean([row[name] for row in found])) for name in found[0]}
            for factor, found in rows.items()
        }
        gains = {factor: means[factor]["psnr"] - spline for factor, spline in self.splines.items()}
        names = next(iter(means.values()))
        scores = {f"val_{name}": float(np.mean([mean[name] for mean in means.values()])) for name in names}
        scores["val_gain"] = float(np.mean(list(gains.values())))
        return {**scores, **{f"val_gain_{factor:.3g}": gain for factor, gain in gains.items()}}

    def _compared(self, pair: LinePair) -> dict[str, float] | None:
        try:
            sr = pair.restored(self.resolver)
        except ModelError:
            return None
        return self.compare(*(image[np.newaxis, ..., np.newaxis] for image in (pair.hr, sr)))

    def compare(self, hr: Tensor, sr: Tensor) -> dict[str, float]:
        return {"psnr": psnr_of(hr, sr)}

    def samples(self) -> np.ndarray:
        """Sample images (N, H, W, 1) in [0, 1], each of them `SAMPLE`: one for each factor."""
        chosen = []
        for factor in self.splines:
            ours = [pair for pair in self.pairs if pair.factor == factor]
            chosen.append(ours[len(ours) // 2])
        height, width = (min(pair.hr.shape[axis] for pair in chosen) for axis in (0, 1))
        rows = []
        for pair in chosen:
            lines = len(pair.hr)
            nearest = pair.lr[np.arange(lines) * len(pair.lr) // lines]
            sr = pair.restored(self.resolver)
            shown = [nearest, pair.spline, sr, pair.hr, 5 * np.abs(sr - pair.hr)]
            rows.append(np.concatenate([one[:height, :width] for one in shown], axis=1))
        return np.clip(np.stack(rows), 0, 1)[..., np.newaxis]


class AdversarialLineValidation(AdversarialValidation, LineValidation):
    """`AdversarialValidation` on planes, of a `ThroughPlaneResolver` with the copy."""
