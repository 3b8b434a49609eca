"""`mrisr train`."""

import argparse
import shlex
from typing import Any

from keras_mrisr.commands.arguments import DATA_KEYS, Commands, Parser, check_exists
from keras_mrisr.commands.training import Task, add_training_command, next_command
from keras_mrisr.errors import ConfigError

KEYS = (
    *DATA_KEYS, "data.neighbours",
    "scale", "degradation.name", "generator.name",
    "training.init", "training.epochs", "training.batch_size", "training.patch_size", "training.optimizer",
    "training.learning_rate", "training.loss", "training.precision", "training.strategy", "training.seed",
)  # fmt: skip
PRESETS = (
    (
        "--preset",
        {
            "help": "compact (CPU), full (GPU, the default) or paper; the default with --init is the "
            "network of that model and a short training"
        },
    ),
    ("--lr-data", {"metavar": "FOLDER", "help": "measured LR images, under the names of those of --data"}),
    (
        "--adversarial",
        {
            "metavar": "PRESET",
            "nargs": "?",
            "const": "stable",
            "help": "train further against a discriminator: projected (on VGG features; with --init, from a "
            "finished model), stable (the default) or paper",
        },
    ),
)
THROUGH_PLANE_KEYS = (
    *DATA_KEYS,
    "training.init", "training.epochs", "training.batch_size", "training.optimizer",
    "training.learning_rate", "training.loss", "training.precision", "training.strategy", "training.seed",
)  # fmt: skip
THROUGH_PLANE_PRESETS = (
    (
        "--preset",
        {
            "help": "compact (CPU) or full (GPU, the default); the default with --init is the network of "
            "that model and a short training"
        },
    ),
)


def add(commands: Commands, common: Parser) -> None:
    add_training_command(
        commands,
        common,
        "train",
        does="Train a generator.",
        example="mrisr train --data slices --out run --preset compact --set generator.blocks=4",
        tasks={
            "in-plane": Task(KEYS, _base, _train, PRESETS),
            "through-plane": Task(
                THROUGH_PLANE_KEYS, _through_plane_base, _train_through_plane, THROUGH_PLANE_PRESETS
            ),
            "finish": Task(THROUGH_PLANE_KEYS, _finish_base, _train_finish),
        },
    )


def _base(options: argparse.Namespace) -> Any:
    from keras_mrisr import presets

    preset, adversarial, init = (
        getattr(options, name, None) for name in ("preset", "adversarial", "training.init")
    )
    if init and not preset:
        from keras_mrisr.terminal import load_tensorflow

        load_tensorflow()
        from keras_mrisr.models.storage import load_info

        config = presets.continued_config(load_info(init))
    else:
        config = presets.preset_config(preset or presets.DEFAULT_PRESET)
    if lr_root := getattr(options, "lr_data", None):
        check_exists(lr_root)
        config = config.replace({"degradation": {"name": "paired", "lr_root": lr_root}})
    return presets.adversarial_config(config, adversarial) if adversarial else config


def _train(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.training import train

    if getattr(options, "lr_data", None) and config.degradation["name"] != "paired":
        raise ConfigError(
            f"--lr-data is of measured pairs, and {config.degradation['name']} makes LR itself: leave out "
            "one of them."
        )

    run = train(config, options.out, options.overwrite, dataset, report=report)
    return f"Trained model in {run}. Next:\n  {next_command(['evaluate', '--model', run], config.data)}"


def _through_plane_base(options: argparse.Namespace) -> Any:
    from keras_mrisr.through_plane_config import continued_through_plane, through_plane_preset

    preset, init = (getattr(options, name, None) for name in ("preset", "training.init"))
    if not init or preset:
        return through_plane_preset(preset or "full")
    from keras_mrisr.terminal import load_tensorflow

    load_tensorflow()
    from keras_mrisr.model_info import ThroughPlaneInfo
    from keras_mrisr.models.storage import load_description

    return continued_through_plane(load_description(init, ThroughPlaneInfo))


def _train_through_plane(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.training.through_plane import train_through_plane

    return _next_upscale(train_through_plane(config, options.out, options.overwrite, dataset, report=report))


def _finish_base(options: argparse.Namespace) -> Any:
    from keras_mrisr.finish_config import FinishConfig

    return FinishConfig()


def _train_finish(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.training.finish import train_finish

    return _next_upscale(train_finish(config, options.out, options.overwrite, dataset, report=report))


def _next_upscale(run: Any) -> str:
    following = shlex.join(["mrisr", "upscale", "SCAN", "OUT", "--through-plane", "--model", str(run)])
    return f"Trained model in {run}. Next:\n  {following}"
