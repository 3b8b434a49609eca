"""`mrisr upscale`."""

import argparse
import dataclasses
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_mrisr.commands import model_options
from keras_mrisr.commands.arguments import Commands, Parser, add_choice, check_exists
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.memory import memory_limit, parse_memory

TOKEN, USER = "MRISR_DICOMWEB_TOKEN", "MRISR_DICOMWEB_USER"

if TYPE_CHECKING:
    from keras_mrisr.inference.inputs import Folder, Input
    from keras_mrisr.inference.options import UpscaleOptions
    from keras_mrisr.inference.ways import Models


def add(commands: Commands, common: Parser) -> None:
    upscale = commands.add_parser(
        "upscale", parents=[common], help="upscale an image, a folder of images, or a NIfTI or DICOM volume"
    )
    add_options(upscale, optional=True)
    model_options.add_model_options(upscale)
    archives = upscale.add_argument_group(
        "of archives", "Where IN is a tree of DICOM studies; the ledger in OUT makes a stopped run go on."
    )
    archives.add_argument(
        "--studies", action="store_true",
        help="make a derived series in OUT of every MR series in IN; report.csv says what became of each",
    )  # fmt: skip
    archives.add_argument(
        "--layout", choices=("place", "uid"),
        help="results lie as in IN, or under StudyInstanceUID/SeriesInstanceUID (default: place)",
    )  # fmt: skip
    model_options.add_worker_options(archives)
    web = upscale.add_argument_group(
        "of a DICOMweb server", "In place of IN and OUT: derived series are stored in the study itself."
    )
    web.add_argument("--dicomweb", metavar="URL", help="root of the server's services, https://HOST/PATH")
    web.add_argument("--study", metavar="UID", help="StudyInstanceUID; --series UID takes one of its series")
    web.add_argument("--ca", metavar="FILE", help="trust these authorities (PEM) in place of the system's")
    web.add_argument(
        "--token-file", metavar="FILE", help=f"file of a bearer token (default: the variable {TOKEN}, if set)"
    )
    web.add_argument(
        "--user-file", metavar="FILE",
        help=f"file of NAME:PASSWORD for basic authentication (default: the variable {USER}, if set)",
    )  # fmt: skip
    slices = model_options.add_way_options(upscale)
    slices.add_argument(
        "--slice-thickness", metavar="MM", type=float,
        help="of IN (default: what its header or BIDS sidecar says, or else its spacing)",
    )  # fmt: skip
    slices.add_argument(
        "--adapt", metavar="MINUTES",
        help="first train the model further on the slices of IN for so long, or steps=N; kept only where it "
        "is better on slices that were held out",
    )  # fmt: skip
    slices.add_argument(
        "--save-model", metavar="DIR", help="keep the adapted model there, for other scans of the session"
    )
    upscale.set_defaults(run=_upscale)


