"""From planes with fine detail to a trained network for thick slices, with the habits of `training.train`."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from keras_mrisr.data.fine_planes import FinePlanes, load_fine_planes
from keras_mrisr.data.slices import SliceDataset, evenly_spaced
from keras_mrisr.data.splits import Split, check_unseen
from keras_mrisr.errors import ConfigError
from keras_mrisr.files import whole_file
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.losses.psnr import PSNRLoss
from keras_mrisr.model_info import THROUGH_PLANE, ThroughPlaneInfo
from keras_mrisr.models.storage import WEIGHTS, load_description, load_network, save_trained
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.pretrained import find_model
from keras_mrisr.through_plane_config import ThroughPlaneConfig
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.card import through_plane_card
from keras_mrisr.training.muon import make_optimizer
from keras_mrisr.training.record import Record
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.training.through_plane_patches import THICKNESS, ThroughPlanePatches
from keras_mrisr.training.through_plane_validation import PROTOCOL, SAMPLE, LineValidation, line_pairs
from keras_mrisr.types import Model, PathLike
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

LAST = "last.keras"


def train_through_plane(
    config: ThroughPlaneConfig,
    out: PathLike,
    overwrite: bool = False,
    dataset: SliceDataset | None = None,
    split: Split | None = None,
    report: cb.Report | None = None,
) -> pathlib.Path:
    """Trains a network that makes thick slices thin, or resumes a run; see `training.train` for both.

    The run's folder is a model directory from the first epoch on, which `ThroughPlaneResolver.load` takes.

    Args:
        config: A `ThroughPlaneConfig`.
        out: Folder of the run.
        overwrite: Delete what is in `out` and start again.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        ConfigError: A bad configuration, or an `out` of something else.
        DataError: Bad data, other data than the run began with, or another process trains in `out`.
        ModelError: A bad model to start from.
        TrainingDivergedError: Values that are not finite.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    with opened_run(config, out, overwrite, report) as run:
        _train(run, dataset, split)
    return run.out


def _train(run: Run, dataset: SliceDataset | None, split: Split | None) -> None:
    config, training, state = run.config, run.config.training, run.state
    start = None if run.resumed or training.init is None else _load_start(config)
    train_files, val_files = run.read(dataset, split)
    if start is not None:
        info = load_description(training.init, ThroughPlaneInfo)
        check_unseen("training.init", training.init, info.data.get("split") or {}, run.split)
    images = load_fine_planes(train_files, training.least_edge)
    patches = _patches(config, images)
    pairs = line_pairs(_chosen(load_fine_planes(val_files), training.validation_planes), training.factor)
    if run.dataset.holds_volumes:  # Those are what is scored, in 3-D.
        run.check_test_patients(channels=1)

    def make() -> Model:
        model = compiled_through_plane(config)
        if start is not None:
            model.set_weights(start.get_weights())
        return model

    model = run.build(make)
    run.claim()
    network = through_plane(**config.generator.to_dict())
    info = _describe(run, images, network)
    validation = LineValidation(ThroughPlaneResolver(network, info), pairs)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {
            **{name: value for name, value in logs.items() if name.startswith("val_")},
            "epoch": state.best_epoch,
            "planes": len(pairs),
            "protocol": PROTOCOL,
        }
        done = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=done)
        save_trained(run.out, network, best, through_plane_card(best))

    def save_last() -> None:
        with whole_file(run.out / LAST) as temporary:
            network.save(temporary)

    chain = [
        cb.FiniteLoss(),
        validation,
        cb.KeepBest(state, save_best, training.early_stopping),
        cb.SaveLast(save_last),
        Record(run.out, state, validation.samples, shown=SAMPLE),
    ]
    run.fit(model, patches, chain)


def compiled_through_plane(config: ThroughPlaneConfig) -> Model:
    """Builds and compiles what a `ThroughPlaneConfig` asks for, in the distribution scope of the caller."""
    training = config.training
    with dtype_policy(training.precision):
        model = through_plane(**config.generator.to_dict())
    return compile_through_plane(model, training)


def compile_through_plane(model: Model, training: Any) -> Model:
    """Compiles a network as the `training` of a config for thick slices says, and returns it."""
    rate: Any = training.learning_rate
    if training.schedule == "cosine":
        steps = training.epochs * training.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.01)
    optimizer = make_optimizer(training.optimizer, rate, training.clip_norm, training.optimizer)
    model.compile(optimizer, loss=PSNRLoss() if training.loss == "psnr" else training.loss)
    return model


def _load_start(config: ThroughPlaneConfig) -> Model:
    """The network that `training.init` names."""
    init = str(config.training.init)
    info = load_description(init, ThroughPlaneInfo)
    wanted = config.generator.to_dict()
    if info.generator != wanted:
        raise ConfigError(
            f"training.init: {init} has the network {info.generator}, this run {wanted}. Choose the same."
        )
    path = find_model(init)
    return load_network(path if path.suffix == ".keras" else path / WEIGHTS)


def _patches(config: ThroughPlaneConfig, images: Sequence[Any]) -> ThroughPlanePatches:
    training = config.training
    low, high = map(float, training.factor)
    return ThroughPlanePatches(
        images,
        slices=training.slices,
        width=training.width,
        batch_size=training.batch_size,
        steps=training.steps_per_epoch,
        factor=(low, high),
        candidates=training.candidates,
        seed=training.seed,
    )


def _chosen(planes: FinePlanes, count: int) -> FinePlanes:
    return FinePlanes([planes.planes[place] for place in evenly_spaced(len(planes), count)])


def _describe(run: Run, images: FinePlanes, network: Model) -> ThroughPlaneInfo:
    return ThroughPlaneInfo(
        task=THROUGH_PLANE,
        generator=run.config.generator.to_dict(),
        factors=list(map(float, run.config.training.factor)),
        thickness=list(THICKNESS),
        data=run.about_data(),
        training=run.about_training(parameters=network.count_params(), train_planes=len(images)),
        version=__version__,
    )
