"""The whole recipe: from a `RunConfig` to a trained model directory."""

import logging
import pathlib
from typing import Any

from keras_mrisr.config import RunConfig
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split
from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.degradation import Degradation
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
from keras_mrisr.training.generator import check_init, compiled_generator, start_from
from keras_mrisr.training.pairs import (
    VALIDATION_BLOCK,
    check_data,
    training_pairs,
    training_patches,
    validation_pairs,
)
from keras_mrisr.training.record import slice_sampler
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.stage import first_stage, fit_stage, starts
from keras_mrisr.training.strategy import cpu_hint, strategy_scope
from keras_mrisr.training.volumes import VolumeValidation, volume_sampler
from keras_mrisr.types import Model, PathLike
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

VALIDATION_PROTOCOL_3D = (
    f"blocks of at most {'x'.join(map(str, VALIDATION_BLOCK))} voxels in the middle of the validation "
    "patients' volumes, all channels, SR in 8 bits, data_range 255, mean per HR slice"
)
VALIDATION_PROTOCOL = (
    "whole slices of the validation patients, all channels, LR and SR in 8 bits, data_range 255, "
    "mean per slice"
)


def train(
    config: RunConfig,
    out: PathLike,
    overwrite: bool = False,
    dataset: SliceDataset | None = None,
    split: Split | None = None,
    report: cb.Report | None = None,
    until: int | None = None,
) -> pathlib.Path:
    """Trains a generator, or resumes a run.

    The run's folder is a trained model directory from the first epoch on: `generator.keras` is the
    best model so far, `last.keras` the newest. Beside them lie `config.yaml`, `split.json`, `history.csv`,
    `curves.png`, `samples.png`, `tensorboard/` and `backup/`.

    A run resumes with the same config. Only the path of the data may be another (the slices are compared),
    the patience of early stopping, and the number of epochs: a finished run resumes with more of them. The
    cosine schedule is then that of the new number: the rate rises to where a run of that length would be.

    Args:
        config: A `RunConfig`.
        out: Folder of the run.
        overwrite: Delete what is in `out` and start again.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.
        until: Stop after so many epochs of the config's; a later call resumes there.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        ConfigError: A bad configuration, or an `out` of something else.
        DataError: Bad data, other data than the run began with, or another process trains in `out`.
        ModelError: A bad model to start from.
        TrainingDivergedError: Values that are not finite, or a sick adversarial training.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    if config.adversarial.on:
        check_adversarial(config)
    with opened_run(config, out, overwrite, report) as run:
        _train(run, dataset, split, until)
    return run.out


def _train(run: Run, dataset: SliceDataset | None, split: Split | None, until: int | None) -> None:
    config = run.config
    inits = starts(run)
    for key, init, stage in inits:  # Now, because reading data may take minutes.
        check_init(stage, init, stage.adversarial.on, key)
    infos = [(key, init, load_info(init)) for key, init, _ in inits]
    train_slices, val_slices = run.read(dataset, split, starts=infos)
    check_data(config, run.dataset)
    degradation = get_degradation(**{"scale": config.scale, **config.degradation})
    train_pairs = training_pairs(config, train_slices, degradation)
    channels = train_pairs[0].hr.shape[-1]
    patches = training_patches(config, train_pairs)
    features = _adversarial_parts(run, train_pairs) if config.adversarial.on else None
    val_pairs = validation_pairs(config, val_slices, degradation, channels)
    run.check_test_patients(None if config.data.separate_channels else channels)
    model = run.build(lambda: _compiled(run, channels, features))
    if hint := cpu_hint(config):
        log.warning("%s", hint)
    run.claim()
    if _has_first_stage(run):
        first = first_stage(run, train)
        run.start(model, lambda: start_from(config, first, model))
    generator = build_generator(
        scale=config.scale, channels=channels, neighbours=config.data.neighbours, **config.generator
    )
    info = _describe(run, degradation, channels, train_pairs, generator)
    validation = _validation(run, generator, val_pairs, features, degradation)
    volumes = config.dimensions == 3
    about = {
        "slices": _slice_count(config, val_pairs),
        "protocol": VALIDATION_PROTOCOL_3D if volumes else VALIDATION_PROTOCOL,
    }
    sampler = (volume_sampler if volumes else slice_sampler)(generator, val_pairs)

    def save(best: ModelInfo) -> None:
        save_trained(run.out, generator, best, model_card(best))

    fit_stage(run, model, patches, validation, info, save, about=about, sampler=sampler, until=until)


def _has_first_stage(run: Run) -> bool:
    """Whether the generator is trained alone before this run begins."""
    config = run.config
    begins = not (run.resumed or config.training.init)
    return begins and config.adversarial.on and bool(config.adversarial.pretraining)


def _compiled(run: Run, channels: int, features: Any) -> Model:
    config = run.config
    if config.adversarial.on:
        model = compiled_srgan(config, channels, features)
    else:
        model = compiled_generator(config, channels)
    if config.training.init and not run.resumed:
        start_from(config, config.training.init, model)
    return model


def _validation(
    run: Run, generator: Model, pairs: list[Any], features: Any, degradation: Degradation
) -> cb.Validation:
    config = run.config
    if config.adversarial.on:
        adversarial = config.adversarial
        return AdversarialValidation(
            generator,
            pairs,
            features,
            run.state,
            adversarial.perception,
            degradation if adversarial.consistency else None,
            adversarial.realism,
            adversarial.kid,
        )
    return (VolumeValidation if config.dimensions == 3 else cb.Validation)(generator, pairs)


def _slice_count(config: RunConfig, pairs: list[Any]) -> int:
    """How many slices there are; a volume has as many as it has along its third axis."""
    return sum(pair.hr.shape[2] if config.dimensions == 3 else 1 for pair in pairs)


def _adversarial_parts(run: Run, train_pairs: list[Any]) -> Any:
    """The feature network, once all that the adversarial stage needs was found to be good."""
    features = feature_network(run.config)
    check_segmentation_model(run.config, run.split, train_pairs[0].hr.shape[-1])
    check_feature_weights(run.config, run.split)
    _check_first_stage(run, train_pairs)
    return features


def _check_first_stage(run: Run, train_pairs: list[Any]) -> None:
    """Raises ConfigError for what the first stage could not be trained with, before the run is begun."""
    first = pretraining_config(run.config)
    training_patches(first, train_pairs)
    strategy_scope(first.training.strategy, first.training.batch_size)
    for key, init, stage in starts(run):
        if not stage.adversarial.on:
            start_from(stage, init, compiled_generator(stage, train_pairs[0].hr.shape[-1]), key)


def _describe(
    run: Run, degradation: Degradation, channels: int, train_pairs: list[Any], generator: Model
) -> ModelInfo:
    config = run.config
    training = run.about_training(
        parameters=generator.count_params(),
        train_slices=_slice_count(config, train_pairs),
    )
    if config.adversarial.on:
        training["adversarial"] = described(config.adversarial)
    return ModelInfo(
        scale=max(config.factors),
        factors=config.factors,
        neighbours=config.data.neighbours,
        channels=channels,
        generator=dict(config.generator),
        degradation=degradation.to_dict(),
        data={**run.about_data(), "separate_channels": config.data.separate_channels},
        training=training,
        version=__version__,
        consistent=config.adversarial.on and config.adversarial.consistency,
    )
