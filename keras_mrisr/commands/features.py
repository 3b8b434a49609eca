"""`mrisr features`: fine-tune the network of the perceptual loss."""

import argparse
import pathlib
import shlex
import typing

from keras_mrisr.commands.arguments import Parser, check_exists, read_training_data, stopped

if typing.TYPE_CHECKING:
    from keras_mrisr.finetune.config import FinetuneConfig


KEYS = {
    "data": ["data.root", "data.kind", "data.patient_pattern"],
    "network": ["network", "weights", "labels", "trainable"],
    "training": [
        f"training.{key}"
        for key in ("epochs", "batch_size", "image_size", "learning_rate", "precision", "seed")
    ],
}


def add(commands: "argparse._SubParsersAction[Parser]", common: argparse.ArgumentParser) -> None:
    features = commands.add_parser("features", help="fine-tune the network of the perceptual loss on MRI")
    actions = features.add_subparsers(title="commands", metavar="COMMAND")
    finetune = actions.add_parser(
        "finetune",
        parents=[common],
        help="fine-tune VGG on the slices of the training patients",
        description="Fine-tune VGG on the slices of the training patients; the label tumour needs NAME_mask "
        "files. Started again with the same words, a stopped run is resumed.",
        example="mrisr features finetune --data slices --out features --labels sequence",
        options=_add_options,
    )
    finetune.set_defaults(run=_finetune)


def _add_options(parser: Parser) -> None:
    from keras_mrisr.commands.config_options import add_config_options

    parser.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    add_config_options(parser, _base, KEYS)


def _base(options: argparse.Namespace) -> "FinetuneConfig":
    from keras_mrisr.finetune.config import FinetuneConfig

    return FinetuneConfig()


def _finetune(options: argparse.Namespace) -> int:
    from keras_mrisr.commands.config_options import read_config_options
    from keras_mrisr.terminal import load_tensorflow, print_rows, say, training_progress

    if getattr(options, "data.root") is not None:
        check_exists(getattr(options, "data.root"))
    load_tensorflow()
    config = read_config_options(options, _base(options))
    dataset = read_training_data(config)
    from keras_mrisr.finetune import finetune_features
    from keras_mrisr.finetune.storage import score_rows
    from keras_mrisr.training import Interrupted

    try:
        with training_progress(config.training.epochs, config.training.steps_per_epoch) as report:
            info = finetune_features(
                config, options.out, options.overwrite, dataset, report=report, progress=report.stage
            )
    except Interrupted:
        return stopped()
    print_rows(*score_rows(info.metrics), title="Linear heads on the features as they were / fine-tuned")
    say(f"Weights in {options.out}. Next:\n  {shlex.join(_next_words(config, pathlib.Path(options.out)))}")
    return 0


def _next_words(config: "FinetuneConfig", out: pathlib.Path) -> list[str]:
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
