"""`mrisr segment`: train, predict and evaluate."""

import argparse
from typing import Any

from keras_mrisr.commands.arguments import Commands, Parser, add_data_kind, check_exists
from keras_mrisr.commands.training import Task, add_training_command, next_command

KEYS = (
    "data.root", "data.kind", "data.patient_pattern", "training.epochs", "training.batch_size",
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
        tasks={"segmentation": Task(KEYS, _base, _train, PRESETS)},
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
    evaluate.add_argument("--data", metavar="ROOT", required=True, help="folder of slices with masks")
    add_data_kind(evaluate)
    evaluate.add_argument("--part", default="test", help="test, all-unseen or held-out (default: test)")
    evaluate.add_argument("--largest", action="store_true", help="only the largest lesion of a patient")
    evaluate.add_argument("--out", help="folder for JSON, CSV and overlay (default: UNET/evaluation-PART)")
    evaluate.add_argument("--overwrite", action="store_true", help="replace an existing --out")
    evaluate.set_defaults(run=_evaluate)


def _predict(options: argparse.Namespace) -> None:
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    check_exists(options.input, options.model)
    load_tensorflow()
    from keras_mrisr.segmentation import Segmenter, segment_path

    segmenter = Segmenter.load(options.model)
    with progress_bar("Segmenting") as progress:
        written = segment_path(
            options.input,
            options.output,
            segmenter,
            largest=options.largest,
            patient_pattern=options.patient_pattern,
            overwrite=options.overwrite,
            progress=progress,
        )
    where = written[0] if len(written) == 1 else f"{len(written)} masks to {options.output}"
    say(f"Wrote {where}")


def _evaluate(options: argparse.Namespace) -> None:
    import pathlib

    from keras_mrisr.terminal import load_tensorflow, progress_bar, say, show

    check_exists(options.model, options.data)
    load_tensorflow()
    from keras_mrisr.commands.naming import named_paths
    from keras_mrisr.segmentation import evaluate_segmentation

    out = options.out
    if out is None:
        folder = pathlib.Path(options.model)
        out = (folder.parent if folder.suffix == ".keras" else folder) / f"evaluation-{options.part}"
    with progress_bar("Segmenting patients") as progress:
        evaluation = evaluate_segmentation(
            options.model,
            options.data,
            named_paths(options.sr_model),
            out,
            part=options.part,
            kind=options.kind,
            patient_pattern=options.patient_pattern,
            largest=options.largest,
            overwrite=options.overwrite,
            progress=progress,
        )
    show(evaluation.report())
    say(f"Wrote {out}")
