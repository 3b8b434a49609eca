"""The tuner of `mrisr tune`: KerasTuner's search loop around whole training runs."""

import contextlib
import logging
import pathlib
import time
import traceback
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError

from keras_mrisr.data import SliceDataset
from keras_mrisr.errors import MrisrError
from keras_mrisr.training import TrainingInterruptedError
from keras_mrisr.tuning.cluster import Claim, LostTrialError
from keras_mrisr.tuning.study import Study
from keras_mrisr.tuning.trial import TrialResult, run_trial
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)

_PAUSE = 1.0  # Seconds between two questions for work when there is none.


class StudyTuner(keras_tuner.Tuner):
    """Runs the trials of a study, each as a training run in its own folder `trial_<number>/run`.

    KerasTuner's tuners build a model and fit it; a run of `train` does that, too, and can be killed at any
    moment, watches over its health and leaves a trained model directory. With Hyperband a continued trial
    starts from a copy of the run before it: weights, both optimizers, history and place in the schedule.

    Args:
        study: The `Study`.
        oracle: A `Steady` oracle.
        folder: Folder of the search.
        dataset: The `SliceDataset`.
        lease: Of a worker: seconds of silence after which the chief takes it for dead.
        progress: `progress(done, total)` in epochs of the whole search, or None.
    """

    def __init__(
        self,
        study: Study,
        oracle: Any,
        folder: pathlib.Path,
        dataset: SliceDataset,
        lease: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        folder = pathlib.Path(folder).absolute()
        local = oracle
        super().__init__(oracle=oracle, directory=str(folder.parent), project_name=folder.name)
        self.study = study
        self.dataset = dataset
        self.lease = lease
        self.progress = progress
        self._is_idle = False
        self._lost: set[str] = set()
        if not self._is_worker() and (folder / "oracle.json").exists():
            local.reload()

    def save(self) -> None:
        # The oracle is all that there is to save, and the chief has it.
        if not self._is_worker():
            self.oracle.save()

    def on_search_begin(self) -> None:
        self.save()

    def pre_create_trial(self) -> None:
        if self._is_idle:
            time.sleep(_PAUSE)
        self._is_idle = True

    def run_trial(self, trial: Any) -> Any:
        """Trains and scores one trial.

        Args:
            trial: A `keras_tuner.engine.trial.Trial`.

        Returns:
            {"score": number in dB}.
        """
        values = self.study.space.decode(trial.hyperparameters.values)
        folder = pathlib.Path(self.get_trial_dir(trial.trial_id))
        asked = trial.hyperparameters.values
        parent = asked.get("tuner/trial_id")
        log.info("Trial %s: %s", trial.trial_id, _said(values, parent))
        try:
            with self._claim(trial.trial_id, folder) as claim:
                result = run_trial(
                    self.study,
                    values,
                    folder,
                    self.dataset,
                    until=asked.get("tuner/epochs"),
                    parent=parent and self.get_trial_dir(parent),
                    report=self._report(claim, asked.get("tuner/initial_epoch", 0)),
                )
        except TrainingInterruptedError as error:
            raise KeyboardInterrupt from error  # KerasTuner takes any Exception for a failed trial.
        except LostTrialError:
            self._lost.add(trial.trial_id)
            log.warning("Trial %s was given to another worker: left.", trial.trial_id)
            raise
        except MrisrError as error:
            self._note_failure(values, folder, str(error))
            raise FailedTrialError(str(error)) from error
        except Exception as error:
            self._note_failure(
                values, folder, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
            raise
        log.info("Trial %s: score %.3f dB", trial.trial_id, result.score)
        return {"score": result.score}

    def _try_run_and_update_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        """KerasTuner's own, but that one prints the traceback of a trial that failed.

        `run_trial` has said why in a line; the traceback of an accident stays in `trial.json`.
        """
        try:
            self._run_and_update_trial(trial, *fit_args, **fit_kwargs)
            trial.status = TrialStatus.COMPLETED
        except FatalError:
            raise
        except FailedTrialError as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)
        except Exception:
            trial.status, trial.message = TrialStatus.INVALID, traceback.format_exc()

    def on_trial_end(self, trial: Any) -> None:
        self._is_idle = False
        if trial.trial_id in self._lost:
            self._lost.discard(trial.trial_id)
            return
        super().on_trial_end(trial)

    def _claim(self, trial_id, folder):
        if not self._is_worker():
            return contextlib.nullcontext()
        return Claim(self.oracle, trial_id, folder, self.lease)

    def _report(self, claim, first_epoch):
        """What `train` calls after each step."""

        def report(epoch, step, logs):
            if claim is not None:
                claim.check()
            if step is None and self.progress is not None and not self._is_worker():
                done = sum(self.oracle.epochs_of(trial) for trial in self.oracle.ended)
                self.progress(done + epoch - first_epoch, self.oracle.planned_epochs())

        return report

    def _note_failure(self, values, folder, reason):
        log.warning("The trial failed: %s", reason)
        TrialResult(values, failed=reason).write(folder)


def _said(values: Any, parent: Any) -> str:
    """What a trial is, in a line; one of Hyperband that continues another says which."""
    if parent:
        return f"continues trial {parent}"
    return ", ".join(f"{key}={value}" for key, value in values.items())
