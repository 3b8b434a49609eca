"""Folders of image files as data sets."""

import logging
import os
import pathlib

from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.patients import Patients
from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, natural_key
from keras_mrisr.errors import DataError
from keras_mrisr.files import visible_files
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)


def read_image_folder(
    root: PathLike, patient_pattern: str | None = None, choice: Choice = ALL
) -> SliceDataset:
    """Finds the images in a folder and below; reads no pixels.

    A file `*_mask.*` is the mask of the image beside it, not a slice. Hidden files are skipped.

    Args:
        root: The folder.
        patient_pattern: A regular expression that finds the patient in each path relative to `root`, see
            `Patients`. Without one the patient is the BIDS subject, `sub-...`, where the path names one, or
            else the folder that holds the file.
        choice: Which images are taken; their masks come with them.

    Returns:
        A data set of kind "images", patients and slices in natural order.

    Raises:
        DataError: No such folder, no images in it, a pattern that is not one, or a file that the
            pattern does not match.
    """
    root = pathlib.Path(root)
    patients = Patients(root, patient_pattern)
    names = image_files(root)
    images = [name for name in names if not is_mask(name)]
    if not images:
        raise DataError(f"{root} holds no images. Expected {', '.join(IMAGE_SUFFIXES)} files in it or below.")
    masks = {_unmasked(name): root / name for name in sorted(names) if is_mask(name)}
    ordered = _in_order(root, choice.of(images, root), masks, patients)
    owners = {os.path.splitext(name)[0] for name in images}
    findings = tuple(
        Finding("unpaired-mask", mask, None, f"{mask.name} has no image beside it")
        for owner, mask in masks.items()
        if owner not in owners
    )
    dataset = SliceDataset(root, "images", ordered, findings, patients_by=patients.way)
    odd = f"{len(findings)} masks without an image" if findings else "nothing odd"
    log.info("%s: %s (by %s); %s", root, dataset.extent, patients.way, odd)
    return dataset


def _in_order(
    root: pathlib.Path, names: list[str], masks: dict[str, pathlib.Path], patients: Patients
) -> tuple[SliceRecord, ...]:
    """The slices by patient and name, with their masks."""
    slices: dict[str, list[SliceRecord]] = {}
    for name in sorted(names, key=natural_key):
        patient, site = patients.find(name)
        stack = slices.setdefault(patient, [])
        if stack and stack[0].site != site:
            raise DataError(
                f"{root / name} puts patient {patient!r} at site {site!r}, other files at {stack[0].site!r}."
                " Mend the patient pattern: a patient has one site."
            )
        mask = masks.get(os.path.splitext(name)[0])
        stack.append(SliceRecord(root / name, patient, len(stack), site, mask))
    return tuple(record for patient in sorted(slices, key=natural_key) for record in slices[patient])


def image_files(root: pathlib.Path) -> list[str]:
    """Relative paths (with `/`) of all images below `root`, hidden ones left out."""
    if not root.is_dir():
        raise DataError(
            f"{root} {'is not a folder' if root.exists() else 'does not exist'}. Give a folder of images."
        )
    # macOS leaves the hidden `._slice.tif` beside each file: the right ending, but no image.
    paths = (path for path in visible_files(root) if path.suffix.lower() in IMAGE_SUFFIXES)
    return [path.relative_to(root).as_posix() for path in paths]


def is_mask(name: str) -> bool:
    """Whether a file is the mask of an image, by its name."""
    return os.path.splitext(name)[0].lower().endswith("_mask")


def _unmasked(name: str) -> str:
    return os.path.splitext(name)[0][: -len("_mask")]
