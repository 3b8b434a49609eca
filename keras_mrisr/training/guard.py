"""Watches an adversarial training, and takes it back to its last good state when it falls ill."""

import logging
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr import ranks
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.training.state import RunState, share_model
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

# The order in which a non-finite value is traced: causes before the sums that they end in.
TRACED = (
    "pixel",
    "perceptual",
    "consistency",
    "segmentation",
    "spectrum",
    "adversarial",
    "adversarial_weight",
    "r1",
    "d_loss",
    "loss",
    "d_gradient",
    "g_gradient",
)

WAYS_OUT = (
    "Start from a better generator (`training.init`), lower the rates, or raise `adversarial.r1_weight`."
)


class IllTrainingError(Exception):
    """What is wrong with a training, in one sentence."""


def check_finite(logs: dict[str, float]) -> None:
    """Raises IllTrainingError naming the first loss that is not finite.

    Args:
        logs: Dictionary from name to number, as `SRGAN.train_step` returns.
    """
    for name in (*TRACED, *logs):
        if name in logs and not math.isfinite(logs[name]):
            raise IllTrainingError(f"the value {name!r} became {logs[name]}")


def check_discriminator(history: Sequence[dict[str, float]], epochs: int = 3, margin: float = 0.02) -> None:
    """Raises IllTrainingError when the discriminator has won, or lost, for the last so many epochs.

    Args:
        history: List of rows with `d_hr` and `d_sr`, the discriminator's mean probabilities. Rows up to
            the last one with `ill` don't count: they led to a rollback.
        epochs: Number of epochs.
        margin: Distance from 0 or 1 that counts as certain.
    """
    last = [row for row in history if "d_hr" in row][-epochs:]
    if len(last) < epochs or any(row.get("ill") for row in last):
        return
    hr, sr = (np.array([row[name] for row in last]) for name in ("d_hr", "d_sr"))
    if ((hr > 1 - margin) & (sr < margin)).all():
        raise IllTrainingError(
            f"the discriminator has won: for {epochs} epochs D(HR) was above {1 - margin} and D(SR) below "
            f"{margin}"
        )
    if ((hr < margin) | (sr > 1 - margin)).all():
        raise IllTrainingError(
            f"the discriminator has lost: for {epochs} epochs it took every image for the same"
        )


def check_generator(logs: dict[str, float], start_psnr: float, drop: float = 3.0, alike: float = 0.1) -> None:
    """Raises IllTrainingError when the generator has collapsed.

    Args:
        logs: Holds `val_psnr` in dB and `val_variety`, the spread of SR images relative to that of HR.
        start_psnr: Validation PSNR that the generator started from.
        drop: Loss of PSNR, in dB, that counts as a collapse.
        alike: Relative spread under which outputs count as alike for different inputs.
    """
    if logs["val_psnr"] < start_psnr - drop:
        raise IllTrainingError(f"validation PSNR fell from {start_psnr:.2f} to {logs['val_psnr']:.2f} dB")
    if logs.get("val_variety", 1.0) < alike:
        raise IllTrainingError(
            "the generator has collapsed: it gives nearly the same image for different inputs"
        )


class Guard(keras.callbacks.Callback):
    """Takes the model back to the last good epoch and halves both rates, a bounded number of times.

    Must stand after `Validation` and before `KeepBest`: it adds `ill`, 0 or 1, to the logs of an epoch,
    and a sick epoch is never the best one.

    Args:
        directory: Folder for the last good state, weights and optimizers; it outlasts a restart.
        state: The `RunState`; its `rollbacks` counts over restarts.
        rates: The `Rates` of the run.
        most: Rollbacks before the training ends with an explanation; 0 only reports what is found.
    """

    def __init__(self, directory: PathLike, state: RunState, rates: Any, most: int = 3) -> None:
        super().__init__()
        self.file = pathlib.Path(directory) / "good.weights.h5"
        self.state = state
        self.rates = rates
        self.most = most
        self._undone: set[str] = set()

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.model.optimizer.built:  # What is not there yet is not saved.
            self.model.optimizer.build(self.model.trainable_variables)
        if not self.file.exists():
            self._keep()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._undone = set()
        try:
            check_finite(logs)
        except IllTrainingError as finding:
            self._undone = set(logs)
            self._heal(finding)
            for mean in self.model.metrics:
                mean.reset_state()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # Keras repeats the last step's logs here: what was found in them is dealt with.
        found = {name: logs[name] for name in logs if name not in self._undone}
        try:
            check_finite(found)
            check_discriminator([*self.state.history, logs])
            check_generator(logs, (self.state.start or {})["val_psnr"])
        except IllTrainingError as finding:
            logs["ill"] = 1.0
            self._heal(finding)
            return
        logs["ill"] = 0.0
        try:
            check_discriminator([logs], epochs=1)
        except IllTrainingError:
            return  # No illness after one epoch, but no state to go back to either.
        self._keep()

    def _keep(self) -> None:
        if not ranks.leads():
            return
        writing = self.file.with_name("writing.weights.h5")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(writing)
        os.replace(writing, self.file)

    def _heal(self, finding: IllTrainingError) -> None:
        if not self.most:
            log.warning("Training is ill: %s. This recipe continues regardless.", finding)
            return
        if self.state.rollbacks >= self.most:
            kept = "The best model so far is kept" if self.state.best_epoch else "No model was kept"
            raise TrainingDivergedError(
                f"Training stopped: {finding}, after {self.most} attempts at lower rates. {kept}. {WAYS_OUT}"
            ) from finding
        self.state.rollbacks += 1
        log.warning(
            "Training is ill: %s. Back to the last good state with rates halved (%d of %d).",
            finding, self.state.rollbacks, self.most,
        )  # fmt: skip
        ranks.from_leader(lambda: self.model.load_weights(self.file))
        share_model(self.model)
        self.rates.apply(self._epoch)


class Rates(keras.callbacks.Callback):
    """Sets both learning rates at the start of each epoch: schedule, and a half for each rollback.

    Rates that are plain variables are saved with the optimizer; a schedule object would forget what
    the guard did.

    Args:
        state: The `RunState`.
        rates: (generator's, discriminator's) rate at the start.
        epochs: Epochs of the whole run.
        schedule: "constant" or "cosine" down to a tenth.
    """

    def __init__(self, state: RunState, rates: Any, epochs: int, schedule: str = "constant") -> None:
        super().__init__()
        self.state = state
        self.rates = rates
        self.epochs = epochs
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.apply(epoch)

    def apply(self, epoch: int) -> None:
        """Sets the rates of this epoch."""
        factor = 0.5**self.state.rollbacks
        if self.schedule == "cosine":
            factor *= 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        discriminator, generator = optimizer.optimizers
        generator.learning_rate = self.rates[0] * factor
        discriminator.learning_rate = self.rates[1] * factor


def make_guards(config: Any, directory: PathLike, state: RunState) -> list[keras.callbacks.Callback]:
    """The callbacks that set the rates of an adversarial run and watch over its health.

    Args:
        config: The adversarial config.
        directory: See `Guard`.
        state: The `RunState`.

    Returns:
        List of a `Rates` and a `Guard`.
    """
    training, adversarial = config.training, config.adversarial
    rates = training.learning_rate, adversarial.discriminator_rate
    rates = Rates(state, rates, training.epochs, training.schedule)
    return [rates, Guard(directory, state, rates, adversarial.rollbacks)]
