"""Slices with their masks in memory, patient by patient, at one brightness."""

import dataclasses
import logging

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.masks import read_mask
from keras_mrisr.errors import DataError

log = logging.getLogger(__name__)

PERCENTILE = 99.0
"""Of a patient's intensities in one channel: becomes 1 for the U-Net."""


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedStack:
    """The slices of one patient and what is lesion in them.

    Attributes:
        patient: Whose they are.
        images: List of arrays (H, W, C), in the files' own type.
        masks: List of arrays (H, W), bool.
        peaks: Array (C,): the `PERCENTILE` of each channel over all slices; see `peaks_of`.
        records: The `SliceRecord`s.
    """

    patient: str
    images: list
    masks: list
    peaks: np.ndarray
    records: tuple


def load_stacks(dataset, channels=None, progress=None):
    """Reads all slices and masks into memory: about 10 MB a patient of the LGG set.

    Args:
        dataset: A `SliceDataset` whose slices have masks. Slices without are left out, with a warning.
        channels: Required number of channels; by default that of the first slice.
        progress: Called with the number of slices done so far and the number in all.

    Returns:
        List of `MaskedStack`, one a patient that has masks.

    Raises:
        DataError: These are volumes, there are no masks, or a slice or mask cannot be read, differs in
            size from the other, or has another number of channels.
    """
    dataset.require_slices()
    masked = [record for record in dataset.slices if record.mask is not None]
    if not masked:
        raise DataError(
            f"{dataset.root} has no masks: a slice NAME.tif needs its mask NAME_mask.tif beside it."
        )
    if len(masked) < len(dataset.slices):
        log.warning("%d slices without a mask are left out", len(dataset.slices) - len(masked))
    stacks, done = [], 0
    for patient, records in dataclasses.replace(dataset, slices=tuple(masked)).by_patient().items():
        images, masks = [], []
        for record in records:
            image = read_image(record.path)
            channels = image.shape[-1] if channels is None else channels
            if image.shape[-1] != channels:
                raise DataError(
                    f"{record.path} has {image.shape[-1]} channels where {channels} were expected: use "
                    "slices of one kind, or a U-Net for them."
                )
            images.append(image)
            masks.append(read_mask(record, image.shape[:2]))
            done += 1
            if progress is not None:
                progress(done, len(masked))
        stacks.append(MaskedStack(patient, images, masks, peaks_of(images), records))
    return stacks


def peaks_of(images):
    """What becomes 1 in each channel of a patient: the 99th percentile over all slices.

    Scanners of the LGG set differ fivefold in the brightness of FLAIR, and a lesion is known by how bright
    it is beside the rest of the brain. Over the patient and not the slice, because the first and last
    slices show little of it.

    Args:
        images: Arrays (H, W, C) of one patient, all of one C.

    Returns:
        Array (C,), float32, positive; 1 for a channel without any signal.
    """
    channels = range(images[0].shape[-1])
    values = (np.concatenate([image[..., channel].ravel() for image in images]) for channel in channels)
    return np.asarray([_peak(each) for each in values], "float32")


def at_peaks(image, peaks):
    """An image (..., C) for the U-Net: float32, each channel divided by its peak."""
    return np.asarray(image, "float32") / np.asarray(peaks, "float32")


def check_lesions(stacks, what):
    """Raises DataError when no mask marks anything."""
    if not any(mask.any() for stack in stacks for mask in stack.masks):
        raise DataError(
            f"The masks of all {len(stacks)} {what} patients are empty: there is nothing to segment. "
            "Check the masks, or choose another data.split_seed."
        )


def _peak(values):
    # A small lesion in a dark channel may be all there is: then the maximum.
    peak = float(np.percentile(values, PERCENTILE)) or float(values.max())
    return peak if peak > 0 else 1.0
