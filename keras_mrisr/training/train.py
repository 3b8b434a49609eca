"""The whole recipe: from a `RunConfig` to a trained model directory."""

import dataclasses
import logging
import os
import pathlib
import platform
import time

import keras
import numpy as np

from keras_mrisr.data.pipeline import PatchDataset, load_pairs
from keras_mrisr.data.read import read_dataset
from keras_mrisr.degrade import get_degradation, upscale_image
from keras_mrisr.errors import InputError
from keras_mrisr.files import whole_file
from keras_mrisr.metrics.ssim import WINDOW
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import ModelInfo, save_trained
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.adversarial import (
    AdversarialValidation,
    check_adversarial,
    compiled_srgan,
    described,
    feature_network,
    pretraining_config,
)
from keras_mrisr.training.card import model_card
from keras_mrisr.training.directory import BACKUP, claim_run, fix_split, open_run
from keras_mrisr.training.generator import compiled_generator, start_from
from keras_mrisr.training.guard import Guard, Rates
from keras_mrisr.training.state import read_state, restore_backup, save_backup
from keras_mrisr.training.strategy import strategy_scope
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

LAST = "last.keras"
PRETRAINED = "pretrained"
VALIDATION_PROTOCOL = (
    "whole slices of the validation patients, all channels, LR and SR in 8 bits, data_range 255, "
    "mean per slice"
)


def train(config, out, overwrite=False, dataset=None, split=None, report=None):
    """Trains a generator, or goes on with a run that was stopped.

    The run's folder is a trained model directory from the first epoch on: `generator.keras` is the
    best model so far, `last.keras` the newest. Beside them lie `config.yaml`, `split.json`,
    `history.csv`, `tensorboard/` and `backup/`.

    Args:
        config: A `RunConfig`.
        out: Folder of the run. One that holds a stopped run of the same config is continued.
        overwrite: Delete what is in `out` and start anew.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        InputError: Bad data or configuration, an `out` of something else, or a diverged training.
        Interrupted: Ctrl-C or SIGTERM; all is saved, and the same call goes on.
    """
    out = pathlib.Path(out)
    if config.adversarial.on:
        check_adversarial(config)
    state = open_run(config, out, overwrite)
    if dataset is None:
        dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
    split = fix_split(out, dataset, split, config.data, overwrite)
    degradation = get_degradation(**{"scale": config.scale, **config.degradation})
    keras.utils.set_random_seed(config.training.seed)

    training_slices = dataset.select(split.train)
    log.info("Reading %s for training", training_slices.extent)
    train_pairs = load_pairs(training_slices, degradation)
    channels = train_pairs[0].hr.shape[-1]
    validation = _evenly(dataset.select(split.val), config.training.validation_slices)
    validation_pairs = load_pairs(validation, degradation, channels)
    patches = _patches(config, train_pairs)
    if config.adversarial.on:
        _check_first_stage(config, train_pairs)
    _check_validation(validation_pairs)

    features = feature_network(config) if config.adversarial.on else None
    with strategy_scope(config.training.strategy, config.training.batch_size):
        model = (
            compiled_srgan(config, channels, features) if features else compiled_generator(config, channels)
        )
        if state.epoch or state.step:
            restore_backup(out / BACKUP, model)
            log.info("Going on from epoch %d, step %d", state.epoch + 1, state.step)
        elif config.training.init:
            start_from(config, config.training.init, model)
    # Only now: bad data and bad options leave no folder behind, and don't cost an older run.
    claim_run(config, out, split, overwrite)
    if features and not (state.epoch or state.step or config.training.init):
        _first_stage(config, out, dataset, split, model, report)

    generator = build_generator(scale=config.scale, channels=channels, **config.generator)
    info = _describe(config, dataset, split, degradation, channels, train_pairs, generator)
    if features:
        validation = AdversarialValidation(
            generator, validation_pairs, features, state, config.adversarial.perception
        )
        guards = _adversarial_guards(config, out, state)
    else:
        validation = cb.Validation(generator, validation_pairs)
        guards = [cb.FiniteLoss()]
    _fit(config, out, state, model, patches, validation, guards, info, report)
    return out


def _check_first_stage(config, train_pairs):
    """Raises InputError for what the first stage could not be trained with, before the run is begun."""
    first = pretraining_config(config)
    _patches(first, train_pairs)
    strategy_scope(first.training.strategy, first.training.batch_size)


def _first_stage(config, out, dataset, split, model, report):
    """Trains the generator alone in `out/pretrained`, or finds it trained, and hands its weights over."""
    if not config.adversarial.pretraining:
        return
    first = out / PRETRAINED
    state = read_state(first / BACKUP)
    if state is None or not state.finished:
        log.info("First stage: the generator alone")
        train(pretraining_config(config), first, dataset=dataset, split=split, report=report)
    start_from(config, first, model)


def _adversarial_guards(config, out, state):
    training, adversarial = config.training, config.adversarial
    rates = training.learning_rate, adversarial.discriminator_rate
    rates = Rates(state, rates, training.epochs, training.schedule)
    return [rates, Guard(out / BACKUP, state, rates, adversarial.rollbacks)]


