"""One entrance to every reader."""

import pathlib

from keras_mrisr.data.image_folder import image_files, read_image_folder
from keras_mrisr.data.lgg import find_lgg_root, read_lgg
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.volume_folder import read_volume_folder, volume_files
from keras_mrisr.errors import DataError
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.formats import format_at

KINDS = ("auto", "lgg", "images", "volumes")


def read_dataset(
    root: PathLike, kind: str = "auto", patient_pattern: str | None = None, choice: Choice = ALL
) -> SliceDataset:
    """Finds the slices of a data set; reads no pixels.

    Args:
        root: A folder: the LGG set's `kaggle_3m` (or one that holds it), or any tree of images or of NIfTI
            volumes.
        kind: "lgg", "images", "volumes", or "auto": LGG where the tree looks like it and no pattern is given,
            volumes where there are NIfTI files and no images.
        patient_pattern: For images and volumes: see `read_image_folder`.
        choice: Which files are taken; masks come with their images.

    Returns:
        The data set; its `kind` says how it was read.

    Raises:
        DataError: Unknown kind, no such folder, nothing to read in it, or a pattern that doesn't fit.
    """
    root = pathlib.Path(root)
    if kind not in KINDS:
        raise DataError(f"Unknown kind of data {kind!r}. Choose one of {', '.join(KINDS)}.")
    if kind == "lgg" and patient_pattern is not None:
        raise DataError(
            "A patient pattern is for kind 'images': the LGG set names its patients by folder. Leave it out."
        )
    if not root.is_dir():
        problem = "is a file" if root.is_file() else "does not exist"
        raise DataError(f"{root} {problem}. Give the folder that holds the patients' images.")
    if kind == "auto":
        kind = _kind_of(root, patient_pattern, choice)
    if kind == "lgg":
        return read_lgg(root, choice)
    return (read_volume_folder if kind == "volumes" else read_image_folder)(root, patient_pattern, choice)


def _kind_of(root: pathlib.Path, patient_pattern: str | None, choice: Choice) -> str:
    if patient_pattern is None and find_lgg_root(root) is not None:
        return "lgg"
    images, volumes = image_files(root), volume_files(root)
    if any(map(choice.takes, images)):
        return "images"
    if any(map(choice.takes, volumes)) or (volumes and not images):
        return "volumes"
    if not images and format_at(root) is not None:
        raise DataError(
            f"{root} holds DICOM. Convert the series to NIfTI first (dcm2niix -z y {root}), and give the "
            "folder of that."
        )
    return "images"
