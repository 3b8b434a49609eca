"""From planes with fine detail to a trained network for thick slices, with the habits of `training.train`."""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.data.fine_planes import FinePlanes, load_fine_planes
from keras_mrisr.data.slices import SliceDataset, evenly_spaced
from keras_mrisr.data.splits import Split
from keras_mrisr.errors import ConfigError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.model_info import THROUGH_PLANE, ThroughPlaneInfo
from keras_mrisr.models.storage import WEIGHTS, load_description, load_network, save_trained
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.pretrained import find_model
from keras_mrisr.through_plane_config import MULTIPLE, ThroughPlaneConfig
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.adversarial import (
    check_feature_weights,
    check_stage,
    compiled_gan,
    described,
    feature_network,
    pretraining_config,
)
from keras_mrisr.training.card import through_plane_card
from keras_mrisr.training.generator import compile_network, trained_networks
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.srgan import SRGAN
from keras_mrisr.training.stage import first_stage, fit_stage, starts
from keras_mrisr.training.strategy import dtype_policy, strategy_scope
from keras_mrisr.training.through_plane_patches import THICKNESS, ThroughPlanePatches
from keras_mrisr.training.through_plane_validation import (
    PROTOCOL,
    SAMPLE,
    AdversarialLineValidation,
    LineValidation,
    line_pairs,
)
from keras_mrisr.types import Model, PathLike
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

RATE_AT_END = 0.01  # Of a cosine, as a share of that at the start.


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
        TrainingDivergedError: Values that are not finite, or a sick adversarial training.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    if config.adversarial.on:
        check_stage(config)
    with opened_run(config, out, overwrite, report) as run:
        _train(run, dataset, split)
    return run.out


def _train(run: Run, dataset: SliceDataset | None, split: Split | None) -> None:
    config, training, adversarial = run.config, run.config.training, run.config.adversarial.on
    inits = starts(run)
    networks = {key: _load_start(stage, init, key) for key, init, stage in inits}
    infos = [(key, init, load_description(init, ThroughPlaneInfo)) for key, init, _ in inits]
    train_files, val_files = run.read(dataset, split, starts=infos)
    images = load_fine_planes(train_files, training.least_edge)
    patches = _patches(config, images)
    features = _adversarial_parts(run, patches, train_files) if adversarial else None
    pairs = line_pairs(_chosen(load_fine_planes(val_files), training.validation_planes), training.factor)
    if run.dataset.holds_volumes:  # Those are what is scored, in 3-D.
        run.check_test_patients(channels=1)

    def make() -> Model:
        model = (
            compiled_through_plane_gan(config, features) if adversarial else compiled_through_plane(config)
        )
        if "training.init" in networks:
            _hand_over(networks["training.init"], model)
        return model

    model = run.build(make)
    run.claim()
    if adversarial and not (run.resumed or training.init):
        first = first_stage(run, train_through_plane)
        run.start(model, lambda: _hand_over(load_network(first / WEIGHTS), model))
    network = through_plane(**config.generator.to_dict())
    info = _describe(run, images, network)
    resolver = ThroughPlaneResolver(network, info)
    validation = LineValidation(resolver, pairs)
    if adversarial:
        weights = {name: getattr(config.adversarial, name) for name in ("perception", "realism", "kid")}
        validation = AdversarialLineValidation(resolver, pairs, features, run.state, **weights)

    def save(best: ThroughPlaneInfo) -> None:
        save_trained(run.out, network, best, through_plane_card(best))

    fit_stage(
        run, model, patches, validation, info, save,
        about={"planes": len(pairs), "protocol": PROTOCOL}, sampler=validation.samples, shown=SAMPLE,
    )  # fmt: skip


def _adversarial_parts(run: Run, patches: ThroughPlanePatches, train_files: SliceDataset) -> Any:
    """The feature network, once all that both stages need was found to be good."""
    config, training = run.config, run.config.training
    edge = min(training.width, patches.fewest_lines)
    features = feature_network(config, edge, "training.slices and training.width")
    check_feature_weights(config, run.split)
    if not (run.resumed or training.init):
        first = pretraining_config(config)
        strategy_scope(first.training.strategy, first.training.batch_size)
        if first.training.least_edge > training.least_edge:
            _patches(first, load_fine_planes(train_files, first.training.least_edge))
    return features


def _hand_over(network: Model, model: Model) -> None:
    """Starts a model of this run, a network or an `SRGAN`, from trained weights."""
    for one in trained_networks(model):
        one.set_weights(network.get_weights())


def compiled_through_plane(config: ThroughPlaneConfig) -> Model:
    """Builds and compiles what a `ThroughPlaneConfig` asks for, in the distribution scope of the caller."""
    training = config.training
    with dtype_policy(training.precision):
        model = through_plane(**config.generator.to_dict())
    return compile_network(model, training, RATE_AT_END)


def compiled_through_plane_gan(config: ThroughPlaneConfig, features: Any) -> SRGAN:
    """Builds and compiles the `SRGAN` of the adversarial stage, in the distribution scope of the caller.

    Args:
        config: An adversarial `ThroughPlaneConfig`.
        features: The `FeatureNetwork`, or None if the run needs none.
    """
    discriminator = {"channels": 1, **config.adversarial.discriminator}
    return compiled_gan(config, lambda: through_plane(**config.generator.to_dict()), discriminator, features)


def _load_start(config: ThroughPlaneConfig, init: PathLike, key: str) -> Model:
    """The network that a config's key names."""
    info = load_description(init, ThroughPlaneInfo)
    wanted = config.generator.to_dict()
    if info.generator != wanted:
        raise ConfigError(
            f"{key}: {init} has the network {info.generator}, this run {wanted}. Choose the same."
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
        multiple=MULTIPLE if config.adversarial.on else 1,
        seed=training.seed,
    )


def _chosen(planes: FinePlanes, count: int) -> FinePlanes:
    return FinePlanes([planes.planes[place] for place in evenly_spaced(len(planes), count)])


def _describe(run: Run, images: FinePlanes, network: Model) -> ThroughPlaneInfo:
    done = run.about_training(parameters=network.count_params(), train_planes=len(images))
    if run.config.adversarial.on:
        done["adversarial"] = described(run.config.adversarial)
    return ThroughPlaneInfo(
        task=THROUGH_PLANE,
        generator=run.config.generator.to_dict(),
        factors=list(map(float, run.config.training.factor)),
        thickness=list(THICKNESS),
        data=run.about_data(),
        training=done,
        version=__version__,
    )
