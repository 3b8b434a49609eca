"""`mrisr segment`: train, predict and evaluate."""

import argparse
import os
import pathlib
from typing import Any

from keras_mrisr.commands.arguments import (
    DATA_KEYS,
    Commands,
    Parser,
    add_choice,
    add_data_kind,
    add_perception,
    check_exists,
    choice_of,
    places_on_the_dial,
)
from keras_mrisr.commands.training import Task, add_training_command, next_command
from keras_mrisr.errors import ConfigError

KEYS = (
    *DATA_KEYS, "training.epochs", "training.batch_size",
    "training.patch_size", "training.learning_rate", "training.precision", "training.strategy",
    "training.seed",
)  # fmt: skip
PRESETS = (("--preset", {"default": "full", "help": "compact (CPU) or full (GPU, the default)"}),)


def add(commands: Commands, common: Parser) -> None:
    segment = commands.add_parser("segment", help="find lesions with a U-Net; does super-resolution help it?")
    actions = segment.add_subparsers(title="commands", metavar="COMMAND")
    add_training_command(
        actions,
        common,
        "train",
        does="Train a U-Net on slices with NAME_mask files.",
        example="mrisr segment train --data slices --out unet --preset compact",
        tasks={"segmentation": Task(KEYS, _base, _train, PRESETS, masks=True)},
    )
    _add_predict(actions, common)
    _add_evaluate(actions, common)


def _base(options: argparse.Namespace) -> Any:
    from keras_mrisr.segmentation.config import segmentation_preset

    return segmentation_preset(getattr(options, "preset", "full"))


def _train(config: Any, options: argparse.Namespace, dataset: Any, report: Any) -> str:
    from keras_mrisr.segmentation import train_segmenter

    run = train_segmenter(config, options.out, options.overwrite, dataset, report=report)
    following = next_command(["segment", "evaluate", "--model", run], config.data)
    return f"Trained U-Net in {run}. Next:\n  {following}"


def _add_predict(actions: Commands, common: Parser) -> None:
    predict = actions.add_parser("predict", parents=[common], help="write masks of an image or a folder")
    predict.add_argument("input", metavar="IN", help="image (PNG, TIFF, JPEG) or folder")
    predict.add_argument("output", metavar="OUT", help="mask or folder to write")
    predict.add_argument("--model", metavar="RUN", required=True, help="directory of a trained U-Net")
    predict.add_argument(
        "--patient-pattern", metavar="REGEX", help="finds the patient in a file's path (default: its folder)"
    )
    predict.add_argument("--largest", action="store_true", help="only the largest lesion of a patient")
    predict.add_argument("--overwrite", action="store_true", help="replace what exists at OUT")
    folders = predict.add_argument_group(
        "of folders", "Each mask is written as soon as it is done; a bad image stops no other."
    )
    add_choice(folders, "IN")
    folders.add_argument(
        "--skip-existing", action="store_true", help="make only masks that are not yet at OUT: resumes"
    )
    predict.set_defaults(run=_predict)


def _add_evaluate(actions: Commands, common: Parser) -> None:
    evaluate = actions.add_parser(
        "evaluate", parents=[common], help="Dice and lesion recall on unseen patients: HR, bicubic and SR"
    )
    evaluate.add_argument("--model", metavar="UNET", required=True, help="directory of a trained U-Net")
    evaluate.add_argument(
        "--sr-model",
        metavar="[NAME=]RUN",
        action="append",
        default=[],
        help="a super-resolution model, as often as you like (all of one scale)",
    )
    add_perception(evaluate, several=True)
    evaluate.add_argument("--data", metavar="ROOT", required=True, help="folder of slices with masks")
    add_data_kind(evaluate)
    add_choice(evaluate, "ROOT")
    evaluate.add_argument("--part", default="test", help="test, all-unseen or held-out (default: test)")
    evaluate.add_argument("--largest", action="store_true", help="only the largest lesion of a patient")
    evaluate.add_argument("--out", help="folder for JSON, CSV and overlay (default: UNET/evaluation-PART)")
    evaluate.add_argument("--overwrite", action="store_true", help="replace an existing --out")
    evaluate.set_defaults(run=_evaluate)


def _predict(options: argparse.Namespace) -> None:
    from keras_mrisr.folders import check_results, refuse_incomplete
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    check_exists(options.input, options.model)
    if os.path.isdir(options.input):
        check_results(pathlib.Path(options.input), options.output, options.overwrite, options.skip_existing)
    load_tensorflow()
    from keras_mrisr.segmentation import Segmenter
    from keras_mrisr.segmentation.predict import segment_input

    segmenter = Segmenter.load(options.model)
    with progress_bar("Segmenting") as progress:
        outcome = segment_input(
            options.input,
            options.output,
            segmenter,
            largest=options.largest,
            patient_pattern=options.patient_pattern,
            overwrite=options.overwrite,
            skip_existing=options.skip_existing,
            choice=choice_of(options),
            progress=progress,
        )
    written = outcome.written
    where = written[0] if len(written) == 1 else f"{len(written)} masks to {options.output}"
    say(f"Wrote {where}" if written else f"Nothing is missing in {options.output}")
    refuse_incomplete(outcome.failures, "segmented")


def _evaluate(options: argparse.Namespace) -> None:
    from keras_mrisr.files import check_new_directory
    from keras_mrisr.folders import refuse_incomplete
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say, show

    check_exists(options.model, options.data)
    out = options.out
    if out is None:
        folder = pathlib.Path(options.model)
        out = (folder.parent if folder.suffix == ".keras" else folder) / f"evaluation-{options.part}"
    check_new_directory(out, options.overwrite)
    load_tensorflow()
    from keras_mrisr.commands.naming import named_paths
    from keras_mrisr.segmentation import evaluate_segmentation

    if isinstance(options.perception, list) and not options.sr_model:
        raise ConfigError("--perception is of a super-resolution model: give --sr-model, too.")
    with progress_bar("Segmenting patients") as progress:
        evaluation = evaluate_segmentation(
            options.model,
            options.data,
            named_paths(options.sr_model),
            out,
            perception=places_on_the_dial(options),
            part=options.part,
            kind=options.kind,
            patient_pattern=options.patient_pattern,
            largest=options.largest,
            overwrite=options.overwrite,
            choice=choice_of(options),
            progress=progress,
        )
    show(evaluation.report())
    say(f"Wrote {out}")
    refuse_incomplete(evaluation.failures, "scored")
