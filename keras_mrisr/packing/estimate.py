"""Teaches a model for images that were degraded in any way to tell in which."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_mrisr.data import read_dataset
from keras_mrisr.data.contrasts import random_curve
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.data.splits import Split
from keras_mrisr.degrade.acquisition import Acquisition
from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError
from keras_mrisr.export.onnx_resolver import FILE
from keras_mrisr.files import write_json
from keras_mrisr.inference.consistency import enforce_consistency
from keras_mrisr.inference.degradation_estimate import (
    CANDIDATES,
    UNKNOWN,
    DegradationEstimate,
    candidate,
    evidence,
)
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.models.storage import INFO
from keras_mrisr.types import PathLike, Progress

_SHRINKAGE = 0.1
# Signal-to-noise ratios of the slices that are too noisy to be reproduced.
_SNR = 10.0, 50.0
# Noise that HR has of its own, in grey levels of 255, in so many slices.
_OWN_NOISE, _OWN_NOISE_SHARE = 3.0, 0.4


def fit_estimate(
    resolver: SuperResolver,
    slices: list[np.ndarray],
    count: int = 700,
    seed: int = 0,
    progress: Progress | None = None,
) -> DegradationEstimate:
    """Fits what tells how an image was degraded, to what a model makes of known slices.

    Args:
        resolver: The model, of one channel.
        slices: HR slices (H, W, C) of any number of channels, of patients that it was trained on.
        count: How many are degraded, each in a way and, one by one, of a channel drawn at random.
        seed: Of what is drawn.
        progress: Called with the number of slices that are done, and of all.

    Returns:
        `DegradationEstimate`
    """
    rng = np.random.default_rng(seed)
    names = list(kinds(rng))
    seen, gains = [], []
    for i in range(count):
        hr = _drawn(slices[int(rng.integers(len(slices)))], resolver.scale, rng)
        lr = _degraded(hr, names[i % len(names)], resolver.scale, rng)
        sr = resolver.predict(lr[np.newaxis], degraded_by=UNKNOWN).sr[0]
        seen.append(evidence(sr, lr, resolver.scale))
        start = _psnr(sr, hr)
        gains.append(
            [
                _psnr(enforce_consistency(sr, lr, candidate(name, resolver.scale))[0], hr) - start
                for name in CANDIDATES
            ]
        )
        if progress is not None:
            progress(i + 1, count)
    drawn = [names[i % len(names)] for i in range(count)]
    return DegradationEstimate.fitted(np.array(seen), drawn, np.array(gains), _SHRINKAGE)


def kinds(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Options of `Acquisition` for one image of each kind: candidates, and what can't be told from them."""
    scanner: dict[str, dict[str, Any]] = {
        "kspace": {}, "hamming": {"window": "hamming"}, "hann": {"window": "hann"},
        "kaiser": {"window": "kaiser", "alpha": rng.uniform(3, 5)},
        "tukey": {"window": "tukey", "alpha": rng.uniform(0.35, 0.65)},
        "fermi": {"window": "fermi", "alpha": rng.uniform(0.04, 0.06)},
        "ellipse": {"ellipse": True},
        "partial": {"partial": rng.uniform(0.6, 0.9)},
        "zero-filled": {"filled": rng.uniform(1.2, 2)},
    }  # fmt: skip
    software: dict[str, dict[str, Any]] = {
        name: {"resampled": name} for name in ("bicubic", "lanczos", "bilinear", "box")
    }
    blurs = {"blur-0.5": (0.3, 0.75), "blur-1": (0.75, 1.25), "blur-1.5": (1.25, 1.75), "blur-2": (1.75, 2.1)}
    blurred = {name: {"resampled": "bicubic", "sigma": rng.uniform(*sigma)} for name, sigma in blurs.items()}
    every: dict[str, dict[str, Any]] = {**scanner, **software, **blurred}
    options = every[list(every)[int(rng.integers(len(every)))]]
    snr = float(np.exp(rng.uniform(*np.log(_SNR))))
    noise = {"snr": snr, "seed": int(rng.integers(2**31))}
    # A noisy crop is a kind of its own, so that it is not taken for a quiet one. So is noise that is as soft
    # as the image, which undoing a window or a blur would sharpen into strokes.
    return {
        **every,
        "noise": {**options, **noise},
        "noisy-kspace": noise,
        "soft-noise": {**options, **noise, "colored_noise": True},
    }


