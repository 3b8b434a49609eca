"""`mrisr train`."""

import argparse
import shlex
import typing

from keras_mrisr.commands.arguments import Parser, read_training_data, stopped

if typing.TYPE_CHECKING:
    from keras_mrisr.config import RunConfig

KEYS = {
    "data": ["data.root", "data.kind", "data.patient_pattern", "data.neighbours"],
    "network": ["scale", "degradation.name", "generator.name", "training.init"],
    "training": [
        f"training.{key}"
        for key in (
            "epochs", "batch_size", "patch_size", "optimizer", "learning_rate", "loss", "precision",
            "strategy", "seed",
        )
    ],
}  # fmt: skip


def add(commands: "argparse._SubParsersAction[Parser]", common: argparse.ArgumentParser) -> None:
    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a generator; started again with the same words, a stopped run is resumed",
        description="Train a generator. Started again with the same words, a stopped run is resumed.",
        example="mrisr train --data slices --out run --preset compact --set generator.blocks=4",
        options=_add_options,
    )
    train.set_defaults(run=_train)


def _add_options(parser: Parser) -> None:
    from keras_mrisr.commands.config_options import add_config_options

    parser.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    parser.add_argument("--preset", help="compact (CPU), full (GPU, the default) or paper")
    parser.add_argument(
        "--adversarial",
        metavar="PRESET",
        nargs="?",
        const="stable",
        help="train further against a discriminator: stable (the default) or paper",
    )
    add_config_options(parser, _base, KEYS)


def _base(options: argparse.Namespace) -> "RunConfig":
    from keras_mrisr import presets

    config = presets.preset_config(getattr(options, "preset", None) or presets.DEFAULT_PRESET)
    adversarial = getattr(options, "adversarial", None)
    return presets.adversarial_config(config, adversarial) if adversarial else config


def train_config(options: argparse.Namespace) -> "RunConfig":
    from keras_mrisr.commands.config_options import read_config_options

    return read_config_options(options, _base(options))


def _train(options: argparse.Namespace) -> int:
    from keras_mrisr.terminal import load_tensorflow, say, training_progress

    config = train_config(options)
    # Read first: a wrong path is answered before TensorFlow is loaded.
    dataset = read_training_data(config)
    load_tensorflow()
    from keras_mrisr.training import Interrupted, train

    epochs, steps = config.training.epochs, config.training.steps_per_epoch
    if config.adversarial.on and config.adversarial.pretraining:
        # Two stages with a count each.
        epochs, steps = None, (None if "steps_per_epoch" in config.adversarial.pretraining else steps)
    try:
        with training_progress(epochs, steps) as report:
            run = train(config, options.out, options.overwrite, dataset, report=report)
    except Interrupted:
        return stopped()
    words = ["mrisr", "evaluate", "--model", str(run), "--data", config.data.root]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    say(f"Trained model in {run}. Next:\n  {shlex.join(words)}")
    return 0
