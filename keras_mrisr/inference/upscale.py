"""Upscaling whatever lies at a path: an image, a scan, or a folder of images or scans."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Generator, Sequence
from typing import Any

from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_directory, check_only_holds, held, whole_directory
from keras_mrisr.inference.image_file import ImageFile, log_residual
from keras_mrisr.inference.input_range import warn_outside
from keras_mrisr.inference.inputs import Folder, Input, input_at
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.report import check_report, residual_path, write_report
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.target_grid import parse_spacing
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.inference.ways import BundledModels, Models
from keras_mrisr.types import PathLike, Progress


def upscale_path(
    source: PathLike,
    target: PathLike,
    resolver: Models,
    ensemble: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    *,
    consistency: bool = False,
    plane: str | None = None,
    volume_index: int | None = None,
    series: str | int | None = None,
    uncertainty: PathLike | None = None,
    nan: str = "refuse",
    figure: PathLike | None = None,
    report: PathLike | None = None,
    way: str | None = None,
    spacing: float | Sequence[float] | None = None,
    slice_thickness: float | None = None,
) -> list[pathlib.Path]:
    """Upscales an image file, a volume, or all images or volumes in a folder and below.

    Masks (`*_mask.*`; of volumes also segmentations) are left out. Of a folder without images all volumes are
    taken. Of the root of a data set in BIDS `derivatives/`, `sourcedata/` and `code/` are left out. Bit
    depth, grey or RGB, range and file format stay those of the input. For a model with neighbours the images
    of a folder are one stack, in the order of their names; a single file stands for its neighbours.

    Args:
        source: An image file, or a folder of them; a volume in a file, or a folder of these; a DICOM file, or
            the folder of a series.
        target: The file to write (or an existing folder for it); for a folder, the folder to write, in which
            the names of the source stay the same; for a DICOM series its folder. The ending of a volume says
            its format.
        resolver: A `SuperResolver`; of volumes also a `ThroughPlaneResolver`, or `BundledModels` of both. Its
            `memory` counts.
        ensemble: See `SuperResolver.upscale`.
        overwrite: Replace a target that exists; a folder only if nothing but earlier results is in it.
        progress: Called with the number of files (of a volume: tiles) done so far and the number in all.
        consistency: See `SuperResolver.upscale`; the residual is logged and written to
            `residual_path(target)`; of a folder of volumes, to one beside each result.
        plane: Of volumes: see `upscale_volume`.
        volume_index: Which volume of a 4-D one, from 0.
        series: Which series of a DICOM folder: number, description or SeriesInstanceUID.
        uncertainty: Where the standard deviations of a volume go, as `target`; or None.
        nan: "zero" takes NaN and infinite values for background: they are zero in the input and stay zero in
            the result. "refuse" raises DataError.
        figure: Where a picture of the input, interpolated, beside the result goes (PNG, PDF or SVG), or None;
            of one image or volume only.
        report: Where a page to look at both in a browser goes (.html), or None; see `write_page`. Of one
            image or volume only.
        way: Of volumes: "in-plane", "through-plane" or None: see `UpscaleOptions`.
        spacing: Of volumes: millimetres, see `upscale_through_plane`.
        slice_thickness: Of volumes: millimetres, see `upscale_through_plane`.

    Returns:
        The paths that were written.

    Raises:
        DataError: A bad source, a target that exists, that is or holds the source, or that cannot be written
            or is written by another process. Each output is written whole or not at all, and nothing is left
            of a folder that could not be completed.
        ModelError: The model gives something that is not finite.
    """
    millimetres = None if spacing is None else parse_spacing(spacing)
    options = UpscaleOptions(
        ensemble, consistency, overwrite, nan, plane, volume_index, series, uncertainty, figure,
        report, way, millimetres, slice_thickness,
    )  # fmt: skip
    return upscale_input(input_at(source), target, resolver, options, progress).written


def upscale_input(
    found: Input | Folder,
    target: PathLike,
    resolver: Models,
    options: UpscaleOptions,
    progress: Progress | None = None,
) -> Outcome:
    """Upscales what `input_at` found; see `upscale_path`."""
    target = pathlib.Path(target)
    found.check_options(options)
    images = isinstance(found, ImageFile) or (isinstance(found, Folder) and found.holds_images)
    models: Any = _for_images(found, resolver) if images else resolver
    if isinstance(found, Folder):
        outputs = [target, residual_path(target)] if options.consistency and found.holds_images else [target]
        with held(*outputs):
            return _upscale_folder(found, target, models, options, progress)
    target = found.place(target)
    outputs = found.outputs(target, options)
    _check_apart(found.path, outputs, (options.figure, options.report))
    with held(*outputs):
        read = found.read(models, options)
        found.check(read, target, models, options)
        if isinstance(found, ImageFile):  # Of a volume, `upscale_volume` warns itself.
            warn_outside(found.path, found.outside(read, models))
        return found.upscale(read, target, models, options, progress)


def _for_images(found: Input | Folder, resolver: Models) -> SuperResolver:
    if isinstance(resolver, ThroughPlaneResolver):
        raise DataError(
            f"{resolver.name} makes the slices of a volume thin, and {found.path} is no NIfTI or DICOM: give "
            "`model` one that makes planes finer."
        )
    return resolver.in_plane() if isinstance(resolver, BundledModels) else resolver


def _check_apart(
    source: pathlib.Path, outputs: Sequence[pathlib.Path], views: Sequence[PathLike | None]
) -> None:
    """Raises DataError where one output is or holds another, or what shows it would replace the source."""
    for one, other in itertools.permutations(outputs, 2):
        if one.resolve() in (other.resolve(), *other.resolve().parents):
            raise DataError(
                f"{one} cannot hold {other}: result, uncertainty, figure, report and residual (OUT.json) "
                "need names apart."
            )
    for view in views:
        if view is not None and pathlib.Path(view).resolve() == source.resolve():
            raise DataError(f"{view} is the source itself. Choose another name for what shows it.")


def _upscale_folder(
    folder: Folder,
    target: pathlib.Path,
    resolver: Any,
    options: UpscaleOptions,
    progress: Progress | None,
) -> Outcome:
    _check_folders(folder, target, options)
    # Images have one report for all, a volume one of its own.
    together = options.consistency and folder.holds_images
    if together:
        check_report(residual_path(target), options.overwrite)
        options = dataclasses.replace(options, residuals=False)
    _check_inputs(folder, target, resolver, options)
    outcomes = []
    # Closed, so that an interruption also ends what is under way in other threads.
    with (
        whole_directory(target, options.overwrite) as temporary,
        contextlib.closing(_upscaled(folder, temporary, resolver, options)) as results,
    ):
        for outcome in results:
            outcomes.append(outcome)
            if progress is not None:
                progress(len(outcomes), len(folder.inputs))
    outcome = Outcome.joined(outcomes)
    written = [target / path.relative_to(temporary) for path in outcome.written]
    if together and outcome.residual is not None:
        before, after = outcome.residual
        log_residual(outcome.residual)
        values = {"before": before, "after": after, "images": len(outcomes)}
        write_report(residual_path(target), resolver.name, values)
        written.append(residual_path(target))
    return dataclasses.replace(outcome, written=written)


def _check_folders(folder: Folder, target: pathlib.Path, options: UpscaleOptions) -> None:
    """Raises DataError unless a folder of results can be written, apart from its source."""
    here, there = folder.path.resolve(), target.resolve()
    if there == here:
        raise DataError(f"{target} is the source itself. Choose another folder.")
    if here.is_relative_to(there):
        raise DataError(f"{target} holds the source {folder.path}. Choose another folder.")
    if there.is_relative_to(here):
        # What is in it would be taken for sources the next time.
        raise DataError(f"{target} lies in the source {folder.path}. Choose another folder.")
    check_new_directory(target, options.overwrite)
    names = list(folder.inputs)
    reports = [] if folder.holds_images else [residual_path(name) for name in names]
    if options.consistency and len(set(reports)) < len(reports):
        raise DataError(
            f"{folder.path} holds a volume under two endings: the reports of `consistency` need names apart."
        )
    check_only_holds(target, {path.parts[0] for path in (*names, *reports)})
    for report in reports:  # With or without `consistency`: they go with the folder that is replaced.
        check_report(target / report, options.overwrite)


def _check_inputs(folder: Folder, target: pathlib.Path, resolver: Any, options: UpscaleOptions) -> None:
    """Reads all inputs once, so that a bad one is found before the long work begins."""
    sizes: dict[tuple[int, ...], tuple[pathlib.Path, str | None]] = {}
    for name, one in folder.inputs.items():
        read = one.read(resolver, options)
        one.check(read, target / name, resolver, options)
        if isinstance(one, ImageFile):
            sizes.setdefault(read.image.shape[:2], (one.path, one.outside(read, resolver)))
    for path, outside in sizes.values():  # One warning for a size.
        warn_outside(path, outside)


def _upscaled(
    folder: Folder, target: pathlib.Path, resolver: Any, options: UpscaleOptions
) -> Generator[Outcome]:
    """Upscales the inputs into a folder, in their order, as many at a time as the resolver likes."""

    def upscale(name: pathlib.Path) -> Outcome:
        one = folder.inputs[name]
        return one.upscale(one.read(resolver, options), target / name, resolver, options)

    if not folder.holds_images or resolver.images_at_once == 1:
        yield from map(upscale, folder.inputs)
        return
    with concurrent.futures.ThreadPoolExecutor(resolver.images_at_once) as pool:
        try:
            yield from pool.map(upscale, folder.inputs)
        except BaseException:
            resolver.cancel()
            raise
