"""From slices on disk to batches of aligned LR and HR patches."""

import dataclasses
import logging

import keras
import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.errors import InputError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SlicePair:
    """One HR slice and its LR one, in the file's own type.

    Attributes:
        hr: Array (H, W, C).
        lr: Array (H / scale, W / scale, C).
        normalizer: Maps both to the network's [0, 1].
        record: The `SliceRecord` that it was read from.
    """

    hr: np.ndarray
    lr: np.ndarray
    normalizer: object
    record: object


def load_pairs(dataset, degradation, channels=None, progress=None):
    """Reads all slices into memory and degrades each as a whole.

    Args:
        dataset: A `SliceDataset`.
        degradation: A `Degradation`; applied before any cropping, so that borders are right.
        channels: Required number of channels; by default that of the first slice.
        progress: Called with the number of slices done so far and the number in all.

    Returns:
        List of `SlicePair`. HR slices are cropped at the bottom and right to a multiple of the scale.
        110 patients of 256x256x3 slices take about 1 GB.

    Raises:
        InputError: A slice cannot be read, has another number of channels or is too small.
    """
    pairs = []
    for record in dataset.slices:
        hr = crop_to_multiple(read_image(record.path), degradation.scale)
        channels = hr.shape[-1] if channels is None else channels
        if hr.shape[-1] != channels:
            raise InputError(
                f"{record.path} has {hr.shape[-1]} channels where {channels} were expected: "
                "train on slices of one kind."
            )
        try:
            lr = degradation.degrade_image(hr)
        except InputError as error:
            raise InputError(f"{record.path}: {error}") from error
        # From the LR slice: at inference there is no other to take the range from.
        pairs.append(SlicePair(hr, lr, normalizer_for(lr), record))
        if progress is not None:
            progress(len(pairs), len(dataset.slices))
    if not pairs:
        raise InputError(f"No slices to load from {dataset.root}.")
    return pairs


def crop_to_multiple(image, scale):
    """Cuts rows at the bottom and columns at the right of (H, W, ...) down to a multiple of `scale`."""
    height, width = (size // scale * scale for size in image.shape[:2])
    return image[:height, :width]


class PatchDataset(keras.utils.PyDataset):
    """Batches of aligned LR and HR patches for `model.fit`, the same ones for the same seed.

    Each batch depends only on the seed, the epoch and its number, so that a stopped run goes on with
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

    Yields:
        (lr, hr): float32 in [0, 1], (N, h, w, C) and (N, h * scale, w * scale, C).

    Raises:
        InputError: No slices, slices smaller than the patch, or whole slices of different sizes.
    """

    def __init__(
        self,
        pairs,
        scale,
        patch_size=96,
        batch_size=16,
        steps=250,
        augment=True,
        candidates=2,
        seed=0,
        epoch=0,
        first_step=0,
    ):
        super().__init__()
        _check_sizes(pairs, scale, patch_size)
        self.pairs = pairs
        self.scale = scale
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.steps = steps
        self.augment = augment
        self.candidates = candidates
        self.seed = seed
        self.start(epoch, first_step)

    def start(self, epoch, first_step=0):
        """Goes to a place in the run: the next batches are those of `epoch` from `first_step` on."""
        self.epoch = epoch
        self.first_step = first_step
        self._begun = False

    def __len__(self):
        return self.steps - self.first_step

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, self.first_step + index))
        chosen = rng.integers(len(self.pairs), size=self.batch_size)
        samples = [self._sample(self.pairs[i], rng) for i in chosen]
        return tuple(np.stack(part) for part in zip(*samples, strict=True))

    def on_epoch_begin(self):
        self._begun = True

    def on_epoch_end(self):
        # Keras 3.15 also ends an epoch before the first one.
        if self._begun:
            self.start(self.epoch + 1)

    def _sample(self, pair, rng):
        if self.patch_size is None:
            lr, hr = pair.lr, pair.hr
        else:
            lr, hr = self._crop(pair, rng)
        lr, hr = pair.normalizer.normalize(lr), pair.normalizer.normalize(hr)
        return _turn(lr, hr, rng) if self.augment else (lr, hr)

    def _crop(self, pair, rng):
        size = self.patch_size // self.scale
        best, best_contrast = None, -1.0
        for _ in range(self.candidates):
            y, x = (int(rng.integers(edge - size + 1)) for edge in pair.lr.shape[:2])
            lr = pair.lr[y : y + size, x : x + size]
            contrast = float(lr[::2, ::2].std()) if self.candidates > 1 else 0.0
            if contrast > best_contrast:
                best, best_contrast = (y, x), contrast
        y, x = best
        s = self.scale
        hr = pair.hr[y * s : (y + size) * s, x * s : (x + size) * s]
        return pair.lr[y : y + size, x : x + size], hr


def _turn(lr, hr, rng):
    """The same random flip and quarter turn for both; shapes stay as they are."""
    turns = int(rng.integers(4))
    if lr.shape[0] != lr.shape[1]:
        turns = turns // 2 * 2
    flip = bool(rng.integers(2))
    turned = []
    for image in (lr, hr):
        image = np.rot90(image, turns)
        turned.append(np.ascontiguousarray(image[:, ::-1] if flip else image))
    return tuple(turned)


def _check_sizes(pairs, scale, patch_size):
    if not pairs:
        raise InputError("There are no slices to take patches from. Give load_pairs a dataset with some.")
    if patch_size is None:
        first = pairs[0]
        for pair in pairs:
            if pair.hr.shape != first.hr.shape:
                raise InputError(
                    f"Slices of mixed sizes cannot be trained whole: {first.record.path} is "
                    f"{_size(first)}, {pair.record.path} is {_size(pair)}. Set a patch size."
                )
        return
    if patch_size < scale or patch_size % scale:
        raise InputError(f"patch_size must be a multiple of the scale {scale}. Received: {patch_size}")
    for pair in pairs:
        if min(pair.hr.shape[:2]) < patch_size:
            raise InputError(
                f"{pair.record.path} is {_size(pair)}, smaller than the patch of {patch_size}: "
                "choose a smaller patch size or leave such slices out."
            )


def _size(pair):
    return f"{pair.hr.shape[0]}x{pair.hr.shape[1]}"
