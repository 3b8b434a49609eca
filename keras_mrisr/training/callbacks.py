"""What happens around the steps of a run: scoring, saving, logging, stopping."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr import ranks
from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.metrics.psnr import psnr
from keras_mrisr.metrics.ssim import ssim
from keras_mrisr.training.state import RunState, save_backup
from keras_mrisr.types import Model, PathLike, Tensor

log = logging.getLogger(__name__)

Report = Callable[[int, int | None, dict[str, float]], None]
"""Called with the epoch from 1, the step from 1 (None at the end of an epoch), and the logs."""


class TrainingInterruptedError(Exception):
    """The user asked the run to stop, and all that it did is saved."""


def diverged(what: str, value: object, place: str) -> str:
    """The message about a training that went out of bounds."""
    return (
        f"{what} became {value} in {place}: training diverged. Lower training.learning_rate or set "
        "training.clip_norm; the best model so far, if there is one, is kept."
    )


class StartEpoch(keras.callbacks.Callback):
    """Puts the patches at the run's own place before each epoch.

    A run that was stopped within an epoch resumes within it, and Keras tells a dataset of epochs only.

    Args:
        patches: The `PatchDataset`.
        state: The `RunState`.
    """

    def __init__(self, patches: ResumableBatches, state: RunState) -> None:
        super().__init__()
        self.patches = patches
        self.state = state

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.patches.start(epoch, self.state.step)


class Validation(keras.callbacks.Callback):
    """Scores a float32 copy of the generator on whole slices of unseen patients after each epoch.

    Adds `val_psnr` (dB) and `val_ssim`, means over slices with data_range 1 after rounding to 8 bits
    as a saved image would be, to the logs that later callbacks see.

    Args:
        generator: The float32 copy; it gets the weights of the trained model.
        pairs: List of `SlicePair`.

    Attributes:
        monitor: The score that the best epoch is chosen by.
        facts: What else is stored with the scores of the best epoch.
    """

    monitor = "val_psnr"
    # What is not finite where there is no score.
    measured = "The output"

    def __init__(self, generator: Model, pairs: Sequence[Any]) -> None:
        super().__init__()
        self.generator = generator
        self.pairs = pairs
        self.facts: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.copy()
        scores = self.score()
        if scores is None:
            raise TrainingDivergedError(diverged(self.measured, "not finite", f"epoch {epoch + 1}"))
        logs.update(scores)

    def copy(self) -> None:
        """Brings the copy to the present weights of the trained model."""
        self.generator.set_weights(self.model.get_weights())

    def score(self) -> dict[str, float] | None:
        """Means over the slices, such as {"val_psnr": ..., "val_ssim": ...}; None for output not finite."""
        return self.score_of(self.generator.predict_on_batch)

    def score_of(self, upscale: Callable[[Tensor], Tensor]) -> dict[str, float] | None:
        """The `score` of another function from a batch of LR to SR."""

        def compared(pair: Any) -> list[dict[str, float]] | None:
            hr = pair.normalizer.normalize(pair.hr)[np.newaxis]
            lr = pair.normalizer.normalize(pair.lr)[np.newaxis]
            sr = np.asarray(upscale(lr))
            if not np.isfinite(sr).all():
                return None
            sr = (np.rint(np.clip(sr, 0, 1) * 255) / 255).astype("float32")
            return [self.compare(*images) for images in self.images(hr, sr)]

        found = ranks.shared_out(self.pairs, compared)
        rows = [row for part in found if part is not None for row in part]
        if None in found:
            return None
        finite = [row for row in rows if np.isfinite(list(row.values())).all()] or rows
        return {f"val_{name}": float(np.mean([row[name] for row in finite])) for name in rows[0]}

    @staticmethod
    def images(hr: Tensor, sr: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The pairs of images (1, H, W, C) to compare in what `generator` made."""
        return [(hr, sr)]

    def compare(self, hr: Tensor, sr: Tensor) -> dict[str, float]:
        """Scores of one slice: dictionary from name to number."""
        return {"psnr": float(psnr(hr, sr, 1.0)[0]), "ssim": float(ssim(hr, sr, 1.0)[0])}


