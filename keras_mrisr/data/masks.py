"""Tumour masks of slices."""

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.errors import DataError


def read_mask(record: SliceRecord, shape: tuple[int, int]) -> np.ndarray:
    """The mask of a slice: array (H, W), bool, true where any channel is over 0.

    Args:
        record: A `SliceRecord` with a mask.
        shape: (H, W) of its image.

    Raises:
        DataError: It cannot be read, or is of another size.
    """
    if record.mask is None:
        raise DataError(f"{record.path} has no mask beside it.")
    mask = read_image(record.mask)
    if mask.shape[:2] != tuple(shape):
        raise DataError(
            f"{record.mask} is {mask.shape[0]}x{mask.shape[1]} pixels, its image {shape[0]}x{shape[1]}: "
            "export the mask again at the size of the image, or remove it."
        )
    return np.any(mask > 0, axis=-1)
