"""Upscaling files and folders of images."""

import logging
import pathlib

from keras_mrisr.data.images import IMAGE_SUFFIXES, read_image, read_image_folder, write_image
from keras_mrisr.errors import InputError
from keras_mrisr.files import check_new_directory, check_only_holds, whole_directory

log = logging.getLogger(__name__)


def upscale_path(source, target, resolver, ensemble=False, overwrite=False, progress=None):
    """Upscales an image file, or all images in a folder and below, but for masks (`*_mask.*`).

    Bit depth, grey or RGB, range and file format stay those of the input.

    Args:
        source: An image file, or a folder of them.
        target: The file to write (or an existing folder for it); for a folder, the folder to write,
            in which the names of the source stay the same.
        resolver: A `SuperResolver`.
        ensemble: See `SuperResolver.__call__`.
        overwrite: Replace a target that exists; a folder only if nothing but earlier results is in it.
        progress: Called with the number of files done so far and the number in all.

    Returns:
        List of the paths that were written.

    Raises:
        InputError: A bad source file, a target that exists, that is or holds the source, or that cannot
            be written. Nothing is left of a folder that could not be completed.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    if not source.exists():
        raise InputError(f"{source} does not exist. Give an image file or a folder of images.")
    if source.is_dir():
        return _upscale_folder(source, target, resolver, ensemble, overwrite, progress)
    if target.is_dir():
        target = target / source.name
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        endings = ", ".join(IMAGE_SUFFIXES)
        raise InputError(f"{target} is no folder and no image name: make the folder, or end in {endings}.")
    if target.resolve() == source.resolve():
        raise InputError(f"{target} is the source itself. Choose another name.")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists. Choose another name or pass --overwrite.")
    _upscale_file(source, target, resolver, ensemble)
    if progress is not None:
        progress(1, 1)
    return [target]


def _upscale_folder(source, target, resolver, ensemble, overwrite, progress):
    if target.resolve() == source.resolve():
        raise InputError(f"{target} is the source itself. Choose another folder.")
    if source.resolve().is_relative_to(target.resolve()):
        raise InputError(f"{target} holds the source {source}. Choose another folder.")
    if target.resolve().is_relative_to(source.resolve()):
        # Its images would be taken for sources the next time.
        raise InputError(f"{target} lies in the source {source}. Choose another folder.")
    check_new_directory(target, overwrite)
    records = read_image_folder(source).slices
    names = [record.path.relative_to(source) for record in records]
    check_only_holds(target, {name.parts[0] for name in names})
    masks = sum(record.mask is not None for record in records)
    if masks:
        log.info("%d masks (*_mask files) are left out", masks)
    for name in names:  # All inputs are good before the long work begins.
        _check_file(source / name, resolver)
    with whole_directory(target, overwrite) as temporary:
        for done, name in enumerate(names, start=1):
            _upscale_file(source / name, temporary / name, resolver, ensemble)
            if progress is not None:
                progress(done, len(names))
    return [target / name for name in names]


def _upscale_file(source, target, resolver, ensemble):
    image = _check_file(source, resolver)
    write_image(target, resolver(image, ensemble))


def _check_file(path, resolver):
    image = read_image(path)
    try:
        resolver.check_image(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return image
