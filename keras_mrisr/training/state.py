"""What a run remembers between two starts, written in one piece."""

import json
import os
import pathlib
import shutil
from typing import Any, Protocol

import keras
from pydantic import Field

from keras_mrisr import ranks
from keras_mrisr.config_base import Config
from keras_mrisr.errors import ConfigError
from keras_mrisr.files import write_json
from keras_mrisr.training.gradients import without_gradients
from keras_mrisr.types import Model, PathLike

STATE = "state.json"
WEIGHTS = "model.weights.h5"


class RunState(Config, frozen=False):
    """Progress of a run.

    Attributes:
        epoch: Epochs that are complete.
        step: Batches of the next epoch that are done already.
        best: Best validation PSNR so far in dB; None before the first.
        best_epoch: The epoch, from 1, that gave it; 0 before the first.
        seconds: Time spent in training, over all starts.
        history: One dictionary of numbers for each complete epoch.
        finished: Nothing is left to do.
        start: Validation scores that an adversarial training began with.
        rollbacks: Times that an adversarial training went back to its last good state.
        data: Digest of the data that it is trained on; None for a run of an older version.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = Field(default=[])
    finished: bool = False
    start: dict[str, Any] | None = None
    rollbacks: int = 0
    data: str | None = None

    def epochs_are_left(self, training: "EpochLimits") -> bool:
        """Whether a training of this length, which may stop early, has more epochs to come."""
        patience = training.early_stopping
        exhausted = patience > 0 and self.epoch - self.best_epoch >= patience
        return self.epoch < training.epochs and not exhausted


class EpochLimits(Protocol):
    """What the `training` of every config says about the number of epochs."""

    @property
    def epochs(self) -> int: ...
    @property
    def early_stopping(self) -> int: ...


def save_backup(directory: PathLike, model: Model, state: RunState) -> None:
    """Saves weights, optimizer and state as a new folder, then removes older ones.

    `keras.callbacks.BackupAndRestore` writes the weights and the number of the epoch one after the
    other and in place; killed between the two, it repeats an epoch with the weights after it. Here
    the two become visible by one rename.

    Args:
        directory: Folder of the backups.
        model: The compiled model.
        state: Its `RunState`.
    """
    directory = pathlib.Path(directory)
    temporary = directory / "writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save_weights(temporary / WEIGHTS)
    write_json(temporary / STATE, state.to_dict())
    target = directory / f"backup-{state.epoch:05d}-{state.step:06d}{'-end' if state.finished else ''}"
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    for old in _backups(directory):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def read_state(directory: PathLike) -> RunState | None:
    """The `RunState` of the newest backup, or None when there is none."""
    backups = _backups(pathlib.Path(directory))
    if not backups:
        return None
    file = backups[-1] / STATE
    try:
        state = RunState(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"The backup {file} cannot be read: {error}. Pass `overwrite` to start again."
        ) from error
    return state


def restore_backup(directory: PathLike, model: Model) -> None:
    """Loads weights and optimizer of the newest backup into the compiled `model`."""
    backup = _backups(pathlib.Path(directory))[-1]
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(backup / WEIGHTS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The backup {backup} cannot be loaded: {str(error).splitlines()[0]} "
            "Pass `overwrite` to start again."
        ) from error


def share_model(model: Model) -> None:
    """Gives the compiled `model`, with its optimizer and random numbers, the state that it has on rank 0."""
    if ranks.rank_count() == 1:
        return
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    values = ranks.from_leader(lambda: [keras.ops.convert_to_numpy(variable) for variable in variables])
    with without_gradients():
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _backups(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in directory.glob("backup-*") if path.is_dir())
