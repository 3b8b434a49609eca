"""One trial: a whole training run in a folder of its own, and its score."""

import dataclasses
import gc
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras

from keras_mrisr.data import SliceDataset
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.files import whole_directory, write_json
from keras_mrisr.models.storage import INFO, load_trained
from keras_mrisr.training import train
from keras_mrisr.training.directory import BACKUP
from keras_mrisr.training.state import read_state
from keras_mrisr.tuning.budget import inference_cost
from keras_mrisr.tuning.objective import measure, score
from keras_mrisr.tuning.study import Study
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

RUN = "run"
RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What came out of a trial: the contents of `result.json`.

    Attributes:
        values: {key of the space: value}.
        score: What the search maximises, in dB.
        epochs: Epochs that it was trained for, over all rungs of Hyperband.
        best_epoch: The one whose weights were scored.
        seconds: Time of the training, over all starts and rungs.
        psnr: Validation PSNR in dB; None of a trial that fell ill.
        ssim: Validation SSIM.
        perceptual: See `objective.perceptual_score`; None where the objective does not need it.
        parameters: Of the generator.
        gflops: See `InferenceCost`.
        ill: What the training guard found, or None.
        failed: Why there is no score, or None.
    """

    values: dict
    score: float | None = None
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    psnr: float | None = None
    ssim: float | None = None
    perceptual: float | None = None
    parameters: int | None = None
    gflops: float | None = None
    ill: str | None = None
    failed: str | None = None

    def write(self, folder: PathLike) -> None:
        """Writes it into the folder of the trial."""
        write_json(pathlib.Path(folder) / RESULT, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: PathLike) -> Self | None:
        """Reads it from the folder of a trial; None where there is none yet."""
        try:
            values = json.loads((pathlib.Path(folder) / RESULT).read_text(encoding="utf-8"))
        except OSError:
            return None
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


def run_trial(
    study: Study,
    values: Mapping[str, Any],
    folder: PathLike,
    dataset: SliceDataset,
    until: int | None = None,
    parent: PathLike | None = None,
    report: Callable[..., None] | None = None,
) -> TrialResult:
    """Trains and scores one trial, or resumes one that was stopped.

    Args:
        study: The `Study`.
        values: Dictionary from key of the space to value.
        folder: Of the trial. Its `run` is a trained model directory as `train` writes it.
        dataset: The `SliceDataset`.
        until: Epochs to stop after; by default all of the config's.
        parent: Folder of the trial that this one continues, with weights, optimizer and history.
        report: See `train`.

    Returns:
        A `TrialResult`, which is in the folder, too.

    Raises:
        ConfigError: The data or the values are of no use.
        TrainingInterruptedError: Ctrl-C or SIGTERM; the same call resumes.
    """
    folder = pathlib.Path(folder)
    config = study.run_config(values)
    until = min(until or config.training.epochs, config.training.epochs)
    earlier = TrialResult.read(folder)
    if earlier is not None and earlier.failed is None:
        return earlier  # Killed between its end and the search's taking note of it.
    keras.backend.clear_session()  # What the trial before left behind.
    gc.collect()
    run = folder / RUN
    if parent is not None and not run.exists():
        with whole_directory(run) as temporary:
            shutil.copytree(pathlib.Path(parent) / RUN, temporary, dirs_exist_ok=True)
    started = time.monotonic()
    ill = None
    try:
        if not _is_trained(run, until):
            train(config, run, dataset=dataset, report=report, until=until)
        if not (run / INFO).is_file():
            raise TrainingDivergedError("no epoch of the training was healthy")
    except TrainingDivergedError as error:
        ill = str(error)
        log.warning("The trial fell ill: %s", ill)
    result = _scored(study, values, run, dataset, ill)
    if not result.seconds:
        result = dataclasses.replace(result, seconds=round(time.monotonic() - started, 1))
    result.write(folder)
    write_hparams(folder, result)
    return result


def _is_trained(run: pathlib.Path, until: int | None) -> bool:
    state = read_state(run / BACKUP)
    if state is None or state.finished:
        return state is not None
    return until is not None and state.epoch >= until and not state.step


def _scored(
    study: Study, values: Mapping[str, Any], run: pathlib.Path, dataset: SliceDataset, ill: str | None
) -> TrialResult:
    state = read_state(run / BACKUP)
    facts: dict[str, Any] = {"values": values, "ill": ill}
    if state is not None:
        facts.update(epochs=state.epoch, seconds=round(state.seconds, 1), best_epoch=state.best_epoch)
    if (run / INFO).is_file():
        cost = inference_cost(load_trained(run)[0])
        facts.update(parameters=cost.parameters, gflops=round(cost.gflops, 3))
    measured = None if ill else measure(study, run, dataset)
    return TrialResult(score=score(study, measured), **facts, **(measured or {}))


def write_hparams(folder: PathLike, result: TrialResult) -> None:
    """Writes values and scores for TensorBoard's HParams page; without TensorFlow there is none.

    Args:
        folder: Of the trial; a folder of the page's own in it is written again.
        result: The `TrialResult`.
    """
    try:
        import tensorflow as tf
        from tensorboard.plugins.hparams import api
    except ImportError:  # Another backend may run where they are not installed.
        return
    folder = pathlib.Path(folder)
    shutil.rmtree(folder / "hparams", ignore_errors=True)
    plain = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in result.values.items()
    }
    writer = tf.summary.create_file_writer(str(folder / "hparams"))
    with writer.as_default(step=result.epochs):
        api.hparams(plain, trial_id=folder.name)
        for name in ("score", "psnr", "ssim", "perceptual", "parameters", "gflops"):
            value = getattr(result, name)
            if value is not None:
                tf.summary.scalar(f"trial/{name}", value)
    writer.close()
