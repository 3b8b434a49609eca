"""Planes of images and volumes whose own detail is fine in both axes: what thick slices are made of."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for, volume_normalizer
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import DataError
from keras_mrisr.types import Progress
from keras_mrisr.volumes import Volume, check_volume, read_volume

log = logging.getLogger(__name__)

_ALIKE = 1.1  # Between the two spacings of a plane.
_COARSE = 1.5  # Of the finest spacing of a volume: planes of two thick axes show no detail.
_BLANK = 0.03  # Standard deviation, in the normalised range.


@dataclasses.dataclass(frozen=True)
class FinePlane:
    """One plane of one channel, in the file's own type.

    Attributes:
        array: (H, W).
        normalizer: Maps it to [0, 1].
        record: The `SliceRecord` of its file.
    """

    array: np.ndarray
    normalizer: RangeNormalizer
    record: SliceRecord

    @property
    def image(self) -> np.ndarray:
        """(H, W), float32, nominally in [0, 1]."""
        return self.normalizer.normalize(self.array)


class FinePlanes(Sequence[np.ndarray]):
    """The planes as images (H, W), float32, nominally in [0, 1]: each is normalised when it is asked for.

    Args:
        planes: `FinePlane`s.
    """

    def __init__(self, planes: Sequence[FinePlane]) -> None:
        self.planes = list(planes)

    def __len__(self) -> int:
        return len(self.planes)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return FinePlanes(self.planes[index])
        return self.planes[index].image


def load_fine_planes(
    dataset: SliceDataset, smallest: int = 1, progress: Progress | None = None
) -> FinePlanes:
    """Reads the planes of a data set that are fine in both axes, each channel by itself.

    Of images all are taken. Of volumes those planes are taken whose two spacings differ by less than 1.1
    times: in a stack of thick slices the slices, in a volume of thin ones the planes of all directions.
    Channels that are equal count once, and planes that show hardly anything are left out.

    Args:
        dataset: A `SliceDataset` of any kind. Volumes stay in memory in the type of the file.
        smallest: Pixels along each edge; smaller planes are left out.
        progress: Called with the number of files done so far and the number in all.

    Raises:
        DataError: A file cannot be read, a volume has no plane of equal spacings, or nothing is left.
    """
    planes: list[FinePlane] = []
    small = 0
    for done, record in enumerate(dataset.slices, start=1):
        for plane in _planes_of(dataset, record):
            if min(plane.array.shape) < smallest:
                small += 1
            elif plane.image.std() >= _BLANK:
                planes.append(plane)
        if progress is not None:
            progress(done, len(dataset.slices))
    if small:
        log.warning(
            "%s: %d planes are smaller than %d pixels and are left out", dataset.root, small, smallest
        )
    if not planes:
        raise DataError(
            f"{dataset.root}: no plane of its {dataset.extent} is {smallest} pixels wide or more and shows "
            "anything. Lower `training.width` or `training.factor`, or give larger images."
        )
    return FinePlanes(planes)


def _planes_of(dataset: SliceDataset, record: SliceRecord) -> Iterator[FinePlane]:
    if not dataset.holds_volumes:
        for channel in _channels(dataset.read(record)):
            yield FinePlane(channel, normalizer_for(channel), record)
        return
    volume = read_volume(record.path)
    check_volume(volume)
    stack = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
    axes = _across_fine_planes(volume)
    for channel in _channels(stack):
        normalizer = volume_normalizer(channel)
        for axis in axes:
            for plane in np.moveaxis(channel, axis, 0):
                yield FinePlane(plane, normalizer, record)


def _channels(array: np.ndarray) -> list[np.ndarray]:
    """The channels of (..., C), without those that are the same as one before."""
    channels: list[np.ndarray] = []
    for place in range(array.shape[-1]):
        channel = array[..., place]
        if not any(np.array_equal(channel, other) for other in channels):
            channels.append(channel)
    return channels


def _across_fine_planes(volume: Volume) -> list[int]:
    """The axes across which a volume has planes of equal spacings that are among its finest."""
    spacing = volume.spacing
    axes = []
    for axis in range(3):
        both = np.delete(spacing, axis)
        if both.max() < _ALIKE * both.min() and both.max() < _COARSE * spacing.min():
            axes.append(axis)
    if not axes:
        sizes = " x ".join(f"{each:.4g}" for each in spacing)
        raise DataError(
            f"{volume.name} has voxels of {sizes} mm: no plane of it has two spacings alike (within "
            f"{_ALIKE:g} times). Resample it, or leave it out."
        )
    return axes
