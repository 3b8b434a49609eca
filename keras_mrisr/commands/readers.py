"""`mrisr readers`: make a study with readers, and score their answers."""

import argparse

from keras_mrisr.commands.arguments import (
    Commands,
    Parser,
    add_degradation,
    add_perception,
    check_exists,
    check_models,
    parse_degradation,
    places_on_the_dial,
)


def add(commands: Commands, common: Parser) -> None:
    readers = commands.add_parser("readers", help="ask people which images are better, and score the answers")
    actions = readers.add_subparsers(title="commands", metavar="COMMAND")
    _add_make(actions, common)
    _add_score(actions, common)


def _add_make(actions: Commands, common: Parser) -> None:
    make = actions.add_parser("make", parents=[common], help="write a page that asks readers, and its key")
    make.add_argument(
        "--model", metavar="[NAME=]RUN", action="append", default=[], required=True,
        help="trained model directory, or a name from mrisr models; several to compare them",
    )  # fmt: skip
    make.add_argument("--data", metavar="ROOT", required=True, help="folder of the HR slices, or of volumes")
    make.add_argument(
        "--out", metavar="HTML", required=True, help="page to write; NAME.key.json lies beside it"
    )
    make.add_argument(
        "--kind", choices=("nearer", "real", "scores"), default="nearer",
        help="which of two is nearer to the original, which of two looks like a real scan, or scores 1 to 5 "
        "(default: nearer)",
    )  # fmt: skip
    make.add_argument("--cases", type=int, default=40, help="slices (default: 40)")
    make.add_argument("--catch", type=int, default=4, help="questions with a plain answer (default: 4)")
    make.add_argument("--seed", type=int, default=0, help="of the order and the sides (default: 0)")
    make.add_argument("--title", default="Reader study", help="heading of the page (default: Reader study)")
    make.add_argument("--methods", help="interpolators that take part: bicubic,lanczos (default: none)")
    make.add_argument("--part", default="test", help="test, val, all-unseen or held-out (default: test)")
    make.add_argument("--data-kind", default="auto", help="auto, lgg, images or volumes (default: auto)")
    make.add_argument(
        "--patient-pattern", metavar="REGEX", help="finds the patient in a file's path (default: its folder)"
    )
    make.add_argument("--consistency", action="store_true", help="make SR agree with what was measured")
    add_perception(make, several=True)
    add_degradation(make)
    make.add_argument("--overwrite", action="store_true", help="replace an existing page and key")
    make.set_defaults(run=_make)


def _make(options: argparse.Namespace) -> None:
    from keras_mrisr.commands.naming import named_paths
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say

    models = named_paths(options.model)
    check_exists(options.data)
    check_models(*models.values())
    degradation = parse_degradation(options.degradation)
    load_tensorflow()
    from keras_mrisr.evaluation import EvaluationOptions, make_study
    from keras_mrisr.evaluation.readers.study import key_path

    shown = EvaluationOptions(
        part=options.part,
        kind=options.data_kind,
        patient_pattern=options.patient_pattern,
        degradation=degradation,
        consistency=options.consistency,
        perception=places_on_the_dial(options),
        methods=options.methods.split(",") if options.methods else (),
        metrics=("psnr",),
    )
    names = ("kind", "cases", "catch", "seed", "title", "overwrite")
    with progress_bar("Drawing cases") as progress:
        study = make_study(
            models, options.data, options.out, options=shown, progress=progress,
            **{name: getattr(options, name) for name in names},
        )  # fmt: skip
    catches = sum(one.catch for one in study.trials)
    say(f"Wrote {options.out}: {len(study.trials)} questions, {catches} of them catch trials.")
    say(f"Wrote {key_path(options.out)}: says which image is which. Keep it from the readers.")


def _add_score(actions: Commands, common: Parser) -> None:
    score = actions.add_parser("score", parents=[common], help="mean scores, paired tests and agreement")
    score.add_argument("answers", metavar="CSV", nargs="+", help="files that readers saved")
    score.add_argument("--key", metavar="JSON", help="key of the page (default: the fitting one beside CSV)")
    score.add_argument(
        "--exclude", metavar="READER", action="append", default=[], help="leave out a reader, by name"
    )
    score.add_argument("--out", metavar="JSON", help="also write all numbers to this file")
    score.add_argument("--overwrite", action="store_true", help="replace an existing --out")
    score.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> None:
    from keras_mrisr.files import check_new_file, check_not_source, write_json
    from keras_mrisr.terminal import load_tensorflow, say, show

    check_exists(*options.answers, *([options.key] if options.key else []))
    if options.out:
        check_new_file(options.out, options.overwrite)
        check_not_source(options.out, *options.answers, *([options.key] if options.key else []))
    load_tensorflow()
    from keras_mrisr.evaluation import score_study

    found = score_study(options.answers, options.key, exclude=options.exclude)
    show(found.report())
    if options.out:
        write_json(options.out, found.to_dict())
        say(f"Wrote {options.out}")
