"""One entrance to every reader."""

import os
import pathlib

from keras_mrisr.data.image_folder import image_files, read_image_folder
from keras_mrisr.data.lgg import find_lgg_root, read_lgg
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.volume_folder import read_volume_folder, volume_files
from keras_mrisr.errors import DataError

KINDS = ("auto", "lgg", "images", "volumes")


def read_dataset(
    root: str | os.PathLike, kind: str = "auto", patient_pattern: str | None = None
) -> SliceDataset:
    """Finds the slices of a data set; reads no pixels.

    Args:
        root: A folder: the LGG set's `kaggle_3m` (or one that holds it), or any tree of images or of NIfTI
            volumes.
        kind: "lgg", "images", "volumes", or "auto": LGG where the tree looks like it and no pattern is given,
            volumes where there are NIfTI files and no images.
        patient_pattern: For images and volumes: see `read_image_folder`.

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
    if root.is_file():
        raise DataError(f"{root} is a file. Give the folder that holds the patients' images.")
    if not root.is_dir():
        raise DataError(f"{root} does not exist. Give the folder that holds the patients' images.")
    if kind == "lgg" or (kind == "auto" and patient_pattern is None and find_lgg_root(root) is not None):
        return read_lgg(root)
    if kind == "volumes" or (kind == "auto" and not image_files(root) and volume_files(root)):
        return read_volume_folder(root, patient_pattern)
    return read_image_folder(root, patient_pattern)
