"""`mrisr evaluate`."""

import argparse
import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any

from keras_mrisr.commands.arguments import (
    Commands,
    Parser,
    add_choice,
    add_data_kind,
    add_degradation,
    add_perception,
    check_exists,
    check_models,
    choice_of,
    parse_degradation,
    places_on_the_dial,
)
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import PathLike

if TYPE_CHECKING:
    from keras_mrisr.evaluation import Evaluation

# Options of one task alone.
_OF_SLICES = ("scale", "degradation", "metrics", "features", "realism", "backbone")
_OF_THICK_SLICES = ("factor", "axis", "profile", "slice_thickness", "gap", "mask", "lr_out")
_OF_TORCHVISION = {"lpips", "lpips_vgg", "dists"}  # Metrics whose packages import it.
_BUNDLED = "thick"  # What makes thick slices thin without --model.


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
    evaluate.add_argument(
        "--data",
        metavar="ROOT",
        required=True,
        help="folder of the data; with --task through-plane also one volume",
    )
    evaluate.add_argument(
        "--task", choices=("slices", "through-plane"), default="slices",
        help="slices are made larger, or thick slices of volumes are made thin (default: slices)",
    )  # fmt: skip
    add_data_kind(evaluate)
    add_choice(evaluate, "ROOT")
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
    add_perception(evaluate, several=True)
    evaluate.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    evaluate.add_argument("--methods", help="interpolators (default: nearest,bicubic,lanczos)")
    evaluate.add_argument(
        "--metrics",
        help="default: psnr,ssim,ms_ssim,nrmse,hfen,gmsd,consistency; also features, lpips, lpips_vgg, dists",
    )
    evaluate.add_argument(
        "--features", metavar="NETWORK:WEIGHTS[:LAYER]",
        help="add the VGG feature distance: vgg19:imagenet, or vgg16 or vgg19 and a weight file",
    )  # fmt: skip
    evaluate.add_argument(
        "--realism", metavar="NETWORK:WEIGHTS[:LAYER]", nargs="*",
        help="add the error of the power spectrum, and KID and FD in the features of these VGGs",
    )  # fmt: skip
    evaluate.add_argument(
        "--backbone",
        metavar="FILE",
        help="VGG16 of lpips_vgg and dists: .pth of torchvision, or .h5 of Keras",
    )
    evaluate.add_argument(
        "--out", help="folder for JSON, CSV and figure (default: RUN/evaluation-PART of a single model)"
    )
    evaluate.add_argument("--report", metavar="HTML", help="also write a page with tables, plots and cases")
    evaluate.add_argument(
        "--cases", type=int, default=3, help="patients in figure and report, worst to best (default: 3)"
    )
    evaluate.add_argument("--overwrite", action="store_true", help="replace an existing --out and --report")
    _add_through_plane(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_through_plane(evaluate: Parser) -> None:
    thick = evaluate.add_argument_group("with --task through-plane")
    thick.add_argument(
        "--factor", dest="factor", metavar="F", type=float, nargs="+",
        help="thick slices lie so many times as far apart, 1.2 to 8; one or several (default: 4)",
    )  # fmt: skip
    thick.add_argument(
        "--axis", choices=("slice", "axial", "coronal", "sagittal", "all"),
        help="the axis of the scan's own slices, the plane of the thick ones, or each of the three in turn "
        "(default: slice)",
    )  # fmt: skip
    thick.add_argument(
        "--profile", choices=("gaussian", "sinc", "box"), help="of a slice (default: gaussian)"
    )
    thick.add_argument(
        "--slice-thickness", metavar="MM", type=float,
        help="millimetres of a thick slice, at half of the profile (default: their spacing)",
    )  # fmt: skip
    thick.add_argument(
        "--gap", metavar="SHARE", type=float, help="part of the spacing between slices that none covers: 0.2"
    )
    thick.add_argument(
        "--mask", metavar="PATH",
        help="score inside of this mask, or of those of a folder under the volumes' names (default: tissue)",
    )  # fmt: skip
    thick.add_argument(
        "--lr-out", metavar="FOLDER", help="also write the thick volumes, for another program to restore"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from keras_mrisr.commands.naming import named_paths, single_name
    from keras_mrisr.folders import refuse_incomplete
    from keras_mrisr.terminal import say, show

    _check_task(options)
    models, predictions = named_paths(options.model), named_paths(options.predictions)
    if not models and not predictions and options.task == "through-plane":
        models = named_paths([_BUNDLED])
    if not models and not predictions:
        raise ConfigError("Nothing to evaluate: give --model RUN or --predictions NAME=FOLDER.")
    check_exists(*predictions.values(), options.data)
    check_exists(*([options.backbone] if options.backbone else []))
    if os.path.isfile(options.data) and (options.include or options.exclude):
        raise ConfigError(
            f"--include and --exclude are for a folder of files, and {options.data} is one: leave them out."
        )
    check_models(*models.values())
    out = _out(options, models, predictions)
    _check_outputs(out, options)
    shared = _shared(options, predictions)
    named = single_name(options.model or [_BUNDLED], models, predictions)
    if options.task == "through-plane":
        evaluation = _evaluate_through_plane(named, options, out, shared)
    else:
        evaluation = _evaluate_slices(named, options, out, shared)
    show(evaluation.report())
    for written in (out, options.report):
        if written is not None:
            say(f"Wrote {written}")
    refuse_incomplete(evaluation.failures, "scored")


def _check_outputs(out: PathLike | None, options: argparse.Namespace) -> None:
    """Answers outputs that cannot be written at once, before TensorFlow is loaded."""
    from keras_mrisr.files import check_new_directory, check_new_file

    if options.report is not None:
        check_new_file(options.report, options.overwrite)
    if out is not None:
        check_new_directory(out, options.overwrite)


def _shared(options: argparse.Namespace, predictions: dict[str, str]) -> dict[str, Any]:
    """Arguments that both tasks take."""
    shared: dict[str, Any] = {
        "predictions": predictions,
        "part": options.part,
        "patient_pattern": options.patient_pattern,
        "choice": choice_of(options),
        "noise_snr": options.noise_snr,
        "limit": options.limit,
        "ensemble": options.ensemble,
        "consistency": options.consistency,
        "figure_cases": options.cases,
        "report": options.report,
        "overwrite": options.overwrite,
    }
    for name in ("methods", "metrics"):
        if (words := getattr(options, name)) is not None:
            shared[name] = words.split(",")
    return shared


def _out(options: argparse.Namespace, models: dict[str, str], predictions: dict[str, str]) -> PathLike | None:
    """The folder of --out; by default beside a single model."""
    import pathlib

    if options.out is not None or len(models) != 1 or predictions:
        return options.out
    folder = pathlib.Path(*models.values())
    if not folder.exists():  # It comes with the package, where nothing is written.
        return pathlib.Path(f"{folder.name}-evaluation-{options.part}")
    return (folder.parent if folder.suffix == ".keras" else folder) / f"evaluation-{options.part}"


def _check_task(options: argparse.Namespace) -> None:
    """Raises ConfigError for an option of another task."""
    other = _OF_SLICES if options.task == "through-plane" else _OF_THICK_SLICES
    given = [name for name in other if getattr(options, name) is not None]
    if options.task == "through-plane" and options.perception:
        given.append("perception")
    if options.task == "through-plane" and options.kind not in ("auto", "volumes"):
        given.append("kind")
    if given:
        word = f"--{given[0].replace('_', '-')}"
        way = "Leave it out." if options.task == "through-plane" else "Give --task through-plane, too."
        raise ConfigError(f"{word} is no option of --task {options.task}. {way}")


def _evaluate_slices(
    models: dict[str, Any], options: argparse.Namespace, out: PathLike | None, shared: dict[str, Any]
) -> "Evaluation":
    from keras_mrisr.commands.naming import parse_features
    from keras_mrisr.terminal import load_tensorflow, progress_bar

    features = parse_features(options.features)
    realism = None if options.realism is None else list(map(parse_features, options.realism))
    degradation = parse_degradation(options.degradation)
    if _OF_TORCHVISION.intersection(shared.get("metrics", ())):
        # Builds of it for GPUs crash the interpreter where TensorFlow was loaded before.
        with contextlib.suppress(ImportError):
            importlib.import_module("torchvision")
    load_tensorflow()
    from keras_mrisr.evaluation import evaluate_models

    shared["perception"] = places_on_the_dial(options)
    shared |= {"kind": options.kind, "scale": options.scale, "degradation": degradation, "features": features}
    shared |= {"realism": realism, "backbone": options.backbone}
    with progress_bar("Scoring slices") as progress:
        return evaluate_models(models, options.data, out, progress=progress, **shared)


def _evaluate_through_plane(
    models: dict[str, Any], options: argparse.Namespace, out: PathLike | None, shared: dict[str, Any]
) -> "Evaluation":
    from keras_mrisr.terminal import load_tensorflow, progress_bar

    load_tensorflow()
    from keras_mrisr.evaluation import evaluate_through_plane

    names = {"factor": "factors"}
    shared |= {
        names.get(name, name): value
        for name in _OF_THICK_SLICES
        if (value := getattr(options, name)) is not None
    }
    with progress_bar("Restoring volumes") as progress:
        return evaluate_through_plane(models, options.data, out, progress=progress, **shared)