def _evenly(dataset, count):
    """At most `count` slices, evenly spaced over patients and positions."""
    if len(dataset) <= count:
        return dataset
    index = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    return dataclasses.replace(dataset, slices=tuple(dataset.slices[i] for i in index))


def _check_validation(pairs):
    """Raises InputError unless the slices can be scored, before the first epoch rather than after it."""
    for pair in pairs:
        if min(pair.hr.shape[:2]) < WINDOW:
            raise InputError(
                f"{pair.record.path} is {pair.hr.shape[0]}x{pair.hr.shape[1]}, too small to score: SSIM "
                f"needs at least {WINDOW}x{WINDOW} pixels. Leave such slices out."
            )
    if all(pair.hr.min() == pair.hr.max() for pair in pairs):
        raise InputError(
            f"The validation slices are all empty ({pairs[0].record.path} and {len(pairs) - 1} more): "
            "choose another data.split_seed or leave such patients out."
        )


def _patches(config, pairs):
    training = config.training
    return PatchDataset(
        pairs,
        config.scale,
        patch_size=training.patch_size or None,
        batch_size=training.batch_size,
        steps=training.steps_per_epoch,
        augment=training.augment,
        candidates=training.candidates,
        seed=training.seed,
    )


def _describe(config, dataset, split, degradation, channels, train_pairs, generator):
    training = dataclasses.asdict(config.training)
    if config.adversarial.on:
        training["adversarial"] = described(config.adversarial)
    training["parameters"] = generator.count_params()
    training["train_slices"] = len(train_pairs)
    training["hardware"] = _hardware()
    return ModelInfo(
        scale=config.scale,
        channels=channels,
        generator=dict(config.generator),
        degradation=degradation.to_dict(),
        data={
            "root_name": dataset.root.name,
            "kind": dataset.kind,
            "patient_pattern": config.data.patient_pattern,
            "split": split.to_dict(),
        },
        training=training,
        version=__version__,
    )


def _hardware():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _fit(config, out, state, model, patches, validation, guards, info, report):
    """Runs all epochs that are left, with a first one that may be shorter after a restart."""
    generator, validation_pairs = validation.generator, validation.pairs

    def save_best(logs):
        metrics = {
            **{name: value for name, value in logs.items() if name.startswith("val_")},
            "epoch": state.best_epoch,
            "slices": len(validation_pairs),
            "protocol": VALIDATION_PROTOCOL,
        }
        training = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=training)
        save_trained(out, generator, best, model_card(best))

    def save_last():
        validation.copy()  # A guard may have gone back to other weights than were scored.
        with whole_file(out / LAST) as temporary:
            generator.save(temporary)

    monitor = "val_score" if config.adversarial.on else "val_psnr"
    keep_best = cb.KeepBest(state, save_best, config.training.early_stopping, monitor)
    # The order matters: scores first, the backup with everybody's findings last.
    chain = [
        cb.StartEpoch(patches, state),
        validation,
        *guards,
        keep_best,
        cb.SaveLast(save_last),
        cb.Record(out, state, _sampler(generator, validation_pairs, config.scale)),
    ]
    if report is not None:
        chain.append(cb.Progress(report, state.step))
    backup = cb.Backup(out / BACKUP, state)
    chain.append(backup)
    started = time.monotonic()

    def fit(epochs):
        patches.start(state.epoch, state.step)  # Keras asks for the number of batches before the epoch.
        model.fit(
            patches, initial_epoch=state.epoch, epochs=epochs, callbacks=chain, shuffle=False, verbose=0
        )

    try:
        if state.step:
            # The rest of a stopped epoch is shorter, and Keras takes all epochs of a fit to be as long.
            fit(state.epoch + 1)
        if state.epoch < config.training.epochs and not keep_best.exhausted(state.epoch):
            fit(config.training.epochs)
    finally:
        backup.release_signals()
    state.finished = True
    save_backup(out / BACKUP, model, state)
    log.info("Trained for %.1f minutes; best epoch %d", (time.monotonic() - started) / 60, state.best_epoch)


def _sampler(generator, pairs, scale):
    """A function that makes pictures for TensorBoard: LR, bicubic, SR and HR side by side."""
    chosen = [pairs[i] for i in sorted({len(pairs) // 4, len(pairs) // 2, 3 * len(pairs) // 4})]

    def sample():
        rows = []
        for pair in chosen:
            lr, hr = pair.normalizer.normalize(pair.lr), pair.normalizer.normalize(pair.hr)
            sr = np.asarray(generator.predict_on_batch(lr[np.newaxis]))[0]
            shown = [upscale_image(lr, scale, "nearest"), upscale_image(lr, scale, "bicubic"), sr, hr]
            row = np.clip(np.concatenate(shown, axis=1), 0, 1)
            rows.append(row if row.shape[-1] in (1, 3) else row[..., :1])
        same = [row for row in rows if row.shape == rows[0].shape]
        return np.stack(same)

    return sample
