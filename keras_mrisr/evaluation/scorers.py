"""From the images of a slice to numbers."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.evaluation.measures import MEASURES, Measure
from keras_mrisr.evaluation.scores import WHOLE
from keras_mrisr.evaluation.slices import SliceImages
from keras_mrisr.types import PathLike, Tensor

Values = dict[tuple[str, str, str], dict[str, float]]
"""(method, channel set, region) -> name of a measure -> value."""
Reduce = Callable[[slice, np.ndarray | None], Tensor]
"""From a part of the channels and a mask (N, H, W) to one value an image."""


class Scorer(Protocol):
    """Gives numbers for the images of a slice.

    Others than those here can be handed to `evaluate_models(scorers=...)`: their values become columns of the
    same tables, and their methods and channel sets need not be those of the images.

    Attributes:
        measures: The `Measure`s that it gives.
    """

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    def __call__(self, images: SliceImages) -> Mapping[tuple[str, str, str], dict[str, float]]:
        """Scores all methods at once: (method, channel set, region) -> name of a measure -> value."""
        ...


class ImageScorer:
    """PSNR, SSIM, MS-SSIM, NRMSE, HFEN and GMSD, by channel set and region.

    Args:
        measures: The `Measure`s to take; those of other scorers are ignored.
    """

    def __init__(self, measures: Sequence[Measure]) -> None:
        self.measures = tuple(measure for measure in measures if measure.name in _MAPS)

    def __call__(self, images: SliceImages) -> Values:
        """Scores all methods at once."""
        methods = list(images.images)
        sr = np.stack([images.images[method] for method in methods]) / np.float32(255)
        hr = np.broadcast_to(images.hr / np.float32(255), sr.shape)
        masks = {region: _repeated(mask, len(methods)) for region, mask in images.masks.items()}
        found: Values = collections.defaultdict(dict)
        for measure in self.measures:
            # The maps are the costly part, and serve every channel set and region.
            reduce = _MAPS[measure.name](hr, sr)
            for channel, part in images.groups.items():
                for region, mask in masks.items():
                    for method, value in zip(methods, np.asarray(reduce(part, mask)), strict=True):
                        found[method, channel, region][measure.name] = float(value)
        return found


class ConsistencyScorer:
    """Root mean square of degrade(SR) - LR in grey levels, by channel set and region.

    Args:
        degradation: The `Degradation` that made LR.
    """

    measures = (MEASURES["consistency"],)

    def __init__(self, degradation: Degradation) -> None:
        self.degradation = degradation

    def __call__(self, images: SliceImages) -> Values:
        """Scores all methods at once."""
        from keras_mrisr.metrics.consistency import rms_difference

        methods, scale = list(images.images), self.degradation.factors[0]
        degradation = self.degradation.of_slice(images.hr)
        again = np.stack([degradation.degrade(images.images[method]) for method in methods])
        lr = np.broadcast_to(images.lr, again.shape)
        found: Values = {}
        for region, mask in images.masks.items():
            if mask is not None:  # Each LR pixel counts by its share inside.
                blocks = mask.reshape(mask.shape[0] // scale, scale, mask.shape[1] // scale, scale)
                mask = _repeated(blocks.mean(axis=(1, 3)), len(methods))
            for channel, part in images.groups.items():
                values = np.asarray(rms_difference(lr[..., part], again[..., part], 255, mask))
                for method, value in zip(methods, values, strict=True):
                    found[method, channel, region] = {"consistency": float(value)}
        return found


class FeatureScorer:
    """Distance of VGG features.

    Args:
        network: A `FeatureNetwork`.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        layers = ", ".join(network.layers)
        title = f"{network.network.upper()} distance"
        definition = f"mean squared difference of features / 12.75 of {network.network} {layers}"
        weights = f", weights {network.weights or 'random'}"
        self.measures = (
            dataclasses.replace(MEASURES["features"], title=title, definition=definition + weights),
        )

    def __call__(self, images: SliceImages) -> Values:
        """Scores all methods at once."""
        from keras_mrisr.metrics.features import feature_distance_of_maps

        def compare(batch: np.ndarray) -> Callable[[np.ndarray | None], Tensor]:
            # All in one batch: the original goes through the network once.
            features = [np.asarray(f) for f in self.network(batch / np.float32(255))]
            maps = [np.square(f[1:] - f[:1]) for f in features]
            return lambda mask: feature_distance_of_maps(maps, self.network, mask)

        return _by_group(images, "features", compare)


class LpipsScorer:
    """LPIPS through the package `lpips`.

    Args:
        network: Name for `metrics.lpips_network`.
    """

    measures = (MEASURES["lpips"],)

    def __init__(self, network: str = "alex") -> None:
        from keras_mrisr.metrics import lpips_network

        self.network = lpips_network(network)

    def __call__(self, images: SliceImages) -> Values:
        """Scores all methods at once."""
        from keras_mrisr.metrics.lpips import lpips_map, lpips_of_map

        def compare(batch: np.ndarray) -> Callable[[np.ndarray | None], Tensor]:
            sr = batch[1:].astype("float32")
            maps = lpips_map(np.broadcast_to(batch[:1].astype("float32"), sr.shape), sr, 255, self.network)
            return lambda mask: lpips_of_map(maps, mask)

        return _by_group(images, "lpips", compare)


