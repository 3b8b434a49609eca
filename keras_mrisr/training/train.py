"""The whole recipe: from a `RunConfig` to a trained model directory."""

import dataclasses
import logging
import pathlib

import keras
import numpy as np

from keras_mrisr.data.read import read_dataset
from keras_mrisr.data.splits import check_unseen
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.files import whole_file
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import ModelInfo, load_info, save_trained
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.adversarial import (
    AdversarialValidation,
    check_adversarial,
    check_feature_weights,
    check_segmentation_model,
    compiled_srgan,
    described,
    feature_network,
    pretraining_config,
)
from keras_mrisr.training.card import model_card
from keras_mrisr.training.directory import BACKUP, claim_run, fix_split, open_run
from keras_mrisr.training.epochs import run_epochs
from keras_mrisr.training.generator import check_init, compiled_generator, start_from
from keras_mrisr.training.guard import WAYS_OUT, make_guards
from keras_mrisr.training.pairs import (
    VALIDATION_BLOCK,
    check_data,
    training_pairs,
    training_patches,
    validation_pairs,
)
from keras_mrisr.training.state import read_state, restore_backup
from keras_mrisr.training.strategy import hardware, strategy_scope, training_precision
from keras_mrisr.training.volumes import VolumeValidation, volume_sampler
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

LAST = "last.keras"
PRETRAINED = "pretrained"
VALIDATION_PROTOCOL_3D = (
    f"blocks of at most {'x'.join(map(str, VALIDATION_BLOCK))} voxels in the middle of the validation "
    "patients' volumes, all channels, SR in 8 bits, data_range 255, mean per HR slice"
)
VALIDATION_PROTOCOL = (
    "whole slices of the validation patients, all channels, LR and SR in 8 bits, data_range 255, "
    "mean per slice"
)


