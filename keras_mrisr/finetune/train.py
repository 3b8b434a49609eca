"""From labelled slices to weights for the perceptual loss, with the habits of `mrisr train`."""

import dataclasses
import logging
import pathlib

import keras

from keras_mrisr.data.read import read_dataset
from keras_mrisr.data.slices import evenly_spaced
from keras_mrisr.finetune.batches import LabelledBatches
from keras_mrisr.finetune.classifier import build_classifier, compile_classifier, fit_heads
from keras_mrisr.finetune.labels import check_labels, load_labelled, sequence_names
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
from keras_mrisr.models.storage import load_info
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.directory import BACKUP, claim_run, fix_split, open_run
from keras_mrisr.training.epochs import run_epochs
from keras_mrisr.training.state import restore_backup
from keras_mrisr.training.strategy import hardware, training_precision, warn_of_slow_precision
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)


def finetune_features(config, out, overwrite=False, dataset=None, split=None, report=None, progress=None):
    """Trains a feature network on, or goes on with a run that was stopped.

    Linear heads are fitted to the features as they are; then heads and the trainable blocks are trained
    together. The run's folder holds `features.h5` from the first epoch on, the best weights so far by AUC
    on the validation patients: `build_features(weights=...)` takes it. Beside it lie `model.json`,
    `card.md`, the heads, `config.yaml`, `split.json`, `history.csv`, `tensorboard/` and `backup/`. The test
    patients are scored once, at the end.

    Args:
        config: A `FinetuneConfig`.
        out: Folder of the run. One that holds a stopped run of the same config is continued.
        overwrite: Delete what is in `out` and start anew.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.
        progress: `progress(title)` gives a function of (done, total), for what is not training.

    Returns:
        The `FeaturesInfo` with all scores.

    Raises:
        DataError: Bad data, labels, weights or configuration, an `out` of something else, or a diverged
            training.
        Interrupted: Ctrl-C or SIGTERM; all is saved, and the same call goes on.
    """
    out = pathlib.Path(out)
    progress = progress or (lambda title: None)
    state = open_run(config, out, overwrite)
    if dataset is None:
        dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
    split = fix_split(out, dataset, split, config.data, overwrite)
    keras.utils.set_random_seed(config.training.seed)

    slices, val_slices = _slices(config, dataset, split, progress)
    batches = _batches(config, slices)
    classifier = _compiled_classifier(config, slices[0].image.shape[-1])
    if state.epoch or state.step:
        restore_backup(out / BACKUP, classifier.whole)
        log.info("Going on from epoch %d, step %d", state.epoch + 1, state.step)
    # Only now: bad data and bad options leave no folder behind, and don't cost an older run.
    claim_run(config, out, split, overwrite)
    scoring = Scoring(val_slices, config.training.image_size)
    if state.start is None:
        fit_heads(classifier, batches, progress("Fitting heads"))
        save_heads(classifier, out / HEADS_START)
        state.start = score_slices(classifier.whole, val_slices, scoring.size)
        log.info("Start: validation score %.4f", overall(state.start))
    info = _describe(config, dataset, split, slices)

    def score_test():
        _score_test(config, out, dataset.select(split.test), classifier, progress)

    _fit(config, out, state, classifier, batches, scoring, info, report, score_test)
    return load_info(out, FeaturesInfo)


def _slices(config, dataset, split, progress):
    """The training slices, and at most so many validation slices as are to be scored."""
    training = dataset.select(split.train)
    log.info("Reading %s for training", training.extent)
    slices = load_labelled(training, config.labels, progress=progress("Reading slices"))
    val_slices = load_labelled(dataset.select(split.val), config.labels, slices[0].image.shape[-1])
    chosen = evenly_spaced(len(val_slices), config.training.validation_slices, ends=True)
    val_slices = [val_slices[i] for i in chosen]
    check_labels(slices, config.labels, "training")
    check_labels(val_slices, config.labels, "validation")
    return slices, val_slices


def _batches(config, slices):
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


def _compiled_classifier(config, channels):
    training = config.training
    warn_of_slow_precision(training.precision)
    outputs = {label: {"tumour": 1, "sequence": channels}[label] for label in config.labels}
    classifier = build_classifier(
        config.network, config.weights, outputs, config.trainable, training_precision(training.precision)
    )
    rate = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, training.epochs * training.steps_per_epoch)
    compile_classifier(classifier.whole, rate)
    return classifier


def _describe(config, dataset, split, slices):
    init = "random" if config.weights is None else pathlib.Path(config.weights).name
    return FeaturesInfo(
        network=config.network,
        init=init,
        trainable=list(config.trainable),
        labels=list(config.labels),
        sequences=sequence_names(dataset.kind, slices[0].image.shape[-1]),
        data={
            "root_name": dataset.root.name,
            "kind": dataset.kind,
            "patient_pattern": config.data.patient_pattern,
            "split": split.to_dict(),
        },
        training={
            **config.training.to_dict(),
            "train_slices": len(slices),
            "hardware": hardware(),
            "precision": training_precision(config.training.precision),
        },
        version=__version__,
    )


def _fit(config, out, state, classifier, batches, scoring, info, report, finish):
    """Puts the callbacks of a run together and runs its epochs."""

    def save_best(logs):
        metrics = {
            "epoch": state.best_epoch,
            "val_score": logs["val_score"],
            "val": {"start": state.start, "tuned": scoring.scores},
        }
        training = {**info.training, "seconds": round(state.seconds)}
        save_features(out, classifier, dataclasses.replace(info, metrics=metrics, training=training))

    keep_best = cb.KeepBest(state, save_best, config.training.early_stopping, "val_score")
    chain = [cb.FiniteLoss(), scoring, keep_best, cb.Record(out, state)]
    epochs = config.training.epochs
    run_epochs(classifier.whole, batches, state, epochs, out / BACKUP, chain, keep_best, report, finish)


def _score_test(config, out, dataset, classifier, progress):
    """Scores the test patients under the kept weights and those of the start, and writes that down."""
    info = load_info(out, FeaturesInfo)
    slices = load_labelled(dataset, config.labels, len(info.sequences))
    scores = {}
    for name, weights, heads in (("start", config.weights, HEADS_START), ("tuned", out / WEIGHTS, HEADS)):
        load_features(classifier, config.network, weights, out / heads)
        title = progress(f"Scoring test patients, {name}")
        scores[name] = score_slices(classifier.whole, slices, config.training.image_size, title)
    save_info(out, dataclasses.replace(info, metrics={**info.metrics, "test": scores}))
