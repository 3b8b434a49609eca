"""From slices on disk to batches of aligned LR and HR patches."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.data.neighbours import window
from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.types import Progress

Corruption = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SlicePair:
    """One HR slice and its LR one, in the file's own type; for 2.5-D generators with its neighbours.

    Attributes:
        hr: Array (H, W, C).
        middle_lr: Array (H / scale, W / scale, C).
        normalizer: Maps both to the network's [0, 1].
        record: The `SliceRecord` that it was read from.
        around: The 2k+1 LR slices from k places before this one to k after it, which other pairs share;
            empty without neighbours.
    """

    hr: np.ndarray
    middle_lr: np.ndarray
    normalizer: RangeNormalizer
    record: SliceRecord
    around: tuple[np.ndarray, ...] = ()

    @property
    def lr(self) -> np.ndarray:
        """What the generator takes: `middle_lr`, or (h, w, (2k+1) * C) in the order of `data.neighbours`."""
        return np.concatenate(self.around, axis=-1) if self.around else self.middle_lr

    def lr_patch(self, y: int, x: int, size: int) -> np.ndarray:
        """The square of `lr` whose first pixel is (y, x); only this is put together of the neighbours."""
        place = slice(y, y + size), slice(x, x + size)
        if not self.around:
            return self.middle_lr[place]
        return np.concatenate([lr[place] for lr in self.around], axis=-1)


def load_pairs(
    dataset: SliceDataset,
    degradation: Any,
    channels: int | None = None,
    progress: Progress | None = None,
    neighbours: int = 0,
    stacks: SliceDataset | None = None,
) -> list[SlicePair]:
    """Reads all slices into memory and degrades each as a whole.

    Args:
        dataset: A `SliceDataset`. Of volumes the slices across the largest spacing (see `as_slices`) are
            taken, in the range of their volume and without blank ones.
        degradation: A `Degradation`; applied before any cropping, so that borders are right.
        channels: Required number of channels; by default that of the first slice.
        progress: Called with the number of slices done so far and the number in all.
        neighbours: Adjacent slices k on each side for a 2.5-D generator, from the same patient, in the order
            of `SliceRecord.index`. The first and last slice of a patient stand in for those beyond. Where
            numbers are missing, the next slice that there is counts as the neighbour.
        stacks: A `SliceDataset` with the whole patients, where `dataset` holds some of their slices only;
            neighbours come from it.

    Returns:
        List of `SlicePair`. HR slices are cropped at the bottom and right to a multiple of the scale.
        110 patients of 256x256x3 slices take about 1 GB, neighbours or not.

    Raises:
        DataError: A slice cannot be read, has another number of channels or is too small, or a neighbour
            is of another size or type.
    """
    stacks = as_slices(dataset if stacks is None else stacks)
    dataset = (stacks if dataset.holds_volumes else dataset).without_blank()
    if not dataset.slices:
        raise DataError(f"No slices to load from {dataset.root}.")
    around = _neighbours_of(stacks, neighbours)
    wanted = set(dataset.slices)
    needed = dict.fromkeys(record for one in dataset.slices for record in around[one])
    hr_slices: dict[SliceRecord, np.ndarray] = {}
    lr_slices: dict[SliceRecord, np.ndarray] = {}
    for record in needed:
        hr, lr_slices[record] = _read_pair(dataset, record, degradation, channels)
        channels = hr.shape[-1]
        if record in wanted:
            hr_slices[record] = hr
        if progress is not None:
            progress(len(lr_slices), len(needed))
    ranges = dataset.volumes
    return [
        _pair(
            hr_slices[one],
            [(each, lr_slices[each]) for each in around[one]],
            None if ranges is None else ranges.normalizer(one),
        )
        for one in dataset.slices
    ]


def _read_pair(
    dataset: SliceDataset, record: SliceRecord, degradation: Any, channels: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(HR, LR) of a slice, which must have so many channels unless that is None."""
    image = dataset.read(record)
    check_channels(record.path, image, channels or image.shape[-1])
    hr = crop_to_multiple(image, degradation.scale)
    try:
        degradation.check_size(hr.shape, original=image.shape)
        lr = degradation.lr_of(hr, record.path.relative_to(dataset.root).as_posix())
    except MrisrError as error:
        raise DataError(f"{record.path}: {error}") from error
    if lr.dtype != hr.dtype:
        raise DataError(f"{record.path} has {hr.dtype} pixels, its LR image {lr.dtype}: save both alike.")
    return hr, lr


