"""Batches of which each depends on its place in the run only, so that a stopped run resumes with the same."""

import contextlib
import json
import pathlib
import sys
import types
from typing import Any

import keras
import numpy as np

from keras_mrisr import ranks


class ResumableBatches(keras.utils.PyDataset):
    """Base of the datasets for `model.fit`: batches that depend on the seed, the epoch and their number.

    `fit(initial_epoch=N)`, also by way of `keras.callbacks.BackupAndRestore`, begins with the batches of
    epoch N; a later `fit` from epoch 0 takes the next epochs. `evaluate`, `predict` and `validation_data`
    take the same batches each time.

    Each sample depends on its place in the batch besides, so that the ranks of a job each draw their own
    share of what one process would.

    Args:
        batch_size: Samples a batch, over all ranks.
        steps: Batches an epoch.
        seed: Seed of everything that is random.
        epoch: Number of the first epoch.
        first_step: Number of the first batch of the first epoch: the rest of a stopped epoch.
    """

    def __init__(
        self, batch_size: int, steps: int, seed: int = 0, epoch: int = 0, first_step: int = 0
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.start(epoch, first_step)

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """One sample, a tuple of arrays, drawn with a NumPy generator."""
        raise NotImplementedError

    def of_batch(self, index: int) -> np.random.Generator:
        """A generator for what all samples of a batch have in common."""
        return np.random.default_rng((self.seed, self.epoch, self.first_step + index))

    def of_samples(self, index: int) -> list[np.random.Generator]:
        """A generator for each sample of a batch that is this rank's."""
        place = self.seed, self.epoch, self.first_step + index
        # From 1, because NumPy takes a seed that ends in 0 for the same as the shorter one of the batch.
        return [np.random.default_rng((*place, number + 1)) for number in ranks.share(self.batch_size)]

    def start(self, epoch: int, first_step: int = 0) -> None:
        """Moves to a place in the run: the next batches are those of `epoch` from `first_step` on."""
        self.epoch = epoch
        self.first_step = first_step
        self._begun = False

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(np.stack(part) for part in zip(*map(self.sample, self.of_samples(index)), strict=True))

    @property
    def num_batches(self) -> int:
        # The first thing that `fit` asks for; it looks at two batches for their shapes next.
        method, known = _calling_method()
        if method == "fit" and "epoch" not in known:
            self._jump(_first_epoch(known))
        return len(self)

    def on_epoch_begin(self) -> None:
        method, known = _calling_method()
        # `fit` also begins an epoch to build a model, before its first one.
        begun = method is None or (method == "fit" and "epoch" in known)
        if begun and known.get("initial_epoch"):
            self._jump(known["epoch"])
        self._begun = begun

    def _jump(self, epoch: int) -> None:
        if epoch and epoch != self.epoch:
            self.start(epoch)

    def on_epoch_end(self) -> None:
        # Keras 3.15 also ends an epoch before the first one.
        if self._begun:
            self.start(self.epoch + 1)


def _calling_method() -> tuple[str | None, dict[str, Any]]:
    """The name and local variables of Keras's `fit`, `evaluate` or `predict` that is running, if one is.

    Keras tells a dataset neither the number of the epoch nor what its batches are for, and the variable
    `epoch` of `fit` is the one place where both stand.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in ("fit", "evaluate", "predict") and isinstance(frame.f_locals.get("self"), keras.Model):
            return name, frame.f_locals
        frame = frame.f_back
    return None, {}


def _first_epoch(known: dict[str, Any]) -> int:
    """The epoch that a `fit` with these local variables will begin with; 0 also where that is not known."""
    callbacks = known.get("callbacks")
    for callback in callbacks if isinstance(callbacks, list | tuple) else ():
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                backup = pathlib.Path(callback.backup_dir, "training_metadata.json")
                return int(json.loads(backup.read_text(encoding="utf-8"))["epoch"])
    return int(known.get("initial_epoch") or 0)