def _drawn(image: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
    """One channel of an image, (H, W, 1) in [0, 1], of some contrast, cut to multiples of the scale."""
    one = image[..., int(rng.integers(image.shape[-1]))]
    unit = normalizer_for(one).normalize(one).clip(0, None)
    unit = random_curve(unit, rng)
    height, width = (size // scale * scale for size in unit.shape)
    unit = unit[:height, :width, np.newaxis].astype("float32")
    if rng.random() < _OWN_NOISE_SHARE:
        unit = unit + rng.normal(0, rng.uniform(0.5, _OWN_NOISE) / 255, unit.shape) * unit.max()
    return unit.clip(0, None).astype("float32")


def _degraded(hr: np.ndarray, kind: str, scale: int, rng: np.random.Generator) -> np.ndarray:
    """LR of a kind, most rounded to 8 to 10 bits."""
    lr = Acquisition(scale, **kinds(rng)[kind]).degrade(hr)
    if rng.random() < 0.7:
        levels = 255 * np.exp(rng.uniform(0, np.log(4)))
        lr = np.round(lr * levels) / levels
    return lr.astype("float32")


def _psnr(image: np.ndarray, hr: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.square(image.clip(0, None) - hr)) + 1e-12))


def add_estimate(
    folder: PathLike, root: PathLike, count: int = 700, progress: Progress | None = None
) -> DegradationEstimate:
    """Fits an estimate for a model directory, and writes it into its `model.json`.

    Args:
        folder: The model, of one channel, that was trained with `random-acquisition`.
        root: The data set; patients that the model holds out are left out.
        count: See `fit_estimate`.
        progress: See `fit_estimate`.

    Raises:
        ConfigError: The model undoes one known degradation, or takes several channels.
        DataError: No slices but of patients that are held out.
        MissingDependencyError: The model has an ONNX file, which says the same, and onnx is not installed.
        ModelError: No model there.
    """
    network = pathlib.Path(folder) / FILE
    rewrite_metadata = _rewriting(network) if network.is_file() else None
    resolver = SuperResolver.load(folder)
    info = resolver.info
    if info.degradation.get("name") != "random-acquisition" or info.input_channels != 1:
        raise ConfigError(
            f"{folder} is no model of one channel that was trained with random-acquisition: how its images "
            "were degraded is known."
        )
    split = Split.from_dict(info.data["split"]) if info.data.get("split") else None
    dataset = read_dataset(root)
    known = [name for name in dataset.by_patient() if split is None or split.part_of(name) in (None, "train")]
    chosen = dataset.select(known)
    if not chosen.slices:
        raise DataError(f"{root} holds no slices but of patients that {folder} holds out.")
    places = np.unique(np.linspace(0, len(chosen.slices) - 1, min(count, len(chosen.slices))).astype(int))
    read = (chosen.read(chosen.slices[place]) for place in places)
    slices = [image for image in read if image.min() < image.max()]
    estimate = fit_estimate(resolver, slices, count, progress=progress)
    path = pathlib.Path(folder) / INFO
    values = json.loads(path.read_text(encoding="utf-8"))
    if rewrite_metadata is not None:
        rewrite_metadata(network, estimate=estimate.to_dict())
    write_json(path, {**values, "estimate": estimate.to_dict()})
    return estimate


def _rewriting(network: pathlib.Path) -> Callable[..., None]:
    """What changes the metadata of an ONNX file; asked for before the long work."""
    try:
        from keras_mrisr.export.onnx_file import rewrite_metadata
    except ImportError as error:
        raise MissingDependencyError(
            f"{network} says, too, how degradations are told: pip install onnx, or remove it."
        ) from error
    return rewrite_metadata
