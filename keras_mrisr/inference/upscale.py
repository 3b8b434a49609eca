"""Upscaling whatever lies at a path: an image, a scan, or a folder of images or scans."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.files import held
from keras_mrisr.folders import refuse_incomplete
from keras_mrisr.inference.folder import check_folder, upscale_folder
from keras_mrisr.inference.image_file import ImageFile
from keras_mrisr.inference.input_range import warn_outside
from keras_mrisr.inference.inputs import Folder, Input, input_at
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.report import residual_path
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
    skip_existing: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    refuse_mismatch: bool = False,
) -> list[pathlib.Path]:
    """Upscales an image file, a volume, or all images or volumes in a folder and below.

    Masks (`*_mask.*`; of volumes also segmentations) are left out. Of a folder without images all volumes are
    taken, but for 4-D ones (unless `volume_index` says which volume). Each result of a folder is written as
    soon as it is done, and a bad file stops no other. Of the root of a data set in BIDS `derivatives/`,
    `sourcedata/` and `code/` are left out. Bit depth, grey or RGB, range and file format stay those of the
    input. For a model with neighbours the images of a folder are one stack, in the order of their names; a
    single file stands for its neighbours.

    Args:
        source: An image file, or a folder of them; a volume in a file, or a folder of these; a DICOM file, or
            the folder of a series.
        target: The file to write (or an existing folder for it); for a folder, the folder to write, in which
            the names of the source stay the same; for a DICOM series its folder. The ending of a volume says
            its format.
        resolver: A `SuperResolver`; of volumes also a `ThroughPlaneResolver`, or `BundledModels` of both. Its
            `memory` counts.
        ensemble: See `SuperResolver.upscale`.
        overwrite: Replace a target that exists; of a folder each result that exists, and nothing else.
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
        skip_existing: Of a folder: leave results that are there as they are, and make the others.
        include: Of a folder: take only what matches one of these, see `input_at`.
        exclude: Of a folder: leave out what matches one of these.
        refuse_mismatch: Write nothing where the result of most slices does not degrade to them again, as
            `mrisr upscale --model` does; otherwise that is only warned about.

    Returns:
        The paths that were written.

    Raises:
        DataError: A bad source, a target that exists, that is or holds the source, or that cannot be written
            or is written by another process. Each output is written whole or not at all.
        IncompleteError: Some files of a folder could not be upscaled; all others are done.
        ModelError: The model gives something that is not finite, or does not fit (`refuse_mismatch`).
    """
    millimetres = None if spacing is None else parse_spacing(spacing)
    options = UpscaleOptions(
        ensemble, consistency, overwrite, skip_existing, nan, plane, volume_index, series, uncertainty,
        figure, report, way, millimetres, slice_thickness, refuse_mismatch=refuse_mismatch,
    )  # fmt: skip
    outcome = upscale_input(input_at(source, include, exclude), target, resolver, options, progress)
    refuse_incomplete(outcome.failures)
    return outcome.written


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
            return upscale_folder(found, target, models, options, progress)
    target = found.place(target)
    outputs = found.outputs(target, options)
    _check_apart(found.path, outputs, (options.figure, options.report))
    with held(*outputs):
        read = found.read(models, options)
        found.check(read, target, models, options)
        if isinstance(found, ImageFile):  # Of a volume, `upscale_volume` warns itself.
            warn_outside(found.path, found.outside(read, models))
        return found.upscale(read, target, models, options, progress)


def check_output(found: Input | Folder, target: PathLike, options: UpscaleOptions) -> None:
    """Checks what can be checked of a target before a model is loaded.

    Raises:
        DataError: It exists, is or holds the source, or cannot be written.
    """
    target = pathlib.Path(target)
    found.check_options(options)
    if isinstance(found, Folder):
        check_folder(found, target, options)
    elif options.skip_existing:
        raise ConfigError(
            f"`skip_existing` is for a folder of files, and {found.path} is one input: leave it out."
        )
    elif not options.overwrite:
        target = found.place(target)
        if target.is_file() and target.resolve() != found.path.resolve():
            raise DataError(f"{target} exists. Choose another name or pass `overwrite=True`.")


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
