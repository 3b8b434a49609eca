"""Upscaling NIfTI files and DICOM series."""

import dataclasses
import itertools
import json
import logging
import pathlib

import numpy as np

from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, write_json
from keras_mrisr.inference.volume import stacking_axis, upscale_volume
from keras_mrisr.inference.volume_result import array_factors
from keras_mrisr.volumes import check_target, read_volume, write_volume
from keras_mrisr.volumes.nifti import recognises as is_nifti

log = logging.getLogger(__name__)


def upscale_scan(
    source,
    target,
    resolver,
    *,
    plane=None,
    volume_index=None,
    series=None,
    ensemble=False,
    uncertainty=None,
    consistency=False,
    overwrite=False,
    progress=None,
):
    """Upscales a NIfTI file or a DICOM series into one of the same form, or into the other.

    Args:
        source: `.nii`, `.nii.gz`, a DICOM file, or a folder of them.
        target: `.nii` or `.nii.gz` (or an existing folder for it, where the source is one); or for DICOM the
            folder of the new series.
        resolver: A `SuperResolver`; its `memory` counts.
        plane: See `upscale_volume`.
        volume_index: Which volume of a 4-D source, from 0.
        series: Which series of a folder: number, description or SeriesInstanceUID.
        ensemble: See `upscale_volume`.
        uncertainty: Where the standard deviations go, as `target`; or None.
        consistency: See `upscale_volume`; the residual is logged and written to `residual_path(target)`.
        overwrite: Replace what exists.
        progress: See `upscale_volume`.

    Returns:
        List of the paths that were written.

    Raises:
        DataError: A bad source, a target that exists, is the source or cannot be written, or a model that
            does not fit. Each output is written whole or not at all.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    volume = read_volume(source, volume_index, series)
    if is_nifti(source) and target.is_dir():
        target = target / source.name
    outputs = [target] if uncertainty is None else [target, pathlib.Path(uncertainty)]
    reports = [residual_path(target)] if consistency else []
    _check_apart([*outputs, *reports])
    for output in outputs:
        check_target(_stand_in(volume, resolver, plane), output, overwrite)
    for report in reports:
        check_report(report, overwrite)
    upscaled = upscale_volume(
        volume,
        resolver,
        plane,
        ensemble=ensemble,
        uncertainty=uncertainty is not None,
        consistency=consistency,
        progress=progress,
    )
    written = write_volume(upscaled.volume, target, overwrite)
    if uncertainty is not None:
        written += write_volume(upscaled.uncertainty, uncertainty, overwrite)
    for report in reports:
        residual = upscaled.residual.to_dict()
        log.info(
            "Residual against the measured image (RMS): %.3g before, %.3g after, %.3g as written; that is "
            "%.2g, %.2g and %.2g of the image's own RMS",
            *(residual[name] for name in ("before", "after", "written")),
            *(residual[f"relative_{name}"] for name in ("before", "after", "written")),
        )
        write_json(report, {"model": resolver.name, "residual": residual})
        written.append(report)
    return written


def residual_path(target):
    """Where the residual of a consistent result stands: `out.nii.gz`, `out.png` or `out` -> `out.json`."""
    target = pathlib.Path(target)
    for ending in (".nii.gz", ".nii", ".dcm", *IMAGE_SUFFIXES):
        if target.name.lower().endswith(ending):
            return target.with_name(target.name[: -len(ending)] + ".json")
    return target.with_name(target.name + ".json")  # Folders have no ending, whatever dots they hold.


def check_report(path, overwrite=False):
    """Checks before the work that a residual can be written to `path`.

    Raises:
        DataError: See `check_new_file`; or what would be replaced is no residual, such as the JSON file that
            BIDS puts beside every scan.
    """
    check_new_file(path, overwrite)
    if path.exists() and not _is_report(path):
        raise DataError(f"{path} is no residual of ours: it is not replaced by one. Choose another OUT.")


def _is_report(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "residual" in content


def _check_apart(outputs):
    """Raises DataError where one output is or holds another."""
    for one, other in itertools.permutations(outputs, 2):
        if one.resolve() in (other.resolve(), *other.resolve().parents):
            raise DataError(
                f"{one} cannot hold {other}: result, uncertainty and residual (OUT.json) need names apart."
            )


def _stand_in(volume, resolver, plane):
    """A `Volume` of the size that the result will have, which takes no memory."""
    factors = array_factors(resolver, stacking_axis(volume, plane))
    shape = (*(size * by for size, by in zip(volume.shape, factors, strict=True)), *volume.array.shape[3:])
    return dataclasses.replace(volume, array=np.broadcast_to(volume.array.flat[0], shape))
