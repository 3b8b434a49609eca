"""Upscaling all NIfTI volumes in a folder and below."""

import logging
import pathlib

from keras_mrisr.data.slices import natural_key
from keras_mrisr.data.volume_folder import volume_files
from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_directory, check_only_holds, visible_files, whole_directory
from keras_mrisr.inference.scan import check_report, residual_path, upscale_scan
from keras_mrisr.inference.volume import check_model
from keras_mrisr.volumes import check_volume, read_volume
from keras_mrisr.volumes.nifti import recognises as is_nifti

log = logging.getLogger(__name__)


def upscale_volumes(
    source,
    target,
    resolver,
    *,
    plane=None,
    volume_index=None,
    series=None,
    uncertainty=None,
    overwrite=False,
    progress=None,
    **options,
):
    """Upscales the NIfTI volumes of a folder into a folder of the same names.

    Args:
        source: The folder.
        target: The folder to write.
        resolver: A `SuperResolver`.
        plane: See `upscale_volume`.
        volume_index: Which volume of each file, from 0.
        series: None: NIfTI has no series.
        uncertainty: None: volumes are given one by one for that.
        overwrite: Replace a folder of earlier results.
        progress: Called with the number of volumes done so far and the number in all.
        **options: `ensemble` and `consistency` of `upscale_scan`.

    Returns:
        List of the paths that were written.

    Raises:
        DataError: See `upscale_scan`. Nothing is left of a folder that could not be completed.
    """
    for name, value in (("series", series), ("uncertainty", uncertainty)):
        if value is not None:
            raise DataError(f"{source} is a folder of NIfTI volumes: give them one by one for --{name}.")
    check_folders(source, target, overwrite)
    names = [pathlib.Path(name) for name in sorted(volume_files(source), key=natural_key)]
    reports = [residual_path(name) for name in names] if options.get("consistency") else []
    if len(set(reports)) < len(reports):
        raise DataError(f"{source} holds a volume as .nii and .nii.gz: --consistency needs names apart.")
    check_only_holds(target, {path.parts[0] for path in (*names, *map(residual_path, names))})
    masks = sum(is_nifti(path) for path in visible_files(source)) - len(names)
    if masks:
        log.info("%d masks (*_mask, *_seg and *_dseg files) are left out", masks)
    for name in names:  # All is good before the long work begins.
        check_report(target / residual_path(name), overwrite)
        _check_source(source / name, volume_index, resolver)
    written = []
    with whole_directory(target, overwrite) as temporary:
        for done, name in enumerate(names, start=1):
            places = upscale_scan(
                source / name,
                temporary / name,
                resolver,
                plane=plane,
                volume_index=volume_index,
                **options,
            )
            written += [target / place.relative_to(temporary) for place in places]
            if progress is not None:
                progress(done, len(names))
    return written


def _check_source(path, volume_index, resolver):
    volume = read_volume(path, volume_index)
    check_model(volume, resolver)
    check_volume(volume)


def check_folders(source, target, overwrite=False):
    """Checks before the work that a folder of results can be written, apart from its source.

    Raises:
        DataError: See `check_new_directory`; or one folder is or holds the other.
    """
    if target.resolve() == source.resolve():
        raise DataError(f"{target} is the source itself. Choose another folder.")
    if source.resolve().is_relative_to(target.resolve()):
        raise DataError(f"{target} holds the source {source}. Choose another folder.")
    if target.resolve().is_relative_to(source.resolve()):
        # What is in it would be taken for sources the next time.
        raise DataError(f"{target} lies in the source {source}. Choose another folder.")
    check_new_directory(target, overwrite)
