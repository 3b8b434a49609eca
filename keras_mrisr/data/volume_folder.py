"""Folders of NIfTI volumes as data sets for 3-D generators."""

import logging
import pathlib
import re

from keras_mrisr.data.patients import Patients
from keras_mrisr.data.slices import SliceDataset, SliceRecord, natural_key
from keras_mrisr.errors import DataError
from keras_mrisr.files import visible_files
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.formats import IN_FOLDERS, is_in_folder

log = logging.getLogger(__name__)

_MASK = re.compile(r"_(mask|d?seg)\.nii(\.gz)?$", re.IGNORECASE)


def read_volume_folder(
    root: PathLike, patient_pattern: str | None = None, choice: Choice = ALL
) -> SliceDataset:
    """Finds the NIfTI volumes in a folder and below; reads no voxels.

    Hidden files are skipped, and so are masks and segmentations: `*_mask.*`, `*_seg.*`, `*_dseg.*`.

    Args:
        root: The folder.
        patient_pattern: As for `read_image_folder`. Without one the patient is `sub-...` where the path says
            so as in BIDS, else the first folder below the root, else the file: several scans of one patient
            must not fall into different parts of a split. See `Patients`.
        choice: Which volumes are taken.

    Returns:
        A data set of kind "volumes" with one record a file; `index` counts the volumes of a patient.

    Raises:
        DataError: No such folder, no volumes in it, a pattern that is not one, or a file that the pattern
            does not match.
    """
    root = pathlib.Path(root)
    patients = Patients(root, patient_pattern, whole_files=True)
    volumes: dict[str, list[SliceRecord]] = {}
    for name in sorted(choice.of(volume_files(root), root), key=natural_key):
        patient, site = patients.find(name)
        scans = volumes.setdefault(patient, [])
        scans.append(SliceRecord(root / name, patient, len(scans), site))
    if not volumes:
        raise DataError(f"{root} holds no volumes. Expected {' or '.join(IN_FOLDERS)} files in it or below.")
    ordered = tuple(record for patient in sorted(volumes, key=natural_key) for record in volumes[patient])
    dataset = SliceDataset(root, "volumes", ordered, patients_by=patients.way)
    log.info("%s: %s (by %s)", root, dataset.extent, patients.way)
    return dataset


def volume_files(root: pathlib.Path) -> list[str]:
    """Relative paths (with `/`) of the volumes below `root` that are not hidden and no masks."""
    return [name for name in _volumes_and_masks(root) if not _MASK.search(name)]


def mask_files(root: pathlib.Path) -> list[str]:
    """Relative paths (with `/`) of the masks and segmentations among the volumes below `root`."""
    return [name for name in _volumes_and_masks(root) if _MASK.search(name)]


def _volumes_and_masks(root: pathlib.Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in visible_files(root) if is_in_folder(path)]
