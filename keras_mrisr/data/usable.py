"""Which files of a data set can be used: read once, before the work, so that a bad one does not stop it."""

import collections
import dataclasses
import logging

import numpy as np

from keras_mrisr.data.masks import read_mask
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.data.volume_slices import read_stack
from keras_mrisr.errors import DataError, MrisrError, UnfitError
from keras_mrisr.folders import Failure, reason_of
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)


def usable(
    dataset: SliceDataset, masks: bool = False, any_channels: bool = False, progress: Progress | None = None
) -> tuple[SliceDataset, tuple[Failure, ...]]:
    """Leaves out files that cannot be read, hold several volumes, or have other channels than most.

    Each is named in a warning; only what cannot be read is a failure. A split of the patients (see
    `split_patients`) stays the same but for those of whom nothing is left: a patient's draws depend on
    nothing else.

    Args:
        dataset: Slices or volumes as files.
        masks: Whether the masks are needed, too.
        any_channels: Whether slices may differ in their number of channels.
        progress: Called with the number of files done so far and the number in all.

    Returns:
        (the others, why each that cannot be read was left out)

    Raises:
        DataError: None can be used: the reason of the first.
    """
    channels: dict[SliceRecord, int] = {}
    errors: dict[SliceRecord, BaseException] = {}
    for done, record in enumerate(dataset.slices, 1):
        try:
            channels[record] = _channels(dataset, record, masks)
        except (MrisrError, OSError, MemoryError) as error:
            errors[record] = error
        if progress is not None:
            progress(done, len(dataset))
    if not channels:
        first, why = next(iter(errors.items()))
        raise DataError(reason_of(why, first.path)) from why
    usual = collections.Counter(channels.values()).most_common(1)[0][0]
    if not any_channels:
        errors |= {
            record: UnfitError(f"{record.path} has {number} channel(s), and most have {usual}.")
            for record, number in channels.items()
            if number != usual
        }
    failures: list[Failure] = []
    for record, why in errors.items():
        failure = Failure.of(why, record.path)
        if isinstance(why, UnfitError):
            log.warning("Left out: %s", failure.reason)
        else:
            log.warning("Failed: %s", failure.reason)
            failures.append(failure)
    taken = tuple(record for record in dataset.slices if record not in errors)
    return dataclasses.replace(dataset, slices=taken), tuple(failures)


def _channels(dataset: SliceDataset, record: SliceRecord, masks: bool) -> int:
    """The number of channels of a file that can be used."""
    array: np.ndarray = read_stack(record.path) if dataset.holds_volumes else dataset.read(record)
    if masks and record.mask is not None:
        read_mask(record, array.shape[:2])
    return array.shape[-1]
