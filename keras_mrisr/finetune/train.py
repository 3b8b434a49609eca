"""From labelled slices to weights for the perceptual loss, with the habits of `mrisr train`."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable
from typing import Any

from keras_mrisr.data.slices import SliceDataset, evenly_spaced
from keras_mrisr.data.splits import Split
from keras_mrisr.finetune.batches import LabelledBatches
from keras_mrisr.finetune.classifier import Classifier, build_classifier, compile_classifier, fit_heads
from keras_mrisr.finetune.config import FinetuneConfig
from keras_mrisr.finetune.labels import LabelledSlice, check_labels, load_labelled, sequence_names
from keras_mrisr.finetune.scoring import Scoring, overall, score_slices
from keras_mrisr.finetune.storage import (
    HEADS,
    HEADS_START,
    WEIGHTS,
    FeaturesInfo,
    load_features,
    save_features,
    save_heads,
    save_info,
)
from keras_mrisr.models.storage import load_description
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.muon import scheduled_rate
from keras_mrisr.training.record import Record
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.strategy import training_precision, warn_of_slow_precision
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)


def finetune_features(
    config: FinetuneConfig,
    out: PathLike,
    overwrite: bool = False,
    dataset: SliceDataset | None = None,
    split: Split | None = None,
    report: cb.Report | None = None,
    progress: Callable[[str], Progress | None] | None = None,
) -> FeaturesInfo:
    """Trains a feature network further, or resumes a run; see `training.train` for what may change then.

    Linear heads are fitted to the features as they are; then heads and the trainable blocks are trained
    together. The run's folder holds `features.h5` from the first epoch on, the best weights so far by AUC
    on the validation patients: `build_features(weights=...)` takes it. Beside it lie `model.json`,
    `card.md`, the heads, `config.yaml`, `split.json`, `history.csv`, `curves.png`, `tensorboard/` and
    `backup/`. The test patients are scored once, at the end.

    Args:
        config: A `FinetuneConfig`.
        out: Folder of the run.
        overwrite: Delete what is in `out` and start again.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.
        progress: `progress(title)` gives a function of (done, total), for what is not training.

    Returns:
        The `FeaturesInfo` with all scores.

    Raises:
        ConfigError: A bad configuration, or an `out` of something else.
        DataError: Bad data, labels or weights, other data than the run began with, or another process trains
            in `out`.
        TrainingDivergedError: Values that are not finite.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    with opened_run(config, out, overwrite, report) as run:
        parts = run.read(dataset, split, masks="tumour" in config.labels)
        _train(run, *parts, progress or (lambda title: None))
    return load_description(run.out, FeaturesInfo)


def _train(run: Run, train_slices: SliceDataset, val_slices: SliceDataset, progress: Any) -> None:
    config, state = run.config, run.state
    slices, scored = _slices(config, train_slices, val_slices, progress)
    run.check_test_patients(slices[0].image.shape[-1])
    batches = _batches(config, slices)
    classifier = _compiled_classifier(config, slices[0].image.shape[-1])
    run.build(lambda: classifier.whole)
    run.claim()
    scoring = Scoring(scored, config.training.image_size)
    if state.start is None:
        fit_heads(classifier, batches, progress("Fitting heads"))
        save_heads(classifier, run.out / HEADS_START)
        state.start = score_slices(classifier.whole, scored, scoring.size)
        log.info("Start: validation score %.4f", overall(state.start))
    info = _describe(run, slices)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {
            "epoch": state.best_epoch,
            "val_score": logs["val_score"],
            "val": {"start": state.start, "tuned": scoring.scores},
        }
        training = {**info.training, "seconds": round(state.seconds)}
        save_features(run.out, classifier, dataclasses.replace(info, metrics=metrics, training=training))

    keep_best = cb.KeepBest(state, save_best, config.training.early_stopping, "val_score")
    chain = [cb.FiniteLoss(), scoring, keep_best, Record(run.out, state)]
    run.fit(classifier.whole, batches, chain, lambda: _score_test(run, classifier, progress))


def _slices(
    config: FinetuneConfig, train_slices: SliceDataset, validation: SliceDataset, progress: Any
) -> tuple[list[LabelledSlice], list[LabelledSlice]]:
    """The training slices, and at most so many validation slices as are to be scored."""
    slices = load_labelled(train_slices, config.labels, progress=progress("Reading slices"))
    val_slices = load_labelled(validation, config.labels, slices[0].image.shape[-1])
    chosen = evenly_spaced(len(val_slices), config.training.validation_slices, ends=True)
    val_slices = [val_slices[i] for i in chosen]
    check_labels(slices, config.labels, "training")
    check_labels(val_slices, config.labels, "validation")
    return slices, val_slices


def _batches(config: FinetuneConfig, slices: list[LabelledSlice]) -> LabelledBatches:
    training = config.training
    return LabelledBatches(
        slices,
        config.labels,
        training.image_size,
        training.batch_size,
        training.steps_per_epoch,
        training.smallest_crop,
        training.augment,
        training.seed,
    )


def _compiled_classifier(config: FinetuneConfig, channels: int) -> Classifier:
    training = config.training
    warn_of_slow_precision(training.precision)
    outputs = {label: {"tumour": 1, "sequence": channels}[label] for label in config.labels}
    classifier = build_classifier(
        config.network, config.weights, outputs, config.trainable, training_precision(training.precision)
    )
    compile_classifier(classifier.whole, scheduled_rate(training))
    return classifier


def _describe(run: Run, slices: list[LabelledSlice]) -> FeaturesInfo:
    config = run.config
    return FeaturesInfo(
        network=config.network,
        init="random" if config.weights is None else pathlib.Path(config.weights).name,
        trainable=list(config.trainable),
        labels=list(config.labels),
        sequences=sequence_names(run.dataset.kind, slices[0].image.shape[-1]),
        data=run.about_data(),
        training=run.about_training(train_slices=len(slices)),
        version=__version__,
    )


def _score_test(run: Run, classifier: Classifier, progress: Any) -> None:
    """Scores the test patients under the kept weights and those of the start, and writes that down."""
    config, out = run.config, run.out
    info = load_description(out, FeaturesInfo)
    slices = load_labelled(run.dataset.select(run.split.test), config.labels, len(info.sequences))
    scores = {}
    for name, weights, heads in (("start", config.weights, HEADS_START), ("tuned", out / WEIGHTS, HEADS)):
        load_features(classifier, config.network, weights, out / heads)
        title = progress(f"Scoring test patients, {name}")
        scores[name] = score_slices(classifier.whole, slices, config.training.image_size, title)
    save_info(out, dataclasses.replace(info, metrics={**info.metrics, "test": scores}))
