"""From volumes on disk to batches of aligned LR and HR blocks, for 3-D generators."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for, volume_normalizer
from keras_mrisr.data.pipeline import PatchDataset, check_channels
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.data.volume_slices import read_stack
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.types import Progress


@dataclasses.dataclass(frozen=True)
class VolumePair:
    """One HR volume and its LR one, in the file's own type; the third axis goes across the slices.

    Attributes:
        hr: Array (X, Y, Z, C).
        lr: Array (X / fx, Y / fy, Z / fz, C).
        normalizer: Maps both to the network's [0, 1].
        record: The `SliceRecord` of the volume, or of the first slice of its stack.
    """

    hr: np.ndarray
    lr: np.ndarray
    normalizer: RangeNormalizer
    record: SliceRecord

    def central_block(self, size: Sequence[int]) -> Self:
        """The pair of the block of at most `size` HR voxels in the middle, in whole LR voxels."""
        hr_place, lr_place = [], []
        for edge, hr_edge, lr_edge in zip(size, self.hr.shape, self.lr.shape, strict=False):
            factor = hr_edge // lr_edge
            count = max(min(edge // factor, lr_edge), 1)
            first = (lr_edge - count) // 2
            lr_place.append(slice(first, first + count))
            hr_place.append(slice(first * factor, (first + count) * factor))
        return dataclasses.replace(self, hr=self.hr[tuple(hr_place)], lr=self.lr[tuple(lr_place)])


def load_volume_pairs(
    dataset: SliceDataset, degradation: Any, channels: int | None = None, progress: Progress | None = None
) -> list[VolumePair]:
    """Reads all volumes into memory and degrades each as a whole.

    NIfTI volumes are turned so that the axis across the slices (the largest spacing, see
    `geometry.slice_axis`) is the third. Of slices, those of a patient in the order of their numbers are
    one volume; a missing number leaves no gap.

    Args:
        dataset: A `SliceDataset` of any kind.
        degradation: A `Degradation` of volumes, such as `SliceProfile`.
        channels: Required number of channels; by default that of the first volume.
        progress: Called with the number of volumes done so far and the number in all.

    Returns:
        List of `VolumePair`. HR volumes are cropped at their ends to multiples of the factors. They stay
        in memory in the type of the file: 256x256x170 voxels of 16 bits take 33 MB with their LR volume.

    Raises:
        DataError: A volume cannot be read or used (see `check_volume`), has another number of
            channels, is too small, or the slices of a patient are of several sizes or types.
    """
    if not dataset.slices:
        raise DataError(f"No volumes to load from {dataset.root}.")
    sources = [(one,) for one in dataset.slices] if dataset.holds_volumes else dataset.stacks()
    pairs: list[VolumePair] = []
    for records in sources:
        pairs.append(_load_pair(records, dataset.holds_volumes, degradation, channels))
        channels = pairs[0].hr.shape[-1]
        if progress is not None:
            progress(len(pairs), len(sources))
    return pairs


def _load_pair(
    records: Sequence[SliceRecord], from_file: bool, degradation: Any, channels: int | None
) -> VolumePair:
    path = records[0].path if from_file else records[0].path.parent
    hr = read_stack(path) if from_file else _stack_of_slices(records)
    check_channels(path, hr, channels or hr.shape[-1])
    sizes = zip(hr.shape, degradation.factors, strict=False)
    hr = hr[tuple(slice(size // factor * factor) for size, factor in sizes)]
    try:
        lr = degradation.degrade(hr)
    except MrisrError as error:
        raise DataError(f"{path}: {error}") from error
    # From the LR volume: at inference there is no other to take the range from.
    normalizer = (volume_normalizer if from_file else normalizer_for)(lr)
    return VolumePair(hr, lr, normalizer, records[0])


def _stack_of_slices(records: Sequence[SliceRecord]) -> np.ndarray:
    slices = [read_image(record.path) for record in records]
    for record, image in zip(records, slices, strict=True):
        if image.shape != slices[0].shape or image.dtype != slices[0].dtype:
            raise DataError(
                f"{record.path} is {image.shape} {image.dtype}, {records[0].path} is {slices[0].shape} "
                f"{slices[0].dtype}: the slices of a patient must be one stack. Say with a patient pattern "
                "which files belong together."
            )
    return np.stack(slices, axis=2)


class VolumePatches(PatchDataset):
    """Batches of aligned LR and HR blocks for `model.fit`; see `PatchDataset`.

    Args:
        pairs: List of `VolumePair` from `load_volume_pairs`.
        scale: The factor of each axis.
        patch_size: Edges of the HR blocks in voxels, multiples of the factors.
        augment: Random flips along every axis, and quarter turns of square slices.

    The other arguments, and what it yields, are those of `PatchDataset`, with (N, x, y, z, C) for images.

    Raises:
        DataError: No volumes, or volumes smaller than the block.
    """

    def _crop(self, pair: VolumePair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sizes = [edge // factor for edge, factor in zip(self.patch_size, self.scale, strict=True)]
        best: Any = None
        best_contrast = -1.0
        for _ in range(self.candidates):
            first = [
                int(rng.integers(edge - size + 1)) for edge, size in zip(pair.lr.shape, sizes, strict=False)
            ]
            lr = pair.lr[_block(first, sizes)]
            contrast = float(lr[::2, ::2].std()) if self.candidates > 1 else 0.0
            if contrast > best_contrast:
                best, best_contrast = first, contrast
        hr_first = [place * factor for place, factor in zip(best, self.scale, strict=True)]
        return pair.lr[_block(best, sizes)], pair.hr[_block(hr_first, self.patch_size)]

    @staticmethod
    def _turn(lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The same flip across the slices for both, and the same flip and quarter turn of each slice."""
        lr, hr = PatchDataset._turn(lr, hr, rng)
        if rng.integers(2):
            lr, hr = np.ascontiguousarray(lr[:, :, ::-1]), np.ascontiguousarray(hr[:, :, ::-1])
        return lr, hr

    @staticmethod
    def _check_sizes(pairs: Sequence[VolumePair], scale: Any, patch_size: Any) -> None:
        if not pairs:
            raise DataError("There are no volumes to take blocks from. Give load_volume_pairs some.")
        if any(edge < factor or edge % factor for edge, factor in zip(patch_size, scale, strict=True)):
            raise DataError(f"patch_size must be multiples of the scale {scale}. Received: {patch_size}")
        for pair in pairs:
            if any(edge < least for edge, least in zip(pair.hr.shape, patch_size, strict=False)):
                raise DataError(
                    f"{pair.record.path} is {_text(pair.hr.shape[:3])}, smaller than the block of "
                    f"{_text(patch_size)}: choose a smaller training.patch_size or training.patch_slices, or "
                    "leave such volumes out."
                )


def _block(first: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(place, place + size) for place, size in zip(first, sizes, strict=True))


def _text(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))
