"""A network for thick slices trained further on the scan that it is to restore."""

import dataclasses
import logging
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError, TrainingDivergedError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.inference.volume_result import without_holes
from keras_mrisr.models.storage import save_trained
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.training.callbacks import diverged
from keras_mrisr.training.card import through_plane_card
from keras_mrisr.training.muon import make_optimizer
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.training.through_plane_patches import ThroughPlanePatches
from keras_mrisr.training.through_plane_validation import LinePair, line_pair, mean_psnr
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.geometry import slice_axis

log = logging.getLogger(__name__)

RATE = 2e-4  # Of Muon, at the start of a cosine.
_BATCH, _SLICES, _WIDTH = 8, 20, 40
_BLANK = 0.03  # Standard deviation in the normalised range.
_LEAST_SLICES = 5  # Below, none could be held out.
_HELD_OUT_PAIRS = 16
_NEVER = 10**9  # Steps; the time ends the training before.


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """What an adaptation did.

    Attributes:
        scan: Name of the scan's file.
        factor: That of the scan, between the spacing of its slices and that of the result.
        thickness: Slice thickness over slice spacing.
        steps: Batches.
        seconds: Time it took in all.
        slices: Slices that it learned from.
        held_out: Slices that it did not see, by which it was judged.
        before: PSNR in dB of the model on lines of those, degraded as the scan is.
        after: That of the adapted one.
    """

    scan: str
    factor: float
    thickness: float
    steps: int
    seconds: float
    slices: int
    held_out: int
    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the adapted weights are better on what they did not see, and so are used."""
        return self.after > self.before

    @property
    def sentence(self) -> str:
        """What became of it, for a person."""
        change = (
            f"PSNR on {self.held_out} slices that were held out: {self.before:.2f} dB before, "
            f"{self.after:.2f} dB after"
        )
        learned = f"{self.steps} steps on {self.slices} slices of {self.scan} in {self.seconds / 60:.1f} min"
        kept = (
            "The adapted weights are used"
            if self.kept
            else "That is no better: the weights stay as they were"
        )
        return f"Adapted by {learned}. {change}. {kept}."


def adapt(
    resolver: ThroughPlaneResolver,
    volume: Volume,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    axis: int | None = None,
    factor: float | None = None,
    thickness: float | None = None,
    learning_rate: float = RATE,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[ThroughPlaneResolver, Adaptation]:
    """Trains a network further on the detail that a scan has within its slices.

    What SMORE (Zhao et al. 2021, "SMORE: a self-supervised anti-aliasing and super-resolution algorithm for
    MRI") and ECLARE do from nothing starts here from a trained network: its slices, degraded along one of
    their axes as the scan is along its own, are the pairs. A fifth of the slices, in two blocks, is held out,
    and the new weights are kept only where they are better on these.

    Args:
        resolver: The model; it is left as it is.
        volume: The scan, (X, Y, Z) or (X, Y, Z, C).
        minutes: Time that it may take in all.
        steps: Batches, instead of a time.
        axis: The axis across the thick slices; by default that of the largest spacing.
        factor: By how many times they are to become thinner; by default to the finest spacing.
        thickness: Slice thickness over slice spacing; by default that of the header, or else 1.
        learning_rate: Of Muon, at the start of a cosine.
        seed: Seed of the patches.
        progress: Called with the work done so far and all of it.

    Returns:
        (resolver, adaptation): a new `ThroughPlaneResolver` where the weights are better, else the one given;
        and what was done.

    Raises:
        ConfigError: Neither or both of `minutes` and `steps`, or one that is not over 0; no Keras network.
        DataError: Fewer than five slices that show anything, or slices too small for the factor.
        MissingDependencyError: Keras runs on a backend that cannot train.
        TrainingDivergedError: Values that are not finite.
    """
    _check(resolver, minutes, steps)
    started = time.monotonic()
    axis = slice_axis(volume) if axis is None else axis
    spacing = float(volume.spacing[axis])
    factor = spacing / float(volume.spacing.min()) if factor is None else factor
    thickness = (volume.slice_thickness or spacing) / spacing if thickness is None else thickness
    images = _slices_of(volume, axis)
    seen, unseen = _held_out(images)
    patches = _patches(volume, seen, factor, thickness, seed)
    pairs = _pairs(unseen, factor, thickness)
    before = _score(pairs, resolver)
    model = _trainable(resolver, learning_rate)
    # The slices that are held out are scored once more at the end.
    reserve = time.monotonic() - started
    deadline = math.inf if minutes is None else started + 60 * minutes - reserve
    done = _fit(model, patches, learning_rate, steps, deadline, progress)
    adapted = _copy(resolver, model.get_weights())
    after = _score(pairs, adapted)
    result = Adaptation(
        pathlib.Path(volume.name).name, factor, thickness, done, time.monotonic() - started, len(seen),
        len(unseen), before, after,
    )  # fmt: skip
    log.info("%s", result.sentence)
    if not result.kept:
        return resolver, result
    adapted.info = _described(resolver, result)
    return adapted, result


def save_adapted(resolver: ThroughPlaneResolver, directory: PathLike) -> None:
    """Writes an adapted network as a model directory, for the other scans of a session.

    Args:
        resolver: What `adapt` returned.
        directory: The folder; made if missing, files of the same names are replaced.
    """
    card = through_plane_card(resolver.info)
    finish = None if resolver.finish is None else resolver.finish.network
    save_trained(directory, resolver.network, resolver.info, card, finish=finish)


def _check(resolver: ThroughPlaneResolver, minutes: float | None, steps: int | None) -> None:
    if (minutes is None) == (steps is None):
        raise ConfigError("`adapt` takes a time in minutes or a number of steps, one of them.")
    budget = minutes if minutes is not None else steps
    if not (budget and 0 < budget < math.inf):
        raise ConfigError(f"`adapt` must be over 0. Received: {budget!r}")
    if keras.backend.backend() not in ("tensorflow", "torch", "jax"):
        raise MissingDependencyError(
            f"`adapt` trains, which Keras' backend {keras.backend.backend()} does not: pip install "
            "tensorflow, or leave out `adapt`."
        )
    if not isinstance(getattr(resolver, "network", None), keras.Model):
        raise ConfigError(
            f"`adapt` needs the network itself: {resolver.name} is an export. Give the model directory."
        )


def _slices_of(volume: Volume, axis: int) -> list[np.ndarray]:
    """The slices of each channel that show something, float32, nominally in [0, 1]."""
    volume, _ = without_holes(volume)
    stack = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
    images = []
    for channel in np.moveaxis(stack, 3, 0):
        normalized = volume_normalizer(channel).normalize(channel)
        images += [one for one in np.moveaxis(normalized, axis, 0) if one.std() >= _BLANK]
    if len(images) < _LEAST_SLICES:
        raise DataError(
            f"{volume.name} has {len(images)} slices that show anything: {_LEAST_SLICES} or more are needed "
            "to learn from. Leave out `adapt`."
        )
    return images


def _held_out(images: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(seen, unseen): of ten stretches of the slices the third and the eighth are unseen.

    Neighbouring slices are alike: single ones would not be unseen.
    """
    count = len(images)
    places = {
        place for first in (2, 7) for place in range(first * count // 10, max((first + 1) * count // 10, 1))
    }
    places = places or {count // 2}
    return (
        [image for place, image in enumerate(images) if place not in places],
        [image for place, image in enumerate(images) if place in places],
    )


def _patches(
    volume: Volume, images: list[np.ndarray], factor: float, thickness: float, seed: int
) -> ThroughPlanePatches:
    edge = min(images[0].shape)
    if edge < 4 * factor:
        raise DataError(
            f"{volume.name}: slices of {'x'.join(map(str, images[0].shape))} voxels are too small to learn a "
            f"factor of {factor:.3g} from. Leave out `adapt`."
        )
    return ThroughPlanePatches(
        images,
        slices=_SLICES,
        width=min(_WIDTH, edge),
        batch_size=_BATCH,
        steps=_NEVER,
        factor=(factor, factor),
        thickness=thickness,
        contrasts=False,
        seed=seed,
    )


def _pairs(images: list[np.ndarray], factor: float, thickness: float) -> list[LinePair]:
    """Pairs of the slices along both of their axes; at most so many."""
    step = math.ceil(2 * len(images) / _HELD_OUT_PAIRS)
    both = [line_pair(one, factor, thickness) for image in images[::step] for one in (image, image.T)]
    return [pair for pair in both if pair is not None]


def _score(pairs: list[LinePair], resolver: ThroughPlaneResolver) -> float:
    return float(np.mean(list(mean_psnr(pairs, resolver).values())))


def _trainable(resolver: ThroughPlaneResolver, learning_rate: float) -> Any:
    """A compiled network of the same weights, in the precision that is faster here."""
    with dtype_policy("auto"):
        model = through_plane(**resolver.info.generator)
    model.set_weights(resolver.network.get_weights())
    model.compile(make_optimizer("adapt", learning_rate, 0.5, "muon"), loss="mean_absolute_error")
    return model


def _copy(resolver: ThroughPlaneResolver, weights: list[np.ndarray]) -> ThroughPlaneResolver:
    network = keras.models.clone_model(resolver.network)
    network.set_weights(weights)
    network.jit_compile = False
    copy: Any = object.__new__(type(resolver))
    copy.__dict__.update(resolver.__dict__, network=network, name=f"{resolver.name}, adapted")
    return copy


def _fit(
    model: Any,
    patches: ThroughPlanePatches,
    learning_rate: float,
    steps: int | None,
    deadline: float,
    progress: Progress | None,
) -> int:
    """Trains until the last step or the deadline; returns the steps that were made, one or more."""
    began = time.monotonic()
    share, done = _share(steps, began, deadline), 0
    while done == 0 or share(done) < 1:
        rate = learning_rate * 0.5 * (1 + math.cos(math.pi * min(share(done), 1)))
        model.optimizer.learning_rate = rate
        loss = float(model.train_on_batch(*patches[done]))
        done += 1
        if not math.isfinite(loss):
            raise TrainingDivergedError(diverged("The loss", loss, f"step {done} of the adaptation"))
        if progress is not None:
            progress(min(round(1000 * share(done)), 1000), 1000)
    return done


def _share(steps: int | None, began: float, deadline: float) -> Callable[[int], float]:
    """A function of the steps done that says how much of the budget is used."""
    if steps is not None:
        return lambda done: done / steps
    time_left = max(deadline - began, 1e-9)
    return lambda done: (time.monotonic() - began) / time_left


def _described(resolver: ThroughPlaneResolver, result: Adaptation) -> Any:
    adapted = {
        "from": resolver.name,
        "on": result.scan,
        **{key: value for key, value in dataclasses.asdict(result).items() if key != "scan"},
    }
    return dataclasses.replace(resolver.info, training={**resolver.info.training, "adapted": adapted})
