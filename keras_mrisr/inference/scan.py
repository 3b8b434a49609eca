"""Upscaling NIfTI files and DICOM series."""

import logging
import pathlib

from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.volume import check_target, is_nifti, read_volume, write_volume
from keras_mrisr.errors import InputError
from keras_mrisr.files import check_new_file, visible_files, write_json
from keras_mrisr.inference.volume import upscale_volume

log = logging.getLogger(__name__)


def is_scan(path):
    """Whether a path is a NIfTI file, a DICOM file, or a folder with DICOM files in it or below."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return is_nifti(path) or _begins_as_dicom(path)
    return any(_begins_as_dicom(file) for file in visible_files(path))


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
        InputError: A bad source, a target that exists, is the source or cannot be written, or a model that
            does not fit. Each output is written whole or not at all.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    volume = read_volume(source, volume_index, series)
    if is_nifti(source) and target.is_dir():
        target = target / source.name
    outputs = [target] if uncertainty is None else [target, pathlib.Path(uncertainty)]
    for output in outputs:
        check_target(volume, output, overwrite)
    if uncertainty is not None and outputs[0].resolve() == outputs[1].resolve():
        raise InputError(f"{target} cannot hold the result and its uncertainty. Choose another name.")
    report = residual_path(target) if consistency else None
    if report is not None:
        check_new_file(report, overwrite)
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
    if consistency:
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


def _begins_as_dicom(path):
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    # With a preamble, or as old files without one: with a tag of group 8.
    return head[128:] == b"DICM" or head[:2] == b"\x08\x00"
