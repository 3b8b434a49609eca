"""Volumes as data sets of slices, for networks of slices."""

import dataclasses
import functools
import logging
import pathlib

import numpy as np

from keras_mrisr.data.normalize import RangeNormalizer, volume_normalizer
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import UnfitError
from keras_mrisr.types import Progress
from keras_mrisr.volumes import check_volume, read_volume
from keras_mrisr.volumes.geometry import slice_axis

log = logging.getLogger(__name__)

_TISSUE = 0.1  # Of a volume's range, as in `data.quality`.
_BLANK = 0.01
_SAMPLES = 64


class VolumeSlices:
    """The slices of volumes, as if each were a file: `T1.nii.gz` holds `T1.nii.gz/0000` and so on.

    Args:
        dataset: Of kind "volumes", one record a volume.
        progress: Called with the number of volumes done so far and the number in all.

    Attributes:
        records: One for each slice across the axis of the largest spacing.
        blank: Those of them that hold hardly anything but background.

    Raises:
        DataError: A volume cannot be read or used (see `check_volume`).
    """

    def __init__(self, dataset: SliceDataset, progress: Progress | None = None) -> None:
        # The slices of a volume are asked for one after the other.
        self._stack = functools.lru_cache(maxsize=1)(read_stack)
        self._normalizers: dict[pathlib.Path, RangeNormalizer] = {}
        self.records: list[SliceRecord] = []
        self.blank: set[SliceRecord] = set()
        for done, volume in enumerate(dataset.slices, start=1):
            stack = self._stack(volume.path)
            normalizer = self._normalizers[volume.path] = volume_normalizer(stack)
            step = max(1, min(stack.shape[:2]) // _SAMPLES)
            for place in range(stack.shape[2]):
                record = dataclasses.replace(volume, path=volume.path / f"{place:04d}", index=place)
                self.records.append(record)
                if (normalizer.normalize(stack[::step, ::step, place]) > _TISSUE).mean() < _BLANK:
                    self.blank.add(record)
            if progress is not None:
                progress(done, len(dataset.slices))

    def read(self, record: SliceRecord) -> np.ndarray:
        """The slice (H, W, C) in the file's own type."""
        return np.ascontiguousarray(self._stack(record.path.parent)[:, :, record.index])

    def normalizer(self, record: SliceRecord) -> RangeNormalizer:
        """The normalizer of the volume that a slice belongs to, one for all its slices."""
        return self._normalizers[record.path.parent]


def as_slices(dataset: SliceDataset, progress: Progress | None = None) -> SliceDataset:
    """A data set of slices: that of volumes with a record for each of their slices, others as they are.

    Args:
        dataset: Of any kind. Volumes are read once to see which slices are blank.
        progress: Called with the number of volumes done so far and the number in all.

    Returns:
        The data set; `without_blank` of it leaves out slices that show nothing.

    Raises:
        DataError: A volume cannot be read or used (see `check_volume`).
    """
    if not dataset.holds_volumes:
        return dataset
    volumes = VolumeSlices(dataset, progress)
    log.info(
        "%s: %d slices of volumes, %d of them blank", dataset.root, len(volumes.records), len(volumes.blank)
    )
    return dataclasses.replace(dataset, slices=tuple(volumes.records), volumes=volumes)


def read_stack(path: pathlib.Path) -> np.ndarray:
    """Reads a volume as a stack, (X, Y, Z, C): its slices lie across the third axis (see `slice_axis`).

    Raises:
        DataError: It cannot be read or used (see `check_volume`).
    """
    volume = read_volume(path)
    check_volume(volume)
    array = np.moveaxis(volume.array, slice_axis(volume), 2)
    if min(array.shape[:2]) < 2:
        raise UnfitError(f"{path} has slices of {array.shape[0]}x{array.shape[1]} voxels. Leave it out.")
    return array if array.ndim == 4 else array[..., np.newaxis]
