"""Slices with their masks in memory, patient by patient, at one brightness."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.masks import read_mask
from keras_mrisr.data.pipeline import check_channels
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import DataError
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)

PERCENTILE = 99.0
"""The percentile of a patient's intensities in one channel that becomes 1 for the U-Net."""


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
    images: list[np.ndarray]
    masks: list[np.ndarray]
    peaks: np.ndarray
    records: tuple[SliceRecord, ...]


def load_stacks(
    dataset: SliceDataset, channels: int | None = None, progress: Progress | None = None
) -> list[MaskedStack]:
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
            images.append(dataset.read(record))
            channels = channels or images[0].shape[-1]
            check_channels(record.path, images[-1], channels)
            masks.append(read_mask(record, images[-1].shape[:2]))
            done += 1
            if progress is not None:
                progress(done, len(masked))
        stacks.append(MaskedStack(patient, images, masks, peaks_of(images), records))
    return stacks


def peaks_of(images: Sequence[np.ndarray]) -> np.ndarray:
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


def at_peaks(image: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """An image (..., C) for the U-Net: float32, each channel divided by its peak."""
    return np.asarray(image, "float32") / np.asarray(peaks, "float32")


def check_lesions(stacks: Sequence[MaskedStack], what: str) -> None:
    """Raises DataError when no mask marks anything."""
    if not any(mask.any() for stack in stacks for mask in stack.masks):
        raise DataError(
            f"The masks of all {len(stacks)} {what} patients are empty: there is nothing to segment. "
            "Check the masks, or choose another data.split_seed."
        )


def _peak(values: np.ndarray) -> float:
    # A small lesion in a dark channel may be all there is: then the maximum.
    peak = float(np.percentile(values, PERCENTILE)) or float(values.max())
    return peak if peak > 0 else 1.0
