"""The score of a trial: what its best checkpoint does on the validation patients."""

import functools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data import SliceDataset
from keras_mrisr.degrade import get_degradation
from keras_mrisr.metrics.features import feature_maps
from keras_mrisr.models.features import build_features
from keras_mrisr.models.storage import load_trained
from keras_mrisr.training.callbacks import Validation
from keras_mrisr.training.pairs import validation_pairs
from keras_mrisr.tuning.study import JUDGE_LAYERS, Study
from keras_mrisr.types import Model

# Of a trial that fell ill, in dB: worse than anything healthy, and finite, because a search learns from it.
WORST_PSNR = 0.0
WORST_PERCEPTUAL = -50.0


def perceptual_score(distances: Sequence[float]) -> float:
    """Nearness of features in dB: the mean over layers of -10 log10 of the mean squared distance.

    The logarithm of each layer's own distance, so that no layer drowns the others: their features differ
    in size by orders of magnitude.

    Args:
        distances: Mean squared distance of each layer.

    Returns:
        A number; more is better.
    """
    return float(np.mean([-10 * math.log10(max(distance, 1e-12)) for distance in distances]))


def score(study: Study, measured: Mapping[str, float] | None) -> float:
    """The number that a search maximises, in dB.

    Args:
        study: The `Study`.
        measured: {"psnr": ..., "perceptual": ...}; None stands for a trial that fell ill.

    Returns:
        A finite number, never below that of a trial that fell ill.
    """
    weight = study.config.adversarial.perception
    worst = _combined(study.objective, WORST_PSNR, WORST_PERCEPTUAL, weight)
    if measured is None:
        return worst
    value = _combined(study.objective, measured["psnr"], measured.get("perceptual", 0.0), weight)
    return max(value, worst) if math.isfinite(value) else worst


def measure(study: Study, run: pathlib.Path, dataset: SliceDataset) -> dict[str, float]:
    """Scores of a run's best checkpoint on validation patients.

    Args:
        study: The `Study`.
        run: Directory of the trained model.
        dataset: The `SliceDataset` that it was trained on.

    Returns:
        {"psnr": dB, "ssim": ...}; with "perceptual" (dB) for the objectives that need it.
    """
    generator, info = load_trained(run)
    measured = {"psnr": info.metrics["val_psnr"], "ssim": info.metrics["val_ssim"]}
    if study.objective == "psnr":
        return measured
    part = dataset.select(info.data["split"]["val"])
    degradation = get_degradation(**info.degradation)
    pairs = validation_pairs(study.config, part, degradation, info.channels)
    distances = JudgedValidation(generator, pairs, judge_network(study)).score() or {}
    layers = [value for name, value in distances.items() if name.startswith("val_block")]
    return {**measured, "perceptual": perceptual_score(layers)}


def judge_network(study: Study) -> Any:
    """The `FeatureNetwork` that the trials of a study are judged by, whatever features they train with."""
    features = dict(study.config.adversarial.features)
    return _judge(json.dumps({**features, "layers": JUDGE_LAYERS, **study.judge}))


@functools.lru_cache(maxsize=1)
def _judge(arguments: str) -> Any:
    return build_features(**json.loads(arguments))


class JudgedValidation(Validation):
    """`Validation` that also measures the distance of features, layer by layer: `val_block3_conv3` etc.

    Args:
        generator: The trained generator.
        pairs: List of `SlicePair`.
        judge: A `FeatureNetwork`.
    """

    def __init__(self, generator: Model, pairs: Sequence[Any], judge: Any) -> None:
        super().__init__(generator, pairs)
        self.judge = judge

    def compare(self, hr: np.ndarray, sr: np.ndarray) -> dict[str, float]:
        maps = feature_maps(hr, sr, self.judge)
        distances = {
            layer: float(np.mean(values)) for layer, values in zip(self.judge.layers, maps, strict=True)
        }
        return {**super().compare(hr, sr), **distances}


def _combined(objective: str, psnr: float, perceptual: float, weight: float) -> float:
    if objective == "psnr":
        return psnr
    return perceptual if objective == "perceptual" else psnr + weight * perceptual