def check_channels(path: pathlib.Path, image: np.ndarray, channels: int) -> None:
    """Raises DataError unless a slice (H, W, C) or a volume (X, Y, Z, C) has so many channels."""
    if image.shape[-1] != channels:
        raise DataError(
            f"{path} has {image.shape[-1]} channels where {channels} were expected: "
            "train on images of one kind."
        )


def separate_channels(pairs: Iterable[SlicePair]) -> list[SlicePair]:
    """Each channel of each pair as a grey pair of its own, for a generator that takes any contrast.

    Args:
        pairs: List of `SlicePair`.

    Returns:
        List of `SlicePair` with one channel, which share the memory of the given ones.
    """
    separate = []
    for pair in pairs:
        if pair.hr.shape[-1] == 1:
            separate.append(pair)
            continue
        for channel in range(pair.hr.shape[-1]):
            only = slice(channel, channel + 1)
            lr, around = pair.middle_lr[..., only], tuple(lr[..., only] for lr in pair.around)
            normalizer = normalizer_for(np.concatenate(around, axis=-1) if around else lr)
            separate.append(SlicePair(pair.hr[..., only], lr, normalizer, pair.record, around))
    return separate


def _neighbours_of(stacks: SliceDataset, neighbours: int) -> dict[SliceRecord, list[SliceRecord]]:
    """{record: its 2 * neighbours + 1 records} of all slices, which are never of two patients."""
    around: dict[SliceRecord, list[SliceRecord]] = {}
    gaps = []
    for stack in stacks.stacks():
        if len(stack) <= stack[-1].index - stack[0].index:
            gaps.append(stack[0].patient)
        for place, record in enumerate(stack):
            around[record] = [stack[i] for i in window(place, len(stack), neighbours)]
    if gaps and neighbours:
        log.warning(
            "%d patient(s) lack slice numbers (such as %s): the next slice there is counts as the neighbour",
            len(gaps), gaps[0],
        )  # fmt: skip
    return around


