"""Masks for files and folders of images."""

import collections
import itertools
import pathlib
from collections.abc import Iterable

import numpy as np

from keras_mrisr.data.image_folder import read_image_folder
from keras_mrisr.data.images import read_image, write_image
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import check_new_directory, check_only_holds, whole_directory
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.types import PathLike, Progress

LOSSLESS = (".png", ".tif", ".tiff")


def segment_path(
    source: PathLike,
    target: PathLike,
    segmenter: Segmenter,
    largest: bool = False,
    patient_pattern: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[pathlib.Path]:
    """Segments an image file, or all images in a folder and below, but for masks (`*_mask.*`).

    A mask is a grey 8-bit image of the size of its slice, 255 where the lesion is.

    Args:
        source: An image file, or a folder of them.
        target: For a file the mask to write (PNG or TIFF), or an existing folder for it; for a folder the
            folder to write, in which `NAME_mask.tif` (`.png` for PNG and JPEG) is the mask of `NAME.tif`.
        segmenter: A `Segmenter`.
        largest: Keep only the largest lesion of each patient.
        patient_pattern: Which images are slices of one patient: see `read_image_folder`. By default those
            in one folder. Their brightness is judged together.
        overwrite: Replace a target that exists; a folder only if nothing but earlier results is in it.
        progress: Called with the number of slices done so far and the number in all.

    Returns:
        List of the paths that were written.

    Raises:
        DataError: A bad source file, or a target that exists, that is or holds the source, or that cannot
            be written. Nothing is left of a folder that could not be completed.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    if not source.exists():
        raise DataError(f"{source} does not exist. Give an image file or a folder of images.")
    if source.is_dir():
        return _folder(source, target, segmenter, largest, patient_pattern, overwrite, progress)
    if target.is_dir():
        target = target / mask_name(source)
    if target.suffix.lower() not in LOSSLESS:
        raise DataError(f"{target} is no folder and no PNG or TIFF name: make the folder, or end in .png.")
    if target.resolve() == source.resolve():
        raise DataError(f"{target} is the source itself. Choose another name.")
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists. Choose another name or pass `overwrite=True`.")
    [mask] = segmenter([_read(source, segmenter)], largest=largest)
    _write(target, mask)
    if progress is not None:
        progress(1, 1)
    return [target]


def mask_name(path: pathlib.Path) -> str:
    """The name of the mask of an image: `NAME_mask.png`, or `.tif` where the image is a TIFF."""
    suffix = path.suffix if path.suffix.lower() in LOSSLESS else ".png"
    return f"{path.stem}_mask{suffix}"


def _folder(
    source: pathlib.Path,
    target: pathlib.Path,
    segmenter: Segmenter,
    largest: bool,
    patient_pattern: str | None,
    overwrite: bool,
    progress: Progress | None,
) -> list[pathlib.Path]:
    inside, outside = target.resolve(), source.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise DataError(
            f"{target} and the source {source} must not lie in each other. Choose another folder."
        )
    check_new_directory(target, overwrite)
    records = read_image_folder(source, patient_pattern).slices
    names = _mask_names(source, records)
    check_only_holds(target, {name.parts[0] for name in names.values()})
    for record in records:  # All inputs are good before the long work begins.
        _read(record.path, segmenter)
    with whole_directory(target, overwrite) as temporary:
        done = 0
        for patient, found in itertools.groupby(records, key=lambda record: record.patient):
            group = list(found)
            for record, mask in zip(group, _masks(patient, group, segmenter, largest), strict=True):
                _write(temporary / names[record], mask)
            done += len(group)
            if progress is not None:
                progress(done, len(records))
    return [target / name for name in names.values()]


def _mask_names(source: pathlib.Path, records: Iterable[SliceRecord]) -> dict[SliceRecord, pathlib.Path]:
    """{record: path of its mask below the target}, each another."""
    below = {record: record.path.relative_to(source) for record in records}
    names = {record: path.with_name(mask_name(path)) for record, path in below.items()}
    for name, number in collections.Counter(names.values()).most_common(1):
        if number > 1:
            raise DataError(f"{source} has two images whose mask would be {name}: keep one of them.")
    return names


def _masks(
    patient: str, records: Iterable[SliceRecord], segmenter: Segmenter, largest: bool
) -> list[np.ndarray]:
    """The masks of all slices of a patient."""
    try:
        return segmenter([read_image(record.path) for record in records], largest=largest)
    except MrisrError as error:
        raise DataError(f"Patient {patient}: {error}") from error


def _write(path: pathlib.Path, mask: np.ndarray) -> None:
    write_image(path, np.where(mask, 255, 0).astype(np.uint8))


def _read(path: pathlib.Path, segmenter: Segmenter) -> np.ndarray:
    image = read_image(path)
    try:
        segmenter.check_image(image)
    except MrisrError as error:
        raise DataError(f"{path}: {error}") from error
    return image
