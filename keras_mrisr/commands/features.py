"""`mrisr features`: fine-tune the network of the perceptual loss."""

import argparse
import pathlib
import shlex
from typing import Any

from keras_mrisr.commands.arguments import DATA_KEYS, Commands, Parser
from keras_mrisr.commands.training import Task, add_training_command

KEYS = (
    *DATA_KEYS, "network", "weights", "labels", "trainable",
    "training.epochs", "training.batch_size", "training.image_size", "training.learning_rate",
    "training.precision", "training.seed",
)  # fmt: skip


def add(commands: Commands, common: Parser) -> None:
    features = commands.add_parser("features", help="fine-tune the network of the perceptual loss on MRI")
    add_training_command(
        features.add_subparsers(title="commands", metavar="COMMAND"),
        common,
        "finetune",
        does="Fine-tune VGG on the slices of the training patients.",
        example="mrisr features finetune --data slices --out features --labels sequence",
        tasks={"features": Task(KEYS, _base, _finetune)},
    )


def _base(options: argparse.Namespace) -> Any:
    from keras_mrisr.finetune.config import FinetuneConfig

    return FinetuneConfig()


def _finetune(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.finetune import finetune_features
    from keras_mrisr.finetune.storage import score_rows
    from keras_mrisr.terminal import print_rows

    out = pathlib.Path(options.out)
    info = finetune_features(config, out, options.overwrite, dataset, report=report, progress=report.stage)
    print_rows(*score_rows(info.metrics), title="Linear heads on the features as they were / fine-tuned")
    return f"Weights in {out}. Next:\n  {shlex.join(_next_words(config, out))}"


def _next_words(config: Any, out: pathlib.Path) -> list[str]:
    """The command that trains through these features, with the same patients held out."""
    from keras_mrisr.config import DataConfig
    from keras_mrisr.finetune.storage import WEIGHTS

    words = ["mrisr", "train", "--data", config.data.root, "--out", f"{out}-gan", "--adversarial"]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    if config.data.patient_pattern is not None:
        words += ["--patient-pattern", config.data.patient_pattern]
    settings = {"adversarial.features.network": config.network, "adversarial.features.weights": out / WEIGHTS}
    for name in ("split_seed", "validation_fraction", "test_fraction"):
        value = getattr(config.data, name)
        if value != getattr(DataConfig(), name):
            settings[f"data.{name}"] = value
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    return words