def train(config, out, overwrite=False, dataset=None, split=None, report=None, until=None):
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
        until: Stop after so many epochs of the config's; a later call goes on from there.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        ConfigError: Bad data or configuration, an `out` of something else, or a diverged training.
        Interrupted: Ctrl-C or SIGTERM; all is saved, and the same call goes on.
    """
    out = pathlib.Path(out)
    if config.adversarial.on:
        check_adversarial(config)
    state = open_run(config, out, overwrite)
    inits = _inits(config, out, overwrite, state)
    for key, init, stage in inits:  # Now, because reading data may take minutes.
        check_init(stage, init, stage.adversarial.on, key)
    if dataset is None:
        dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
    check_data(config, dataset)
    split = fix_split(out, dataset, split, config.data, overwrite)
    for key, init, _ in inits:
        check_unseen(key, init, load_info(init).data.get("split") or {}, split)
    degradation = get_degradation(**{"scale": config.scale, **config.degradation})
    keras.utils.set_random_seed(config.training.seed)

    training_slices = dataset.select(split.train)
    log.info("Reading %s for training", training_slices.extent)
    train_pairs = training_pairs(config, training_slices, degradation)
    channels = train_pairs[0].hr.shape[-1]
    patches = training_patches(config, train_pairs)
    features = None
    if config.adversarial.on:
        features = feature_network(config)
        check_segmentation_model(config, split, channels)
        check_feature_weights(config, split)
        _check_first_stage(config, out, overwrite, train_pairs)
    val_pairs = validation_pairs(config, dataset.select(split.val), degradation, channels)

    with strategy_scope(config.training.strategy, config.training.batch_size):
        model = (
            compiled_srgan(config, channels, features)
            if config.adversarial.on
            else compiled_generator(config, channels)
        )
        if state.epoch or state.step:
            restore_backup(out / BACKUP, model)
            log.info("Going on from epoch %d, step %d", state.epoch + 1, state.step)
        elif config.training.init:
            start_from(config, config.training.init, model)
    # Only now: bad data and bad options leave no folder behind, and don't cost an older run.
    claim_run(config, out, split, overwrite)
    if config.adversarial.on and not (state.epoch or state.step or config.training.init):
        _first_stage(config, out, dataset, split, model, report)

    generator = build_generator(
        scale=config.scale, channels=channels, neighbours=config.data.neighbours, **config.generator
    )
    info = _describe(config, dataset, split, degradation, channels, train_pairs, generator)
    if config.adversarial.on:
        validation = AdversarialValidation(
            generator, val_pairs, features, state, config.adversarial.perception
        )
        guards = make_guards(config, out / BACKUP, state)
    else:
        validation = (VolumeValidation if config.dimensions == 3 else cb.Validation)(generator, val_pairs)
        guards = [cb.FiniteLoss()]
    _fit(config, out, state, model, patches, validation, guards, info, report, until)
    return out


def _inits(config, out, overwrite, state):
    """The models that the training starts from: list of (config's key, model, config of its stage)."""
    if state.epoch or state.step:
        return []
    if config.training.init:
        return [("training.init", config.training.init, config)]
    if config.adversarial.on and _starts_first_stage(config, out, overwrite):
        first = pretraining_config(config)
        return [("adversarial.pretraining.init", first.training.init, first)]
    return []


def _starts_first_stage(config, out, overwrite):
    """Whether there will be a first stage that starts from another model."""
    begun = not overwrite and read_state(out / PRETRAINED / BACKUP) is not None
    return bool(config.adversarial.pretraining.get("init")) and not config.training.init and not begun


def _check_first_stage(config, out, overwrite, train_pairs):
    """Raises ConfigError for what the first stage could not be trained with, before the run is begun."""
    first = pretraining_config(config)
    training_patches(first, train_pairs)
    strategy_scope(first.training.strategy, first.training.batch_size)
    if _starts_first_stage(config, out, overwrite):
        model = compiled_generator(first, train_pairs[0].hr.shape[-1])
        start_from(first, first.training.init, model, "adversarial.pretraining.init")


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


def _describe(config, dataset, split, degradation, channels, train_pairs, generator):
    training = config.training.to_dict()
    if config.adversarial.on:
        training["adversarial"] = described(config.adversarial)
    training["parameters"] = generator.count_params()
    # A volume has as many as it has along its third axis.
    training["train_slices"] = sum(pair.hr.shape[2] if config.dimensions == 3 else 1 for pair in train_pairs)
    training["hardware"] = hardware()
    training["precision"] = training_precision(training["precision"])
    return ModelInfo(
        scale=max(config.factors),
        factors=config.factors,
        neighbours=config.data.neighbours,
        channels=channels,
        generator=dict(config.generator),
        degradation=degradation.to_dict(),
        data={
            "root_name": dataset.root.name,
            "kind": dataset.kind,
            "patient_pattern": config.data.patient_pattern,
            "separate_channels": config.data.separate_channels,
            "split": split.to_dict(),
        },
        training=training,
        version=__version__,
    )


def _fit(config, out, state, model, patches, validation, guards, info, report, until):
    """Puts the callbacks of a run together and runs its epochs."""
    generator, pairs = validation.generator, validation.pairs
    sampler = (
        volume_sampler(generator, pairs)
        if config.dimensions == 3
        else _sampler(generator, pairs, config.scale)
    )

    def save_best(logs):
        metrics = {
            **{name: value for name, value in logs.items() if name.startswith("val_")},
            **validation.facts,
            "epoch": state.best_epoch,
            "slices": sum(pair.hr.shape[2] if config.dimensions == 3 else 1 for pair in validation.pairs),
            "protocol": VALIDATION_PROTOCOL_3D if config.dimensions == 3 else VALIDATION_PROTOCOL,
        }
        training = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=training)
        save_trained(out, generator, best, model_card(best))

    def save_last():
        validation.copy()  # A guard may have gone back to other weights than were scored.
        with whole_file(out / LAST) as temporary:
            generator.save(temporary)

    def finish():
        if not state.best_epoch:
            raise TrainingDivergedError(
                f"Training stopped: no epoch of {out} was healthy. No model was kept. {WAYS_OUT}"
            )

    monitor = "val_score" if config.adversarial.on else "val_psnr"
    keep_best = cb.KeepBest(state, save_best, config.training.early_stopping, monitor)
    # The order matters: scores first.
    chain = [
        validation,
        *guards,
        keep_best,
        cb.SaveLast(save_last),
        # What a discriminator makes of the images can change from one epoch to the next.
        cb.Record(out, state, sampler, sample_every=1 if config.adversarial.on else 5),
    ]
    epochs = config.training.epochs
    run_epochs(model, patches, state, epochs, out / BACKUP, chain, keep_best, report, finish, until)


def _sampler(generator, pairs, scale):
    """A function that makes pictures for TensorBoard: LR, bicubic, SR and HR side by side."""
    chosen = [pairs[i] for i in sorted({len(pairs) // 4, len(pairs) // 2, 3 * len(pairs) // 4})]

    def sample():
        rows = []
        for pair in chosen:
            stack, lr, hr = (pair.normalizer.normalize(part) for part in (pair.lr, pair.middle_lr, pair.hr))
            sr = np.asarray(generator.predict_on_batch(stack[np.newaxis]))[0]
            shown = [interpolate(lr, scale, "nearest"), interpolate(lr, scale, "bicubic"), sr, hr]
            row = np.clip(np.concatenate(shown, axis=1), 0, 1)
            rows.append(row if row.shape[-1] in (1, 3) else row[..., :1])
        same = [row for row in rows if row.shape == rows[0].shape]
        return np.stack(same)

    return sample
