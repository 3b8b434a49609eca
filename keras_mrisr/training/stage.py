"""One stage of a training, whatever it trains: what it starts from, and what is kept of its epochs."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr import ranks
from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.files import whole_file
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.adversarial import pretraining_config
from keras_mrisr.training.directory import BACKUP
from keras_mrisr.training.guard import WAYS_OUT, make_guards
from keras_mrisr.training.record import SHOWN, Record
from keras_mrisr.training.run import Run
from keras_mrisr.training.state import RunState, read_state
from keras_mrisr.types import Model

log = logging.getLogger(__name__)

LAST = "last.keras"
PRETRAINED = "pretrained"


def starts(run: Run) -> list[tuple[str, str, Any]]:
    """The models that a training starts from: list of (config's key, model, config of its stage)."""
    config = run.config
    if run.resumed:
        return []
    if config.training.init:
        return [("training.init", config.training.init, config)]
    if not config.adversarial.on or not config.adversarial.pretraining.get("init"):
        return []
    if not run.overwrite and _first_state(run) is not None:
        return []  # The first stage is begun.
    first = pretraining_config(config)
    return [("adversarial.pretraining.init", first.training.init, first)]


def first_stage(run: Run, train: Callable[..., Any]) -> pathlib.Path:
    """Trains the generator alone in `out/pretrained`, or finds it trained.

    Args:
        run: The adversarial `Run`.
        train: Trains a config as it is, such as `training.train`.

    Returns:
        The folder.
    """
    first = run.out / PRETRAINED
    state = _first_state(run)
    if state is None or not state.finished:
        log.info("First stage: the generator alone")
        config = pretraining_config(run.config)
        train(config, first, dataset=run.dataset, split=run.split, report=run.report)
    return first


def _first_state(run: Run) -> RunState | None:
    return ranks.from_leader(lambda: read_state(run.out / PRETRAINED / BACKUP))


def fit_stage(
    run: Run,
    model: Model,
    batches: ResumableBatches,
    validation: cb.Validation,
    info: Any,
    save: Callable[[Any], None],
    *,
    about: Mapping[str, Any],
    sampler: Callable[[], np.ndarray] | None = None,
    shown: Sequence[str] = SHOWN,
    until: int | None = None,
) -> None:
    """Puts the callbacks of a stage together and runs its epochs.

    Args:
        run: The `Run`.
        model: The compiled model, restored to the run's state.
        batches: Dataset of the patches.
        validation: Scores the copy of the network that is saved.
        info: The description of the model, without its scores.
        save: Saves the copy as the model, with its description.
        about: What is stored with the scores of the best epoch.
        sampler: See `Record`.
        shown: See `Record`.
        until: Stop after so many epochs, with the run unfinished.

    Raises:
        TrainingDivergedError: Values that are not finite, or no epoch of an adversarial stage was healthy.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved.
    """
    config, out, state = run.config, run.out, run.state
    adversarial = hasattr(config, "adversarial") and config.adversarial.on

    def save_best(logs: dict[str, float]) -> None:
        if not ranks.leads():
            return
        scores = {name: value for name, value in logs.items() if name.startswith("val_")}
        metrics = {**scores, **validation.facts, "epoch": state.best_epoch, **about}
        training = {**info.training, "seconds": round(state.seconds)}
        save(dataclasses.replace(info, metrics=metrics, training=training))

    def save_last() -> None:
        validation.copy()  # A guard may have gone back to other weights than were scored.
        with whole_file(out / LAST) as temporary:
            validation.generator.save(temporary)

    def finish() -> None:
        if not state.best_epoch:
            raise TrainingDivergedError(
                f"Training stopped: no epoch of {out} was healthy. No model was kept. {WAYS_OUT}"
            )

    # The order matters: scores first.
    chain = [
        validation,
        *(make_guards(config, out / BACKUP, state) if adversarial else [cb.FiniteLoss()]),
        cb.KeepBest(state, save_best, config.training.early_stopping, validation.monitor),
        *([cb.SaveLast(save_last)] if ranks.leads() else []),
        # What a discriminator makes of the images can change from one epoch to the next.
        Record(out, state, sampler, sample_every=1 if adversarial else 5, shown=shown),
    ]
    run.fit(model, batches, chain, finish, until)
