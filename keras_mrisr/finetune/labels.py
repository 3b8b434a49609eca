"""Slices with the labels that the data has: is there a tumour, and which sequence is each channel."""

import dataclasses
import itertools
import logging
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from keras_mrisr.data.lgg import SEQUENCES
from keras_mrisr.data.masks import read_mask
from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for
from keras_mrisr.data.pipeline import check_channels
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import DataError
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)

UNKNOWN = -1
"""The class of an image whose label is not known."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledSlice:
    """A slice in memory.

    Attributes:
        image: Array (H, W, C) in the file's own type.
        normalizer: Brings it to [0, 1], as for super-resolution.
        mask: Array (H, W), bool: where the tumour is; None if that is not asked.
        sequences: For each channel its number, or UNKNOWN where another channel of the patient equals it
            (a missing sequence was filled with another) or nothing is in it.
        record: Where it comes from.
    """

    image: np.ndarray
    normalizer: RangeNormalizer
    mask: np.ndarray | None
    sequences: tuple
    record: SliceRecord

    @property
    def tumour(self) -> int:
        """1 with, 0 without a tumour, UNKNOWN without a mask."""
        return UNKNOWN if self.mask is None else int(self.mask.any())


def load_labelled(
    dataset: SliceDataset,
    labels: Collection[str],
    channels: int | None = None,
    progress: Progress | None = None,
) -> list[LabelledSlice]:
    """Reads all slices and masks into memory: about 10 MB a patient of the LGG set.

    Args:
        dataset: A `SliceDataset`. For the label "tumour", slices without a mask are left out, with a
            warning.
        labels: Of "tumour" and "sequence".
        channels: Required number of channels; by default that of the first slice.
        progress: Called with the number of slices done and the number in all.

    Returns:
        List of `LabelledSlice`.

    Raises:
        DataError: A label that the data does not have, or a slice or mask that cannot be read, differs in
            size from the other, or has another number of channels.
    """
    masks = "tumour" in labels
    records = [record for record in dataset.slices if record.mask is not None or not masks]
    if not records:
        raise DataError(
            f"{dataset.root} has no masks to learn the label 'tumour' from: a slice NAME.tif needs its mask "
            "NAME_mask.tif beside it. Or learn the label 'sequence' alone."
        )
    if len(records) < len(dataset.slices):
        log.warning("%d slices without a mask are left out", len(dataset.slices) - len(records))
    images: list[np.ndarray] = []
    for record in records:
        images.append(dataset.read(record))
        channels = channels or images[0].shape[-1]
        check_channels(record.path, images[-1], channels)
        if progress is not None:
            progress(len(images), len(records))
    pairs = zip(records, images, strict=True)
    stacks = [list(stack) for _, stack in itertools.groupby(pairs, key=lambda pair: pair[0].patient)]
    return [labelled for stack in stacks for labelled in _labelled(stack, masks)]


def _labelled(stack: Sequence[tuple[SliceRecord, np.ndarray]], masks: bool) -> Iterator[LabelledSlice]:
    """The slices of one patient with their labels."""
    clear = distinct_channels([image for _, image in stack])
    for record, image in stack:
        flat = image.reshape(-1, image.shape[-1])
        shown = clear & (flat.min(axis=0) < flat.max(axis=0))
        yield LabelledSlice(
            image,
            normalizer_for(image),
            read_mask(record, image.shape[:2]) if masks else None,
            tuple(c if shown[c] else UNKNOWN for c in range(len(shown))),
            record,
        )


def distinct_channels(images: Sequence[np.ndarray]) -> np.ndarray:
    """Which channels of a patient's slices (H, W, C) are unlike all others: array (C,), bool.

    Two are taken for the same sequence where they are equal in at least half of the slices that show
    anything.
    """
    channels = images[0].shape[-1]
    shown = [image for image in images if image.min() < image.max()]
    distinct = np.ones(channels, bool)
    for one, two in itertools.combinations(range(channels), 2):
        equal = sum(np.array_equal(image[..., one], image[..., two]) for image in shown)
        if 2 * equal >= max(len(shown), 1):
            distinct[[one, two]] = False
    return distinct


def sequence_names(kind: str, channels: int) -> list[str]:
    """What the channels of a data set of this kind are called, in order."""
    return list(SEQUENCES) if kind == "lgg" else [f"channel {number}" for number in range(channels)]


def check_labels(slices: Sequence[LabelledSlice], labels: Collection[str], part: str) -> None:
    """Checks that each label has something to tell apart.

    Args:
        slices: List of `LabelledSlice`.
        labels: Of "tumour" and "sequence".
        part: What to call them in a message: "training" or "validation".

    Raises:
        DataError: Only one class of a label is there.
    """
    if "tumour" in labels and len({each.tumour for each in slices}) < 2:
        what = "a tumour" if slices[0].tumour else "no tumour"
        raise DataError(
            f"All {len(slices)} {part} slices show {what}: there is nothing to tell apart. Check the masks, "
            "choose another data.split_seed, or learn the label 'sequence' alone."
        )
    known = {number for each in slices for number in each.sequences} - {UNKNOWN}
    if "sequence" in labels and len(known) < 2:
        channels = slices[0].image.shape[-1]
        why = "have one channel" if channels == 1 else "do not have two channels that differ"
        raise DataError(
            f"The {part} slices {why}: there is no label 'sequence' to learn. Learn 'tumour' alone."
        )