class FiniteLoss(keras.callbacks.Callback):
    """Ends a training whose loss is not finite any more."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            place = f"epoch {self._epoch + 1}, step {batch + 1}"
            raise TrainingDivergedError(diverged("The loss", loss, place))


class KeepBest(keras.callbacks.Callback):
    """Calls `save(logs)` when a score improves, and stops after `patience` epochs without that.

    An epoch that the `Guard` found to be ill never counts as better.

    Args:
        state: The `RunState`, which carries best value and epoch over a restart.
        save: Function of the logs.
        patience: Epochs; 0 never stops.
        monitor: Name of the score in the logs; more is better.
    """

    def __init__(
        self, state: RunState, save: Callable[..., None], patience: int = 0, monitor: str = "val_psnr"
    ) -> None:
        super().__init__()
        self.monitor = monitor
        self.state = state
        self.save = save
        self.patience = patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value, best = logs[self.monitor], self.state.best
        # A mean without a slice that counts is NaN, which anything improves.
        better = best is None or math.isnan(best) or value > best
        if better and not logs.get("ill"):
            self.state.best, self.state.best_epoch = value, epoch + 1
            self.save(logs)
        elif self.patience > 0 and epoch + 1 - self.state.best_epoch >= self.patience:
            log.info("No better %s for %d epochs: stopping early.", self.monitor, self.patience)
            self.model.stop_training = True


class SaveLast(keras.callbacks.Callback):
    """Calls `save()` after each epoch.

    Args:
        save: Function without arguments.
    """

    def __init__(self, save: Callable[..., None]) -> None:
        super().__init__()
        self.save = save

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.save()


class Backup(keras.callbacks.Callback):
    """Saves all that a restart needs after each epoch, every few minutes, and when asked to stop.

    Must be the last callback: its state includes what the others found.

    Args:
        directory: Folder of the backups.
        state: The `RunState` to keep up to date and save.
        minutes: Time between two backups within an epoch.

    Attributes:
        agreed: Whether one of the ranks was asked to stop and all know it, see `Agreement`.
    """

    def __init__(self, directory: PathLike, state: RunState, minutes: float = 3.0) -> None:
        super().__init__()
        self.directory = directory
        self.state = state
        self.minutes = minutes
        self._stop = threading.Event()
        self.agreed = False
        self._first_step = state.step
        self._handlers: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop."""
        return self._stop.is_set()

    @property
    def stopping(self) -> bool:
        """Whether the training stops now: at once, or when all its ranks know."""
        return self.asked if ranks.rank_count() == 1 else self.agreed

    def on_train_begin(self, logs: Any = None) -> None:
        self._started = self._saved = time.monotonic()
        self._seconds_before = self.state.seconds
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._request_stop)

    def on_train_end(self, logs: Any = None) -> None:
        self.release_signals()

    def release_signals(self) -> None:
        """Gives Ctrl-C back to whoever had it."""
        for number, handler in self._handlers.items():
            # None stands for a handler that was not set from Python and cannot be given back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == self.params["steps"]:
            return  # The end of the epoch saves, after the scoring: there is no step left to go on with.
        overdue = time.monotonic() - self._saved > 60 * self.minutes
        if not overdue and not self.stopping:
            return
        self._save(self.state.epoch, self._step(batch))
        if self.stopping:
            raise TrainingInterruptedError

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._first_step = 0
        self._save(epoch + 1, 0)
        if self.stopping:
            raise TrainingInterruptedError

    def _step(self, batch: int) -> int:
        return self._first_step + batch + 1

    def _save(self, epoch: int, step: int) -> None:
        self._saved = time.monotonic()
        self.state.epoch, self.state.step = epoch, step
        self.state.seconds = self._seconds_before + self._saved - self._started
        if ranks.leads():
            save_backup(self.directory, self.model, self.state)

    def _request_stop(self, number: int, frame: object) -> None:
        if self._stop.is_set():  # A second Ctrl-C does not wait for the step.
            self.release_signals()
            raise KeyboardInterrupt
        self._stop.set()


class Agreement(keras.callbacks.Callback):
    """Makes the logs of each rank of a job their means, and tells all when one was asked to stop.

    What later callbacks decide from the logs is then the same everywhere.

    Args:
        backup: The `Backup`.
    """

    def __init__(self, backup: Backup) -> None:
        super().__init__()
        self.backup = backup

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._agree(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._agree(logs)

    def _agree(self, logs: dict[str, float]) -> None:
        *means, asked = ranks.mean([*map(float, logs.values()), self.backup.asked])
        logs.update(zip(list(logs), means, strict=True))
        self.backup.agreed = asked > 0


class Progress(keras.callbacks.Callback):
    """Tells `report(epoch, step, logs)` of each step and `report(epoch, None, logs)` of each epoch.

    Args:
        report: Function of the epoch from 1, the step from 1 (None at the end of the epoch) and the logs.
        first_step: Steps of the first epoch that were done before.
    """

    def __init__(self, report: Report, first_step: int = 0) -> None:
        super().__init__()
        self.report = report
        self.first_step = first_step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.report(self._epoch, self.first_step + batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.first_step = 0
        self.report(epoch + 1, None, logs)
