"""`mrisr evaluate`."""

import argparse

from keras_mrisr.commands.arguments import (
    Commands,
    Parser,
    add_data_kind,
    add_degradation,
    check_exists,
    check_models,
    parse_degradation,
)
from keras_mrisr.errors import ConfigError


def add(commands: Commands, common: Parser) -> None:
    evaluate = commands.add_parser(
        "evaluate", parents=[common], help="score models on patients that they never saw"
    )
    evaluate.add_argument(
        "--model", metavar="[NAME=]RUN", action="append", default=[],
        help="trained model directory, or a name from mrisr models; give several to compare them",
    )  # fmt: skip
    evaluate.add_argument(
        "--predictions", metavar="NAME=FOLDER", action="append", default=[],
        help="images that another program made, under the names of the HR slices",
    )  # fmt: skip
    evaluate.add_argument("--data", metavar="ROOT", required=True, help="folder of the data")
    add_data_kind(evaluate)
    evaluate.add_argument("--part", default="test", help="test, val, all-unseen or held-out (default: test)")
    evaluate.add_argument("--scale", type=int, help="refuse models of another scale")
    add_degradation(evaluate)
    evaluate.add_argument(
        "--noise-snr", type=float, metavar="SNR", help="add Rician noise of this signal-to-noise ratio to LR"
    )
    evaluate.add_argument("--limit", type=int, help="at most so many slices, evenly spaced")
    evaluate.add_argument(
        "--consistency", action="store_true", help="make the results agree with what was measured"
    )
    evaluate.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    evaluate.add_argument("--methods", help="interpolators (default: nearest,bicubic,lanczos)")
    evaluate.add_argument(
        "--metrics",
        help="default: psnr,ssim,ms_ssim,nrmse,hfen,gmsd,consistency; also features and lpips",
    )
    evaluate.add_argument(
        "--features", metavar="NETWORK:WEIGHTS[:LAYER]",
        help="add the VGG feature distance: vgg19:imagenet, or vgg16 or vgg19 and a weight file",
    )  # fmt: skip
    evaluate.add_argument(
        "--out", help="folder for JSON, CSV and figure (default: RUN/evaluation-PART of a single model)"
    )
    evaluate.add_argument("--report", metavar="HTML", help="also write a page with tables, plots and cases")
    evaluate.add_argument(
        "--cases", type=int, default=3, help="patients in figure and report, worst to best (default: 3)"
    )
    evaluate.add_argument("--overwrite", action="store_true", help="replace an existing --out and --report")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    import pathlib

    from keras_mrisr.commands.naming import named_paths, parse_features, single_name
    from keras_mrisr.terminal import load_tensorflow, progress_bar, say, show

    models, predictions = named_paths(options.model), named_paths(options.predictions)
    if not models and not predictions:
        raise ConfigError("Nothing to evaluate: give --model RUN or --predictions NAME=FOLDER.")
    check_exists(*predictions.values(), options.data)
    check_models(*models.values())
    out = options.out
    if out is None and len(models) == 1 and not predictions:
        folder = pathlib.Path(*models.values())
        out = (folder.parent if folder.suffix == ".keras" else folder) / f"evaluation-{options.part}"
        if not folder.exists():  # It comes with the package, where nothing is written.
            out = pathlib.Path(f"{folder.name}-evaluation-{options.part}")
    features = parse_features(options.features)
    degradation = parse_degradation(options.degradation)
    load_tensorflow()
    from keras_mrisr.evaluation import evaluate_models

    lists = {name: getattr(options, name) for name in ("methods", "metrics")}
    with progress_bar("Scoring slices") as progress:
        evaluation = evaluate_models(
            single_name(options.model, models, predictions),
            options.data,
            out,
            predictions=predictions,
            part=options.part,
            kind=options.kind,
            patient_pattern=options.patient_pattern,
            scale=options.scale,
            degradation=degradation,
            noise_snr=options.noise_snr,
            limit=options.limit,
            ensemble=options.ensemble,
            consistency=options.consistency,
            features=features,
            figure_cases=options.cases,
            report=options.report,
            overwrite=options.overwrite,
            progress=progress,
            **{name: words.split(",") for name, words in lists.items() if words is not None},
        )
    show(evaluation.report())
    for written in (out, options.report):
        if written is not None:
            say(f"Wrote {written}")