class PiqScorer:
    """LPIPS or DISTS on VGG16 through the package `piq`, of whole slices in the last channel set.

    Args:
        metric: A `metrics.PiqMetric`.
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        measure = MEASURES[metric.name]
        definition = f"{measure.definition}, weights {metric.backbone}"
        self.measures = (dataclasses.replace(measure, definition=definition),)

    def __call__(self, images: SliceImages) -> Values:
        """Scores all methods at once."""
        sr = np.stack([*images.images.values()])
        hr = np.broadcast_to(images.hr, sr.shape)
        channel, part = list(images.groups.items())[-1]
        values = self.metric(hr[..., part], sr[..., part], 255)
        return {
            (method, channel, WHOLE): {self.metric.name: float(value)}
            for method, value in zip(images.images, values, strict=True)
        }


def _by_group(
    images: SliceImages, name: str, compare: Callable[[np.ndarray], Callable[[np.ndarray | None], Tensor]]
) -> Values:
    """Scores of a metric that takes each channel set by itself: `compare(batch)` gives `reduce(mask)`."""
    methods = list(images.images)
    batch = np.stack([images.hr, *images.images.values()])
    found: Values = {}
    for channel, part in images.groups.items():
        reduce = compare(batch[..., part])
        for region, mask in images.masks.items():
            values = np.asarray(reduce(_repeated(mask, len(methods))))
            for method, value in zip(methods, values, strict=True):
                found[method, channel, region] = {name: float(value)}
    return found


def _repeated(mask: np.ndarray | None, count: int) -> np.ndarray | None:
    if mask is None:
        return None
    return np.broadcast_to(mask.astype("float32"), (count, *mask.shape))


def _psnr(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics import psnr

    return lambda part, mask: psnr(hr[..., part], sr[..., part], 1.0, mask=mask)


def _ssim(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics import ssim_map
    from keras_mrisr.metrics.image_pairs import masked_mean
    from keras_mrisr.metrics.ssim import BORDER

    values = ssim_map(hr, sr, 1.0)

    def reduce(part: slice, mask: np.ndarray | None) -> Tensor:
        inner = None if mask is None else mask[:, BORDER:-BORDER, BORDER:-BORDER]
        return masked_mean(values[..., part], inner)

    return reduce


def _ms_ssim(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics.ms_ssim import ms_ssim_maps, ms_ssim_of_maps

    whole, padded = (ms_ssim_maps(hr, sr, 1.0, padded) for padded in (False, True))

    def reduce(part: slice, mask: np.ndarray | None) -> Tensor:
        maps = whole if mask is None else padded
        return ms_ssim_of_maps([(weight, values[..., part]) for weight, values in maps], mask)

    return reduce


def _nrmse(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics import nrmse

    return lambda part, mask: nrmse(hr[..., part], sr[..., part], mask=mask)


def _hfen(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics.hfen import hfen_of_maps, laplacian_of_gaussian

    filtered = laplacian_of_gaussian(np.concatenate([sr - hr, hr[:1]]))
    error, original = filtered[:-1], np.broadcast_to(filtered[-1:], hr.shape)
    return lambda part, mask: hfen_of_maps(error[..., part], original[..., part], mask)


def _gmsd(hr: np.ndarray, sr: np.ndarray) -> Reduce:
    from keras_mrisr.metrics.filters import halve
    from keras_mrisr.metrics.gmsd import gms_map, gmsd_of_map

    values = gms_map(hr, sr, 1.0)
    return lambda part, mask: gmsd_of_map(values[..., part], None if mask is None else halve(mask))


_MAPS: dict[str, Callable[[np.ndarray, np.ndarray], Reduce]] = {
    "psnr": _psnr,
    "ssim": _ssim,
    "ms_ssim": _ms_ssim,
    "nrmse": _nrmse,
    "hfen": _hfen,
    "gmsd": _gmsd,
}


def make_scorers(
    measures: Sequence[Measure],
    degradation: Degradation,
    features: Any = None,
    backbone: PathLike | None = None,
) -> list[Scorer]:
    """The scorers that give some `Measure`s.

    Args:
        measures: The `Measure`s.
        degradation: The `Degradation` that made LR.
        features: A `FeatureNetwork`, needed for "features".
        backbone: File with the weights of VGG16, needed for "lpips_vgg" and "dists".

    Returns:
        List of scorers.
    """
    names = {measure.name for measure in measures}
    scorers: list[Scorer] = [ImageScorer(measures)]
    if "consistency" in names:
        scorers.append(ConsistencyScorer(degradation))
    if "features" in names:
        scorers.append(FeatureScorer(features))
    if "lpips" in names:
        scorers.append(LpipsScorer())
    if names & {"lpips_vgg", "dists"}:
        from keras_mrisr.metrics.piq_metrics import PiqMetric

        scorers += [PiqScorer(PiqMetric(name, backbone)) for name in ("lpips_vgg", "dists") if name in names]
    return scorers
