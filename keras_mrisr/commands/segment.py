"""`mrisr segment`: train, predict and evaluate."""

import shlex

from keras_mrisr.commands.arguments import add_data_kind, check_exists, read_training_data, stopped


def add(commands, common):
    segment = commands.add_parser("segment", help="find lesions with a U-Net; does super-resolution help it?")
    actions = segment.add_subparsers(title="commands", metavar="COMMAND")
    _add_train(actions, common)
    _add_predict(actions, common)
    _add_evaluate(actions, common)


KEYS = {
    "data": ["data.root", "data.kind", "data.patient_pattern"],
    "training": [
        f"training.{key}"
        for key in ("epochs", "batch_size", "patch_size", "learning_rate", "precision", "strategy", "seed")
    ],
}


def _add_train(actions, common):
    train = actions.add_parser(
        "train",
        parents=[common],
        help="train a U-Net on slices with masks",
        description="Train a U-Net on slices with NAME_mask files. Started again with the same words, a "
        "stopped run is resumed.",
        example="mrisr segment train --data slices --out unet --preset compact",
        options=_add_train_options,
    )
    train.set_defaults(run=_train)


def _add_train_options(parser):
    from keras_mrisr.commands.config_options import add_config_options

    parser.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    parser.add_argument("--preset", default="full", help="compact (CPU) or full (GPU, the default)")
    add_config_options(parser, _base, KEYS)


def _base(options):
    from keras_mrisr.segmentation.config import segmentation_preset

    return segmentation_preset(getattr(options, "preset", "full"))


def _add_predict(actions, common):
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


def _add_evaluate(actions, common):
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


def _train(options):
    from keras_mrisr.commands.config_options import read_config_options
    from keras_mrisr.terminal import load_tensorflow, say, training_progress

    if getattr(options, "data.root") is not None:
        check_exists(getattr(options, "data.root"))
    load_tensorflow()
    config = read_config_options(options, _base(options))
    dataset = read_training_data(config)
    from keras_mrisr.segmentation import train_segmenter
    from keras_mrisr.training import Interrupted

    try:
        with training_progress(config.training.epochs, config.training.steps_per_epoch) as report:
            run = train_segmenter(config, options.out, options.overwrite, dataset, report=report)
    except Interrupted:
        return stopped()
    words = ["mrisr", "segment", "evaluate", "--model", str(run), "--data", config.data.root]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    say(f"Trained U-Net in {run}. Next:\n  {shlex.join(words)}")
    return 0


def _predict(options):
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


def _evaluate(options):
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
