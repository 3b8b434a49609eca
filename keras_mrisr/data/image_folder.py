"""Folders of image files as data sets."""

import logging
import os
import pathlib

from keras_mrisr.data.images import IMAGE_SUFFIXES
from keras_mrisr.data.patients import Patients
from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, natural_key
from keras_mrisr.errors import DataError
from keras_mrisr.files import visible_files
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)


def read_image_folder(root: PathLike, patient_pattern: str | None = None) -> SliceDataset:
    """Finds the images in a folder and below; reads no pixels.

    A file `*_mask.*` is the mask of the image beside it, not a slice. Hidden files are skipped.

    Args:
        root: The folder.
        patient_pattern: A regular expression that finds the patient in each path relative to `root`, see
            `Patients`. Without one the patient is the BIDS subject, `sub-...`, where the path names one, or
            else the folder that holds the file.

    Returns:
        A data set of kind "images", patients and slices in natural order.

    Raises:
        DataError: No such folder, no images in it, a pattern that is not one, or a file that the
            pattern does not match.
    """
    root = pathlib.Path(root)
    patients = Patients(root, patient_pattern)
    names = image_files(root)
    masks = {_unmasked(name): root / name for name in sorted(names) if _is_mask(name)}
    names = [name for name in names if not _is_mask(name)]
    if not names:
        raise DataError(f"{root} holds no images. Expected {', '.join(IMAGE_SUFFIXES)} files in it or below.")
    ordered = _in_order(root, names, masks, patients)
    findings = tuple(
        Finding("unpaired-mask", mask, None, f"{mask.name} has no image beside it") for mask in masks.values()
    )
    dataset = SliceDataset(root, "images", ordered, findings, patients_by=patients.way)
    odd = f"{len(findings)} masks without an image" if findings else "nothing odd"
    log.info("%s: %s (by %s); %s", root, dataset.extent, patients.way, odd)
    return dataset


def _in_order(
    root: pathlib.Path, names: list[str], masks: dict[str, pathlib.Path], patients: Patients
) -> tuple[SliceRecord, ...]:
    """The slices by patient and name; takes their masks out of `masks`."""
    slices: dict[str, list[SliceRecord]] = {}
    for name in sorted(names, key=natural_key):
        patient, site = patients.find(name)
        stack = slices.setdefault(patient, [])
        if stack and stack[0].site != site:
            raise DataError(
                f"{root / name} puts patient {patient!r} at site {site!r}, other files at {stack[0].site!r}."
                " Mend the patient pattern: a patient has one site."
            )
        mask = masks.pop(os.path.splitext(name)[0], None)
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


def _is_mask(name: str) -> bool:
    return os.path.splitext(name)[0].lower().endswith("_mask")


def _unmasked(name: str) -> str:
    return os.path.splitext(name)[0][: -len("_mask")]
