"""`mrisr evaluate`."""

from keras_mrisr.commands.common import add_data_kind, check_exists


def add(commands, common):
    evaluate = commands.add_parser(
        "evaluate", parents=[common], help="score a model on patients that it never saw"
    )
    evaluate.add_argument("--model", metavar="RUN", required=True, help="trained model directory")
    evaluate.add_argument("--data", metavar="ROOT", required=True, help="folder of the data")
    add_data_kind(evaluate)
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

    check_exists(options.model, options.data)
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
