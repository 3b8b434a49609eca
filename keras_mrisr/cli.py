"""The `mrisr` command: turns arguments into a config and calls one library function."""

import argparse
import os
import shlex
import sys

from keras_mrisr.errors import InputError
from keras_mrisr.version import __version__


class _Parser(argparse.ArgumentParser):
    """One line for a usage error, as for any other bad input."""

    def error(self, message):
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def main(arguments=None):
    """Runs one command.

    Args:
        arguments: List of words; by default those of the command line.

    Returns:
        Exit code: 0 done, 2 bad input (one line on stderr), 130 stopped by the user.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        getattr(options, "parser", parser).print_help()
        return 0
    from keras_mrisr.terminal import start_logging

    start_logging(options.quiet)
    try:
        return options.run(options) or 0
    except InputError as error:
        if options.debug:
            raise
        return _fail(str(error), 2)
    except OSError as error:
        if options.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)


def _fail(message, code):
    print(f"mrisr: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _build_parser():
    parser = _Parser(prog="mrisr", description="Super-resolution of MRI. For research; not a medical device.")
    parser.add_argument("--version", action="version", version=f"keras-mrisr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="only results and errors")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for add in (_add_demo, _add_data, _add_train, _add_evaluate, _add_upscale):
        add(commands, common)
    return parser


def _add_demo(commands, common):
    demo = commands.add_parser(
        "demo", parents=[common], help="train a small x2 model on a real brain and look at the result"
    )
    demo.add_argument("--out", default="demo", help="folder to write (default: demo)")
    demo.add_argument(
        "--epochs",
        type=int,
        default=20,
        help="length of the training, under 10 s each on 2 cores (default: 20)",
    )
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    demo.set_defaults(run=_demo)


def _demo(options):
    from keras_mrisr.terminal import load_tensorflow, say, show, training_progress

    load_tensorflow()
    from keras_mrisr.demo import NEXT_STEPS, STEPS, run_demo
    from keras_mrisr.training import Interrupted

    try:
        with training_progress(options.epochs, STEPS) as report:
            evaluation = run_demo(
                options.out,
                options.epochs,
                overwrite=options.overwrite,
                report=report,
                progress=report.stage,
            )
    except Interrupted:
        return _stopped()
    show(evaluation.report())
    say(NEXT_STEPS.format(out=shlex.quote(options.out)))
    return 0


def _stopped():
    from keras_mrisr.terminal import say

    say("Stopped; everything is kept. The same command goes on from here.")
    return 130


def _add_data(commands, common):
    data = commands.add_parser("data", help="look at data, download a public set")
    data.set_defaults(parser=data)
    actions = data.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    inspect = actions.add_parser("inspect", parents=[common], help="what is in a folder, and what is odd")
    inspect.add_argument("root", help="folder of the data")
    _add_data_kind(inspect)
    inspect.add_argument("--sheet", metavar="PNG", help="also write a contact sheet")
    inspect.add_argument("--all", action="store_true", help="list every finding")
    inspect.set_defaults(run=_inspect)
    download = actions.add_parser("download", parents=[common], help="fetch a public data set")
    download.add_argument("name", help="lgg: Buda et al., lower-grade glioma, from Kaggle")
    download.add_argument("dest", help="folder to write")
    download.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    download.set_defaults(run=_download)


def _add_data_kind(parser):
    parser.add_argument("--kind", default="auto", help="auto, lgg or images (default: auto)")
    parser.add_argument(
        "--patient-pattern",
        metavar="REGEX",
        help="finds the patient in a file's relative path (default: its folder)",
    )


def _inspect(options):
    from keras_mrisr.data import read_dataset
    from keras_mrisr.data.contact import contact_sheet
    from keras_mrisr.data.inspect import inspect_dataset
    from keras_mrisr.terminal import print_rows, progress_bar, say

    dataset = read_dataset(options.root, options.kind, options.patient_pattern)
    with progress_bar("Reading slices") as progress:
        report = inspect_dataset(dataset, progress=progress)
    print_rows(*report.to_table(), title=f"{dataset.root} ({dataset.kind})")
    for line in report.finding_lines(**({"per_kind": sys.maxsize} if options.all else {})):
        say(line)
    if options.sheet:
        contact_sheet(dataset, options.sheet)
        say(f"Wrote {options.sheet}")


def _download(options):
    from keras_mrisr.data.download import download_lgg
    from keras_mrisr.terminal import say

    if options.name != "lgg":
        raise InputError(f"Unknown data set {options.name!r}. Known: lgg.")
    dataset = download_lgg(options.dest, overwrite=options.overwrite)
    say(f"{dataset.extent} in {dataset.root}")


def _add_train(commands, common):
    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a generator; started again with the same words, a stopped run goes on",
    )
    train.add_argument("--data", metavar="ROOT", help="folder of the data")
    _add_data_kind(train)
    train.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    train.add_argument("--scale", type=int, help="2, 3, 4 or 8 (default: 2)")
    train.add_argument("--preset", help="compact (CPU), full (GPU, the default) or paper")
    train.add_argument(
        "--adversarial",
        metavar="PRESET",
        nargs="?",
        const="stable",
        help="train on against a discriminator: stable (the default) or paper",
    )
    train.add_argument("--config", metavar="YAML", help="config file, over the preset")
    train.add_argument("--degradation", help="paper or bicubic")
    train.add_argument("--generator", help="srresnet or edsr")
    train.add_argument("--epochs", type=int, help="rounds of training (default: the preset's)")
    train.add_argument("--batch-size", type=int, help="patches a step")
    train.add_argument("--patch-size", type=int, help="edge of the HR patches; 0 for whole slices")
    train.add_argument("--learning-rate", type=float, help="of Adam, at the start")
    train.add_argument("--loss", help="mean_absolute_error or mean_squared_error")
    train.add_argument("--precision", help="float32, mixed_bfloat16 or mixed_float16")
    train.add_argument("--strategy", help="none, or mirrored for all visible GPUs")
    train.add_argument("--init", metavar="RUN", help="start from the weights of this model")
    train.add_argument("--seed", type=int, help="of weights and patches (the split has its own)")
    train.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any other config key, e.g. "
        "generator.blocks=8 or data.split_seed=1",
    )  # fmt: skip
    train.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")
    train.set_defaults(run=_train)


# Options of `train` that are a config key of another name.
_TRAIN_KEYS = {
    "data": "data.root",
    "patient_pattern": "data.patient_pattern",
    "degradation": "degradation.name",
    "generator": "generator.name",
    "scale": "scale",
    **{
        key: f"training.{key}"
        for key in (
            "epochs", "batch_size", "patch_size", "learning_rate", "loss", "precision", "strategy",
            "init", "seed",
        )
    },
}  # fmt: skip


def _train_config(options):
    from keras_mrisr import config, presets

    base = presets.preset_config(options.preset or presets.DEFAULT_PRESET)
    if options.adversarial:
        base = presets.adversarial_config(base, options.adversarial)
    if options.config:
        base = config.read_config(options.config, base)
    given = {key: getattr(options, name) for name, key in _TRAIN_KEYS.items()}
    overrides = {key: value for key, value in given.items() if value is not None}
    if options.kind != "auto":
        overrides["data.kind"] = options.kind
    overrides.update(config.parse_override(text) for text in options.set)
    return base.replace(overrides)


def _train(options):
    from keras_mrisr.data import read_dataset
    from keras_mrisr.terminal import load_tensorflow, say, training_progress

    config = _train_config(options)
    if not config.data.root:
        raise InputError("No data: give --data ROOT, or data.root in the config.")
    # Read first: a wrong path is answered before TensorFlow is loaded.
    dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
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
        return _stopped()
    words = ["mrisr", "evaluate", "--model", str(run), "--data", config.data.root]
    if config.data.kind != "auto":
        words += ["--kind", config.data.kind]
    say(f"Trained model in {run}. Next:\n  {shlex.join(words)}")
    return 0


def _add_evaluate(commands, common):
    evaluate = commands.add_parser(
        "evaluate", parents=[common], help="score a model on patients that it never saw"
    )
    evaluate.add_argument("--model", metavar="RUN", required=True, help="trained model directory")
    evaluate.add_argument("--data", metavar="ROOT", required=True, help="folder of the data")
    _add_data_kind(evaluate)
    evaluate.add_argument("--part", default="test", help="test, val or all-unseen (default: test)")
    evaluate.add_argument("--scale", type=int, help="refuse a model of another scale")
    evaluate.add_argument("--limit", type=int, help="at most so many slices, evenly spaced")
    evaluate.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    evaluate.add_argument("--out", help="folder for JSON, CSV and figure (default: RUN/evaluation-PART)")
    evaluate.add_argument("--overwrite", action="store_true", help="replace an existing --out")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options):
    import pathlib

    from keras_mrisr.terminal import load_tensorflow, progress_bar, say, show

    _check_exists(options.model, options.data)
    load_tensorflow()
    from keras_mrisr.evaluation import evaluate_model

    out = options.out
    if out is None:
        folder = pathlib.Path(options.model)
        out = (folder.parent if folder.suffix == ".keras" else folder) / f"evaluation-{options.part}"
    with progress_bar("Scoring slices") as progress:
        evaluation = evaluate_model(
            options.model,
            options.data,
            out,
            part=options.part,
            kind=options.kind,
            patient_pattern=options.patient_pattern,
            scale=options.scale,
            limit=options.limit,
            ensemble=options.ensemble,
            overwrite=options.overwrite,
            progress=progress,
        )
    show(evaluation.report())
    say(f"Wrote {out}")


def _add_upscale(commands, common):
    upscale = commands.add_parser("upscale", parents=[common], help="enlarge an image or a folder of images")
    upscale.add_argument("input", metavar="IN", help="image (PNG, TIFF, JPEG) or folder")
    upscale.add_argument("output", metavar="OUT", help="image or folder to write")
    upscale.add_argument("--model", metavar="RUN", required=True, help="trained model directory")
    upscale.add_argument("--scale", type=int, help="refuse a model of another scale")
    upscale.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    upscale.add_argument("--overwrite", action="store_true", help="replace what exists at OUT")
    upscale.set_defaults(run=_upscale)


def _upscale(options):
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    _check_exists(options.input, options.model)
    load_tensorflow()
    from keras_mrisr.inference import SuperResolver, upscale_path

    resolver = SuperResolver.load(options.model)
    if options.scale is not None and options.scale != resolver.scale:
        raise InputError(
            f"{options.model} is a model for x{resolver.scale}. Received: --scale {options.scale}"
        )
    with progress_bar("Upscaling") as progress:
        written = upscale_path(
            options.input, options.output, resolver, options.ensemble, options.overwrite, progress
        )
    where = written[0] if len(written) == 1 else f"{len(written)} images to {options.output}"
    say(f"Wrote {where}")


def _check_exists(*paths):
    """Answers a wrong path at once, before TensorFlow is loaded."""
    for path in paths:
        if not os.path.exists(path):
            raise InputError(f"{path} does not exist. Check the path.")
