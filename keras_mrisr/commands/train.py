"""`mrisr train`."""

import argparse
from typing import Any

from keras_mrisr.commands.arguments import Commands, Parser
from keras_mrisr.commands.training import add_training_command, next_command

KEYS = (
    "data.root", "data.kind", "data.patient_pattern", "data.neighbours",
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
            "help": "train further against a discriminator: stable (the default) or paper",
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
        keys=KEYS,
        base=_base,
        start=_train,
        presets=PRESETS,
    )


def _base(options: argparse.Namespace) -> Any:
    from keras_mrisr import presets

    preset, adversarial, init = (
        getattr(options, name, None) for name in ("preset", "adversarial", "training.init")
    )
    if init and not preset and not adversarial:
        from keras_mrisr.terminal import load_tensorflow

        load_tensorflow()
        from keras_mrisr.models.storage import load_info

        config = presets.continued_config(load_info(init))
    else:
        config = presets.preset_config(preset or presets.DEFAULT_PRESET)
    if lr_root := getattr(options, "lr_data", None):
        config = config.replace({"degradation": {"name": "paired", "lr_root": lr_root}})
    return presets.adversarial_config(config, adversarial) if adversarial else config


def _train(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.training import train

    run = train(config, options.out, options.overwrite, dataset, report=report)
    return f"Trained model in {run}. Next:\n  {next_command(['evaluate', '--model', run], config.data)}"