def add_options(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """The options about what is upscaled and how; `run` reads them."""
    parser.add_argument(
        "input",
        metavar="IN",
        nargs="?" if optional else None,
        help="image (PNG, TIFF, JPEG) or NIfTI file, or folder of them; DICOM file or folder",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        nargs="?" if optional else None,
        help="image, folder, .nii or .nii.gz to write",
    )
    parser.add_argument("--ensemble", action="store_true", help="average over flips and quarter turns")
    parser.add_argument(
        "--consistency", action="store_true",
        help="change nothing that was measured: the result degrades to IN again (residual in OUT.json)",
    )  # fmt: skip
    parser.add_argument(
        "--nan", choices=("refuse", "zero"), default="refuse",
        help="what becomes of NaN and infinite values in IN: an error, or zero where they are background, as "
        "SPM and FSL leave it (default: refuse)",
    )  # fmt: skip
    parser.add_argument(
        "--figure", metavar="OUT", help="also write a picture: IN interpolated beside the result"
    )
    parser.add_argument(
        "--report", metavar="PAGE.html",
        help="also write a page to look at IN and the result in a browser, with crosshair, window, "
        "difference and uncertainty; works offline",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace what exists at OUT")
    folders = parser.add_argument_group(
        "of folders",
        "Each result is written as soon as it is done; a file that cannot be upscaled stops no other.",
    )
    add_choice(folders, "IN")
    folders.add_argument(
        "--skip-existing", action="store_true", help="make only results that are not yet at OUT: resumes"
    )
    volumes = parser.add_argument_group("of volumes")
    volumes.add_argument(
        "--plane", choices=("axial", "coronal", "sagittal"),
        help="in which the slices lie (default: across the largest spacing)",
    )  # fmt: skip
    volumes.add_argument("--volume-index", metavar="N", type=int, help="which volume of a 4-D file, from 0")
    volumes.add_argument("--series", help="which series of a DICOM folder: number, description or UID")
    volumes.add_argument(
        "--uncertainty", metavar="OUT", help="also write the standard deviation over flips and quarter turns"
    )


def run(
    resolver: "Models",
    options: argparse.Namespace,
    found: "Input | Folder | None" = None,
    **more: Any,
) -> None:
    """Upscales what the options of `add_options` say.

    Args:
        resolver: A `SuperResolver`, or another of `ways.Models`.
        options: The options.
        found: What `find_input` found, where that is known.
        more: More of `UpscaleOptions`.
    """
    from keras_mrisr.folders import refuse_incomplete
    from keras_mrisr.inference.upscale import upscale_input
    from keras_mrisr.terminal import progress_bar, say

    found = found or find_input(options)
    with progress_bar("Upscaling") as progress:
        outcome = upscale_input(found, options.output, resolver, upscale_options(options, **more), progress)
    written = outcome.written
    where = ", ".join(map(str, written)) if len(written) <= 3 else f"{len(written)} files to {options.output}"
    say(f"Wrote {where}" if written else f"Nothing is missing in {options.output}")
    if outcome.models:
        say(f"Verdict: {outcome.verdict.sentence(' and '.join(outcome.models))}")
    refuse_incomplete(outcome.failures)


def find_input(options: argparse.Namespace) -> "Input | Folder":
    """What the options of `add_options` name as the input."""
    from keras_mrisr.inference.inputs import input_at

    return input_at(options.input, options.include, options.exclude)


def upscale_options(options: argparse.Namespace, **more: Any) -> "UpscaleOptions":
    """The options of `add_options` as the library takes them."""
    from keras_mrisr.inference.options import UpscaleOptions

    return UpscaleOptions(
        ensemble=options.ensemble,
        consistency=options.consistency,
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
        nan=options.nan,
        plane=options.plane,
        volume_index=options.volume_index,
        series=options.series,
        uncertainty=options.uncertainty,
        figure=options.figure,
        report=options.report,
        **more,
    )


def _upscale(options: argparse.Namespace) -> None:
    if options.dicomweb is not None:
        _upscale_study(options)
        return
    for name in ("study", "ca", "token_file", "user_file"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is for a DICOMweb server: give --dicomweb, too.")
    if options.output is None:
        raise ConfigError("IN and OUT are missing, or --dicomweb and --study.")
    check_exists(options.input)
    from keras_mrisr.inference.upscale import check_output

    way = model_options.way_options(options)
    if options.studies:
        _upscale_archive(options, way)
        return
    if options.layout is not None:
        raise ConfigError("--layout is for archives: give --studies, too.")
    for name in ("workers", "dask"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name} is for archives: give --studies, too, or use mrisr bids.")
    found = find_input(options)
    check_output(found, options.output, upscale_options(options))
    adapt = _adaptation(options, found)
    memory = None if options.memory is None else parse_memory(options.memory)
    models = model_options.load_models(options, found, memory)
    with memory_limit(memory):
        run(models, options, found, **way, slice_thickness=options.slice_thickness, adapt=adapt)


def _upscale_study(options: argparse.Namespace) -> None:
    """Upscales the series of a study on a DICOMweb server."""
    from keras_mrisr.commands.arguments import secret
    from keras_mrisr.errors import IncompleteError
    from keras_mrisr.pacs.dicomweb import DicomWeb, upscale_study
    from keras_mrisr.terminal import progress_bar, say

    if options.study is None or options.input is not None:
        raise ConfigError("With --dicomweb give --study UID, and neither IN nor OUT.")
    _refuse_for_several(options, "--dicomweb")
    for name in ("include", "exclude", "skip_existing", "overwrite", "studies", "layout", "workers", "dask"):
        if getattr(options, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for files: leave it out with --dicomweb.")
    token, pair = secret(options.token_file, TOKEN), secret(options.user_file, USER)
    name, separator, password = (pair or "").partition(":")
    if pair and not separator:
        raise ConfigError("The file of --user-file, or the variable, holds NAME:PASSWORD. There is no colon.")
    user = (name, password) if pair else None
    server = DicomWeb(options.dicomweb, token, user, options.ca)
    way = model_options.way_options(options)
    how = upscale_options(options, **way, slice_thickness=options.slice_thickness)
    how = dataclasses.replace(how, series=None)
    memory = None if options.memory is None else parse_memory(options.memory)
    models = model_options.load_models(options, None, memory)
    with memory_limit(memory), progress_bar("Upscaling series") as progress:
        done, failures = upscale_study(
            server, options.study, models, how, series=options.series, progress=progress
        )
    if not done:
        raise DataError(f"No series could be upscaled. {failures[0].reason}")
    say(f"Stored {len(done)} derived series in study {options.study}")
    if failures:
        raise IncompleteError(f"{len(failures)} series could not be upscaled. {failures[0].reason}")


def _refuse_for_several(options: argparse.Namespace, of: str, *more: str) -> None:
    """Raises ConfigError for an option that only one series can have."""
    for name in ("volume_index", "uncertainty", "figure", "report", "adapt", "save_model", *more):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is for one series: leave it out with {of}.")


def _upscale_archive(options: argparse.Namespace, way: dict[str, Any]) -> None:
    """Upscales every series of an archive."""
    import pathlib

    from keras_mrisr.archive import upscale_archive
    from keras_mrisr.archive.run import check_archive
    from keras_mrisr.errors import IncompleteError
    from keras_mrisr.terminal import progress_bar, say

    _refuse_for_several(options, "--studies", "series")
    for name in ("include", "exclude", "skip_existing", "overwrite"):
        if getattr(options, name):
            raise ConfigError(
                f"--{name.replace('_', '-')} is not for an archive, whose ledger says what is to be made: "
                "leave it out with --studies."
            )
    check_archive(pathlib.Path(options.input), pathlib.Path(options.output))
    how = upscale_options(options, **way, slice_thickness=options.slice_thickness)
    chosen = model_options.result_options(options)
    with model_options.workers_for(options) as workers, progress_bar("Upscaling series") as progress:
        outcome = upscale_archive(
            options.input,
            options.output,
            workers,
            how,
            layout=options.layout or "place",
            how=chosen,
            progress=progress,
        )
    say(
        f"{outcome.made} series made, {outcome.kept} were done before, {outcome.left_out} left out, "
        f"{len(outcome.failures)} failed: {outcome.report}"
    )
    if outcome.failures:
        place, reason = next(iter(outcome.failures.items()))
        raise IncompleteError(
            f"{len(outcome.failures)} could not be upscaled; {outcome.report} says why. {place}: {reason}"
        )


def _adaptation(options: argparse.Namespace, found: "Input | Folder") -> "Callable[..., Any] | None":
    """The function that trains a model further on a scan, as --adapt says; None without that."""
    if options.adapt is None:
        if options.save_model is not None:
            raise ConfigError("--save-model keeps what --adapt trains. Give that, too.")
        return None
    budget = _budget(options.adapt)
    target = options.save_model
    if target is not None and os.path.isdir(options.input) and not hasattr(found, "format"):
        raise ConfigError(
            "--save-model keeps the model of one scan. Give IN as one, not as a folder of several."
        )
    if target is not None:
        _check_save_model(target, options)

    def adapt(resolver: Any, volume: Any, grid: Any) -> Any:
        from keras_mrisr.terminal import say
        from keras_mrisr.training.adapt import adapt as train_further, save_adapted

        axis = grid.restored[0]
        place = {"axis": axis, "factor": grid.factors(volume)[axis], "thickness": grid.thickness[0]}
        adapted, adaptation = train_further(resolver, volume, **budget, **place)
        if target is not None and adaptation.kept:
            save_adapted(adapted, target)
            say(f"Wrote {target}")
        elif target is not None:
            say(f"{target} is not written: the weights stayed as they were.")
        return adapted

    return adapt


def _check_save_model(target: str, options: argparse.Namespace) -> None:
    """Checks before the training that an adapted model can be written, and replaces nothing else."""
    import pathlib

    from keras_mrisr.files import check_new_directory, check_only_holds

    folder = pathlib.Path(target).resolve()
    for name in ("input", "output", "uncertainty", "figure", "report", "model"):
        value = getattr(options, name)
        if value is not None and (name != "model" or os.path.exists(value)):
            other = pathlib.Path(value).resolve()
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise ConfigError(
                    f"--save-model {target} and {value} lie in each other. Choose another folder."
                )
    if os.path.exists(target) and not options.overwrite:
        raise ConfigError(f"{target} exists. Choose another --save-model, or pass --overwrite.")
    check_new_directory(target, options.overwrite)
    check_only_holds(target, ("generator.keras", "finish.keras", "model.json", "card.md"))


def _budget(text: str) -> dict[str, Any]:
    """Turns "5" into minutes and "steps=200" into steps."""
    name, separator, value = text.rpartition("=")
    try:
        if not separator and 0 < float(value) < math.inf:
            return {"minutes": float(value)}
        if name == "steps" and int(value) > 0:
            return {"steps": int(value)}
    except ValueError:
        pass
    raise ConfigError(f"--adapt takes minutes over 0, such as 5, or steps=N. Received: {text}")
