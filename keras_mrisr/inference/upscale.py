"""Upscaling whatever lies at a path: images, folders of images, volumes."""

import concurrent.futures
import logging
import math
import pathlib

import numpy as np

from keras_mrisr.data.image_folder import image_files, read_image_folder
from keras_mrisr.data.images import IMAGE_SUFFIXES, check_image_name, read_image, write_image
from keras_mrisr.data.neighbours import window
from keras_mrisr.data.volume_folder import volume_files
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import (
    check_new_file,
    check_only_holds,
    whole_directory,
    write_json,
)
from keras_mrisr.inference.folders import check_folders, upscale_volumes
from keras_mrisr.inference.input_range import warn_outside
from keras_mrisr.inference.scan import check_report, residual_path, upscale_scan
from keras_mrisr.volumes.formats import format_at

log = logging.getLogger(__name__)


def upscale_path(
    source,
    target,
    resolver,
    ensemble=False,
    overwrite=False,
    progress=None,
    *,
    consistency=False,
    **for_volumes,
):
    """Upscales an image file, a volume, or all images in a folder and below but for masks (`*_mask.*`).

    Of a folder without images all NIfTI volumes are taken, but for masks and segmentations. Bit depth, grey
    or RGB, range and file format stay those of the input. For a model with neighbours the images of a folder
    are one stack, in the order of their names; a single file stands for its neighbours.

    Args:
        source: An image file, or a folder of them; a NIfTI or DICOM file, or a folder of either.
        target: The file to write (or an existing folder for it); for a folder, the folder to write,
            in which the names of the source stay the same. For a volume see `upscale_scan`.
        resolver: A `SuperResolver`.
        ensemble: See `SuperResolver.upscale`.
        overwrite: Replace a target that exists; a folder only if nothing but earlier results is in it.
        progress: Called with the number of files (of a volume: tiles) done so far and the number in all.
        consistency: See `SuperResolver.upscale`; the residual is logged and written to
            `residual_path(target)`; of a folder of volumes, to one beside each result.
        **for_volumes: `plane`, `volume_index`, `series`, `uncertainty` of `upscale_scan`.

    Returns:
        List of the paths that were written.

    Raises:
        DataError: A bad source file, a target that exists, that is or holds the source, or that cannot
            be written. Nothing is left of a folder that could not be completed.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    if not source.exists():
        raise DataError(f"{source} does not exist. Give an image or volume, or a folder of images or DICOM.")
    options = {
        "ensemble": ensemble, "overwrite": overwrite, "progress": progress, "consistency": consistency,
    }  # fmt: skip
    if format_at(source) is not None:
        return upscale_scan(source, target, resolver, **options, **for_volumes)
    if _holds_volumes(source):
        return upscale_volumes(source, target, resolver, **options, **for_volumes)
    for name, value in for_volumes.items():
        if value is not None:
            raise DataError(f"{source} is no NIfTI or DICOM: leave out --{name.replace('_', '-')}.")
    if source.is_dir():
        return _upscale_folder(source, target, resolver, **options)
    if target.is_dir():
        target = target / source.name
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        endings = ", ".join(IMAGE_SUFFIXES)
        raise DataError(f"{target} is no folder and no image name: make the folder, or end in {endings}.")
    if target.resolve() == source.resolve():
        raise DataError(f"{target} is the source itself. Choose another name.")
    check_new_file(target, overwrite)
    report = _Report(target, resolver, consistency, overwrite)
    image = _check_file(source, resolver)
    check_image_name(target, image.dtype)
    warn_outside(resolver.info, source, image.shape[:2])
    report.add(_upscale_file([source], target, resolver, ensemble, consistency))
    if progress is not None:
        progress(1, 1)
    return [target, *report.write()]


def channels_at(source):
    """Channels by which to choose a model for the image, or all images of the folder, at a path.

    Returns:
        None for volumes; 1 for grey images, also where these are stored as RGB, and for a folder of images
        with different numbers of channels; otherwise the number of channels.

    Raises:
        DataError: There is no image.
    """
    source = pathlib.Path(source)
    if format_at(source) is not None or _holds_volumes(source):
        return None
    paths = [record.path for record in read_image_folder(source).slices] if source.is_dir() else [source]
    found, coloured = set(), False
    for path in paths:
        image = read_image(path)
        found.add(image.shape[-1])
        coloured = coloured or bool((image != image[..., :1]).any())
    return found.pop() if coloured and len(found) == 1 else 1


def _holds_volumes(source):
    """Whether a path is a folder of NIfTI volumes without images."""
    return source.is_dir() and not image_files(source) and bool(volume_files(source))


def _upscale_folder(source, target, resolver, ensemble, overwrite, progress, consistency):
    check_folders(source, target, overwrite)
    report = _Report(target, resolver, consistency, overwrite)
    records = read_image_folder(source).slices
    names = [record.path.relative_to(source) for record in records]
    check_only_holds(target, {name.parts[0] for name in names})
    masks = sum(record.mask is not None for record in records)
    if masks:
        log.info("%d masks (*_mask files) are left out", masks)
    volumes = len(volume_files(source))
    if volumes:
        log.warning("%s also holds %d NIfTI volumes, which are left out. Give them alone.", source, volumes)
    sizes = {}
    for record, name in zip(records, names, strict=True):  # All is good before the long work begins.
        image = _check_file(record.path, resolver)
        check_image_name(target / name, image.dtype)
        sizes.setdefault(image.shape[:2], record.path)
    for size, path in sizes.items():
        warn_outside(resolver.info, path, size)
    stacks = _stacks(records, resolver.info.neighbours)
    pool = concurrent.futures.ThreadPoolExecutor(resolver.images_at_once)
    with whole_directory(target, overwrite) as temporary, pool:

        def upscale(name, stack):
            return _upscale_file(stack, temporary / name, resolver, ensemble, consistency)

        try:
            for done, residual in enumerate(pool.map(upscale, names, stacks), start=1):
                report.add(residual)
                if progress is not None:
                    progress(done, len(names))
        except BaseException:
            resolver.cancel()
            raise
    return [*(target / name for name in names), *report.write()]


def _stacks(records, neighbours):
    """For each record the paths of the slices from `neighbours` places before it to as many after it."""
    patients = {}
    for record in records:
        patients.setdefault(record.patient, []).append(record.path)
    return [
        [patients[record.patient][i] for i in window(record.index, len(patients[record.patient]), neighbours)]
        for record in records
    ]


def _upscale_file(stack, target, resolver, ensemble, consistency):
    """Writes the result of the middle one of some images; returns its residual before and after, or None."""
    images = [_check_file(path, resolver) for path in stack]
    for path, image in zip(stack, images, strict=True):
        if (image.shape, image.dtype) != (images[0].shape, images[0].dtype):
            raise DataError(
                f"{path} is of another size or type than {stack[0]}, its neighbour in the stack: "
                "put the slices of each stack into a folder of their own."
            )
    upscaled = resolver.upscale(np.concatenate(images, axis=-1), ensemble, consistency=consistency)
    write_image(target, upscaled.sr)
    return upscaled.residual


def _check_file(path, resolver):
    image = read_image(path)
    try:
        resolver.check_image(image)
    except MrisrError as error:
        raise DataError(f"{path}: {error}") from error
    return image


class _Report:
    """The residuals of consistent images, in a file beside them."""

    def __init__(self, target, resolver, consistency, overwrite):
        self.path = residual_path(target) if consistency else None
        self.model = resolver.name
        self.residuals = []
        if consistency:
            check_report(self.path, overwrite)

    def add(self, residual):
        self.residuals.append(residual)

    def write(self):
        """Returns the paths that it wrote."""
        if self.path is None:
            return []
        before, after = (math.sqrt(each) for each in np.mean(np.square(self.residuals), axis=0))
        log.info("Residual against the measured images (RMS): %.3g before, %.3g after", before, after)
        residual = {"before": before, "after": after, "images": len(self.residuals)}
        write_json(self.path, {"model": self.model, "residual": residual})
        return [self.path]