def _pair(
    hr: np.ndarray, around: list[tuple[SliceRecord, np.ndarray]], normalizer: RangeNormalizer | None
) -> SlicePair:
    """The pair of the slice in the middle of `around`, a list of (record, LR slice)."""
    record, lr = around[len(around) // 2]
    for other, slice_beside in around:
        if slice_beside.shape != lr.shape or slice_beside.dtype != lr.dtype:
            raise DataError(
                f"{other.path} ({_kind(slice_beside)} in LR) differs from its neighbour {record.path} "
                f"({_kind(lr)}): the slices of a patient must be one stack. Train without neighbours, or say "
                "with a patient pattern which files belong together."
            )
    lr_slices = tuple(each for _, each in around)
    # From the LR slices: at inference there are no others to take the range from. All slices of a stack
    # share one range, which keeps them comparable, and finite where the middle one is black.
    normalizer = normalizer or normalizer_for(np.concatenate(lr_slices, axis=-1))
    return SlicePair(hr, lr, normalizer, record, lr_slices if len(lr_slices) > 1 else ())


def _kind(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]} {image.dtype}"


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Cuts rows at the bottom and columns at the right of (H, W, ...) down to a multiple of `scale`."""
    height, width = (size // scale * scale for size in image.shape[:2])
    return image[:height, :width]


class PatchDataset(ResumableBatches):
    """Batches of aligned LR and HR patches for `model.fit`, the same ones for the same seed.

    Each batch depends only on the seed, the epoch and its number, so that a stopped run resumes with
    the batches that it would have seen.

    Args:
        pairs: List of `SlicePair` from `load_pairs`.
        scale: Factor between LR and HR.
        patch_size: Edge of the HR patches in pixels, a multiple of `scale`; None for whole slices.
        batch_size: Patches a batch.
        steps: Batches an epoch.
        augment: Random flips and quarter turns (half turns where slices are not square).
        candidates: Places drawn for each patch; the one with the most contrast is taken, so that
            less of the training goes into empty background. 1 draws uniformly.
        seed: Seed of everything that is random.
        epoch: Number of the first epoch.
        first_step: Number of the first batch of the first epoch: the rest of a stopped epoch.
        corrupt: Function (LR patch, its whole LR slice, generator) -> LR patch in float, applied in the
            file's own units before normalisation, such as `degrade.noise.RicianNoise`; None for nothing.
        gain: (low, high) of a random factor on the intensities of each pair of patches; None for none.

    Yields:
        (lr, hr): float32 in [0, 1], (N, h, w, C) and (N, h * scale, w * scale, C); with neighbours LR has
        (2k+1) * C channels.

    Raises:
        DataError: No slices, slices smaller than the patch, or whole slices of different sizes.
    """

    def __init__(
        self,
        pairs: Sequence[Any],
        scale: Any,
        patch_size: Any = 96,
        batch_size: int = 16,
        steps: int = 250,
        augment: bool = True,
        candidates: int = 2,
        seed: int = 0,
        epoch: int = 0,
        first_step: int = 0,
        corrupt: Corruption | None = None,
        gain: tuple[float, float] | None = None,
    ) -> None:
        self._check_sizes(pairs, scale, patch_size)
        super().__init__(batch_size, steps, seed, epoch, first_step)
        self.pairs = pairs
        self.scale = scale
        self.patch_size = patch_size
        self.augment = augment
        self.candidates = candidates
        self.corrupt = corrupt
        self.gain = gain

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self._sample(self.pairs[int(rng.integers(len(self.pairs)))], rng)

    def _sample(self, pair: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if self.patch_size is None:
            lr, hr = pair.lr, pair.hr
        else:
            lr, hr = self._crop(pair, rng)
        if self.corrupt is not None:
            lr = self.corrupt(lr, pair.lr, rng)
        lr, hr = pair.normalizer.normalize(lr), pair.normalizer.normalize(hr)
        if self.gain is not None:
            factor = np.float32(np.exp(rng.uniform(*np.log(self.gain))))
            lr, hr = lr * factor, hr * factor
        return self._turn(lr, hr, rng) if self.augment else (lr, hr)

    def _crop(self, pair: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = self.patch_size // self.scale
        best: Any = None
        best_contrast = -1.0
        for _ in range(self.candidates):
            y, x = (int(rng.integers(edge - size + 1)) for edge in pair.middle_lr.shape[:2])
            lr = pair.middle_lr[y : y + size, x : x + size]
            contrast = float(lr[::2, ::2].std()) if self.candidates > 1 else 0.0
            if contrast > best_contrast:
                best, best_contrast = (y, x), contrast
        y, x = best
        s = self.scale
        hr = pair.hr[y * s : (y + size) * s, x * s : (x + size) * s]
        return pair.lr_patch(y, x, size), hr

    @staticmethod
    def _turn(lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The same random flip and quarter turn for both; shapes stay as they are."""
        turns = int(rng.integers(4))
        if lr.shape[0] != lr.shape[1]:
            turns = turns // 2 * 2
        flip = bool(rng.integers(2))
        lr, hr = (np.rot90(image, turns)[:, :: -1 if flip else 1] for image in (lr, hr))
        return np.ascontiguousarray(lr), np.ascontiguousarray(hr)

    @staticmethod
    def _check_sizes(pairs: Sequence[Any], scale: Any, patch_size: Any) -> None:
        if not pairs:
            raise DataError("There are no slices to take patches from. Give load_pairs a dataset with some.")
        if patch_size is None:
            first = pairs[0]
            for pair in pairs:
                if pair.hr.shape != first.hr.shape:
                    raise DataError(
                        f"Slices of mixed sizes cannot be trained whole: {first.record.path} is "
                        f"{_size(first)}, {pair.record.path} is {_size(pair)}. Set a patch size."
                    )
            return
        if patch_size < scale or patch_size % scale:
            raise DataError(f"patch_size must be a multiple of the scale {scale}. Received: {patch_size}")
        for pair in pairs:
            if min(pair.hr.shape[:2]) < patch_size:
                raise DataError(
                    f"{pair.record.path} is {_size(pair)}, smaller than the patch of {patch_size}: "
                    "choose a smaller patch size or leave such slices out."
                )


def _size(pair: SlicePair) -> str:
    return f"{pair.hr.shape[0]}x{pair.hr.shape[1]}"
