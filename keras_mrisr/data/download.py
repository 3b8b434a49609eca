"""Fetching public data sets."""

import logging
import pathlib
import shutil

from keras_mrisr.data.lgg import find_lgg_root, read_lgg
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_directory, check_only_holds, whole_directory
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

LGG_HANDLE = "mateuszbuda/lgg-mri-segmentation"
"""The LGG set on Kaggle."""

_LGG_PAGE = f"https://www.kaggle.com/datasets/{LGG_HANDLE}"


def download_lgg(destination: PathLike, overwrite: bool = False) -> SliceDataset:
    """Downloads the LGG segmentation set (110 patients, about 1 GB unpacked) with kagglehub.

    Source: Buda, Saha, Mazurowski, "Association of genomic subtypes of lower-grade gliomas with shape
    features automatically extracted by a deep learning algorithm", Computers in Biology and Medicine
    109, 2019. Published for research under CC BY-NC-SA 4.0.

    Args:
        destination: The folder to make; it gets one folder `kaggle_3m`, whole or not at all.
        overwrite: Replace an existing folder.

    Returns:
        The data set as `read_lgg` reads it there.

    Raises:
        DataError: kagglehub is not installed, the download fails, what came is no LGG tree, or the
            destination exists or cannot be written.
    """
    destination = pathlib.Path(destination)
    check_new_directory(destination, overwrite)  # Before a long download, not after it.
    if overwrite:
        check_only_holds(destination, ("kaggle_3m",))
    by_hand = f"or download {_LGG_PAGE} by hand, unpack it and give that folder"
    try:
        import kagglehub
    except ImportError as error:
        raise DataError(
            f"Downloading needs kagglehub. Install it (pip install kagglehub), {by_hand}."
        ) from error
    log.info("downloading %s with kagglehub", LGG_HANDLE)
    try:
        fetched = pathlib.Path(kagglehub.dataset_download(LGG_HANDLE))
    except Exception as error:  # kagglehub raises its own, those of requests, of zipfile, ...
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"Downloading {LGG_HANDLE} failed ({reason}). Check the network and try again, {by_hand}."
        ) from error
    tree = find_lgg_root(fetched)
    if tree is None:
        raise DataError(f"{fetched} holds no TCGA_* patient folders. Remove it and try again, {by_hand}.")
    with whole_directory(destination, overwrite) as temporary:
        try:
            shutil.copytree(tree, temporary / "kaggle_3m")
        except (OSError, shutil.Error) as error:
            reason = getattr(error, "strerror", None) or "some files could not be copied"
            raise DataError(
                f"Cannot copy {tree} to {destination}: {reason}. Free some space or choose another place."
            ) from error
    log.info("%s is ready; kagglehub's own copy stays in %s until you remove it", destination, fetched)
    return read_lgg(destination)
