"""The whole recipe: from a `RunConfig` to a trained model directory."""

import dataclasses
import logging
import os
import pathlib
import platform
import shutil
import time

import keras
import numpy as np

from keras_mrisr.config import RunConfig, read_config, write_config
from keras_mrisr.data.pipeline import PatchDataset, load_pairs
from keras_mrisr.data.read import read_dataset
from keras_mrisr.data.splits import Split, split_patients
from keras_mrisr.degrade import get_degradation, upscale_image
from keras_mrisr.errors import InputError
from keras_mrisr.files import check_new_directory, write_json
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import ModelInfo, load_trained, save_trained
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.card import model_card
from keras_mrisr.training.state import RunState, read_state, restore_backup
from keras_mrisr.training.strategy import dtype_policy, strategy_scope
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

VALIDATION_PROTOCOL = (
    "whole slices of the validation patients, all channels, LR and SR in 8 bits, data_range 255, mean per slice"
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
    state = _prepare_directory(config, out, overwrite)
    if dataset is None:
        dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
    split = _fix_split(out, dataset, split, config)
    degradation = get_degradation(**{"scale": config.scale, **config.degradation})
    keras.utils.set_random_seed(config.training.seed)

    log.info("Reading %d slices of %d training patients", len(dataset.select(split.train)), len(split.train))
    train_pairs = load_pairs(dataset.select(split.train), degradation)
    channels = train_pairs[0].hr.shape[-1]
    validation = _evenly(dataset.select(split.val), config.training.validation_slices)
    validation_pairs = load_pairs(validation, degradation, channels)
    patches = _patches(config, train_pairs, state)

    with strategy_scope(config.training.strategy, config.training.batch_size):
        model = _compiled_generator(config, channels)
        if state.epoch or state.step:
            restore_backup(out / "backup", model)
            log.info("Going on from epoch %d, step %d", state.epoch + 1, state.step)
        elif config.training.init:
            _copy_weights(config, model)
    if not (out / "config.yaml").exists():
        write_config(config, out / "config.yaml")

    generator = build_generator(scale=config.scale, channels=channels, **config.generator)
    info = _describe(config, dataset, split, degradation, channels, train_pairs, generator)
    _fit(config, out, state, model, generator, patches, validation_pairs, info, report)
    return out


def _prepare_directory(config, out, overwrite):
    """The `RunState` to go on from; a new one in a new or emptied folder."""
    if overwrite and out.is_dir():
        if not (out / "config.yaml").exists() and any(out.iterdir()):
            raise InputError(f"{out} is not a training run; it is not overwritten. Choose another folder.")
        shutil.rmtree(out)
    if not (out / "config.yaml").is_file():
        check_new_directory(out)
        return RunState()
    old = read_config(out / "config.yaml", RunConfig())
    if old != config:
        raise InputError(
            f"{out} holds a run with another config ({_differences(old, config)}). "
            "Choose another folder, or pass --overwrite to start anew."
        )
    state = read_state(out / "backup") or RunState()
    if state.finished:
        raise InputError(
            f"{out} holds this run already, complete with {state.epoch} epochs. Use it, start another from "
            "it with training.init, or pass --overwrite to train anew."
        )
    return state


def _differences(old, new):
    flat = [_flatten(config.to_dict()) for config in (old, new)]
    keys = [key for key in {**flat[0], **flat[1]} if flat[0].get(key) != flat[1].get(key)]
    return ", ".join(f"{key}: {flat[0].get(key)!r} there, {flat[1].get(key)!r} now" for key in keys[:3])


def _flatten(values, prefix=""):
    flat = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def _fix_split(out, dataset, split, config):
    """The split of this run: read back when it goes on, else made and written to `split.json`."""
    import json

    file = out / "split.json"
    if file.is_file():
        return Split.from_dict(json.loads(file.read_text(encoding="utf-8")))
    data = config.data
    split = split or split_patients(
        dataset.sites, data.split_seed, data.validation_fraction, data.test_fraction
    )
    write_json(file, split.to_dict())
    return split


def _evenly(dataset, count):
    """At most `count` slices, evenly spaced over patients and positions."""
    if len(dataset) <= count:
        return dataset
    index = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    return dataclasses.replace(dataset, slices=tuple(dataset.slices[i] for i in index))


def _patches(config, pairs, state):
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
        epoch=state.epoch,
        first_step=state.step,
    )


def _compiled_generator(config, channels):
    training = config.training
    with dtype_policy(training.precision):
        model = build_generator(scale=config.scale, channels=channels, **config.generator)
    rate = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, training.epochs * training.steps_per_epoch)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=training.clip_norm or None)
    model.compile(optimizer, loss=training.loss)
    return model


def _copy_weights(config, model):
    trained, info = load_trained(config.training.init)
    if (info.scale, dict(info.generator)) != (config.scale, dict(config.generator)):
        raise InputError(
            f"training.init: {config.training.init} is {info.generator} at scale {info.scale}, this run is "
            f"{config.generator} at scale {config.scale}. Choose the same generator and scale."
        )
    if trained.input_shape[-1] != model.input_shape[-1]:
        raise InputError(
            f"training.init: {config.training.init} has {trained.input_shape[-1]} channels, "
            f"the data {model.input_shape[-1]}."
        )
    model.set_weights(trained.get_weights())


def _describe(config, dataset, split, degradation, channels, train_pairs, generator):
    training = dataclasses.asdict(config.training)
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


def _fit(config, out, state, model, generator, patches, validation_pairs, info, report):
    """Runs all epochs that are left, with a first one that may be shorter after a restart."""
    validation = cb.Validation(generator, validation_pairs)

    def save_best(logs):
        metrics = {
            "val_psnr": logs["val_psnr"],
            "val_ssim": logs["val_ssim"],
            "epoch": state.best_epoch,
            "slices": len(validation_pairs),
            "protocol": VALIDATION_PROTOCOL,
        }
        training = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=training)
        save_trained(out, generator, best, model_card(best))

    keep_best = cb.KeepBest(state, save_best, config.training.early_stopping)
    backup = cb.Backup(out / "backup", state)
    # The order matters: scores first, the backup with everybody's findings last.
    chain = [validation, keep_best, cb.Record(out, state, _sampler(generator, validation_pairs, config.scale))]
    if report is not None:
        chain.append(cb.Progress(report, state.step))
    chain.append(backup)
    started = time.monotonic()
    epochs = config.training.epochs
    try:
        if state.step:
            model.fit(
                patches, initial_epoch=state.epoch, epochs=state.epoch + 1,
                callbacks=chain, shuffle=False, verbose=0,
            )  # fmt: skip
            backup._first_step = 0
        if state.epoch < epochs and not model.stop_training:
            model.fit(
                patches, initial_epoch=state.epoch, epochs=epochs, callbacks=chain, shuffle=False, verbose=0
            )
    finally:
        backup.release_signals()
    state.finished = True
    cb.save_backup(out / "backup", model, state)
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
