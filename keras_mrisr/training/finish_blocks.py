"""Blocks of thin-slice volumes, made thick and restored in both families of planes, and patches of these."""

import dataclasses
import logging
import math
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.data.contrasts import random_contrast
from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.data.slices import SliceDataset, SliceRecord, evenly_spaced
from keras_mrisr.degrade.thick_slices import FACTORS, ThickSlices
from keras_mrisr.errors import DataError
from keras_mrisr.finish_config import FinishTraining
from keras_mrisr.inference.target_grid import is_thick
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver, restore_families
from keras_mrisr.training.through_plane_patches import add_noise, draw_acquisition
from keras_mrisr.volumes import check_volume, read_volume

log = logging.getLogger(__name__)

_CANDIDATES = 4  # Places drawn for a block or a patch, of which the one with the most contrast is taken.


@dataclasses.dataclass(frozen=True)
class FinishBlock:
    """A block of a volume and what was restored of it, float32, nominally in [0, 1]; the thick axis first.

    Attributes:
        estimates: (X, Y, Z, 2), as `models.volume_finish` takes them.
        hr: (X, Y, Z, 1).
    """

    estimates: np.ndarray
    hr: np.ndarray


def restored_blocks(
    dataset: SliceDataset,
    resolver: ThroughPlaneResolver,
    training: FinishTraining,
    count: int,
    varied: bool = True,
) -> list[FinishBlock]:
    """Cuts blocks out of volumes, makes them thick along each axis in turn, and restores them.

    Args:
        dataset: A `SliceDataset` of volumes.
        resolver: What restores them.
        training: Sizes, factors and seed.
        count: How many blocks; of more volumes than that, evenly spaced ones are taken.
        varied: Draw contrast, profile, thickness and noise as the training of the planes does; otherwise a
            Gaussian profile as wide as the slices lie apart.

    Raises:
        DataError: No volumes, or one that is thick itself, too small, or not usable.
    """
    if not dataset.holds_volumes:
        raise DataError(f"{dataset.root} holds no volumes: this task needs NIfTI files of thin slices.")
    records = [dataset.slices[place] for place in evenly_spaced(len(dataset.slices), count)]
    log.info("Restoring %d blocks of %d volumes", count, len(records))
    blocks: list[FinishBlock] = []
    for place, record in enumerate(records):
        volume = _read(record, training.least_edge)
        for _ in range(count // len(records) + (place < count % len(records))):
            rng = np.random.default_rng((training.seed, len(blocks)))
            channel = volume[..., rng.integers(volume.shape[-1])]
            turned = np.moveaxis(channel, len(blocks) % 3, 0)
            blocks.append(_block(turned, resolver, training, varied, rng))
    return blocks


def _read(record: SliceRecord, least: int) -> np.ndarray:
    """The volume (X, Y, Z, C), float32, each channel nominally in [0, 1]."""
    volume = read_volume(record.path)
    check_volume(volume)
    if is_thick(volume):
        sizes = " x ".join(f"{each:.4g}" for each in volume.spacing)
        raise DataError(
            f"{volume.name} has voxels of {sizes} mm: this task needs volumes of thin slices. Leave it out."
        )
    if min(volume.shape) < least:
        raise DataError(
            f"{volume.name} is {'x'.join(map(str, volume.shape))}: patches of this size need {least} voxels "
            "along each axis. Lower `training.patch_size` or `training.factor`, or leave it out."
        )
    stack = volume.array if volume.array.ndim == 4 else volume.array[..., np.newaxis]
    channels = [volume_normalizer(one).normalize(one) for one in np.moveaxis(stack, 3, 0)]
    return np.stack(channels, axis=-1)


def _block(
    volume: np.ndarray,
    resolver: ThroughPlaneResolver,
    training: FinishTraining,
    varied: bool,
    rng: np.random.Generator,
) -> FinishBlock:
    size = [min(training.block_size, edge) for edge in volume.shape]
    hr = volume[_most_contrast(volume, size, rng)]
    factor = float(np.exp(rng.uniform(*np.log(training.factor))))
    slices = int(len(hr) / factor)
    lines = max(round(slices * factor), math.ceil(slices * FACTORS[0] - 1e-6))
    hr = np.ascontiguousarray(hr[:lines])
    acquired = ThickSlices(lines / slices)
    if varied:
        hr, acquired = random_contrast(hr, rng), draw_acquisition(lines / slices, rng)
    lr = acquired.degrade(hr, 0)
    if varied:
        lr = add_noise(lr, rng)
    estimates, _ = restore_families(resolver, lr.astype("float32"), 0, lines, acquired.thickness)
    return FinishBlock(np.stack(estimates, axis=-1), hr[..., np.newaxis].astype("float32"))


class FinishPatches(ResumableBatches):
    """Batches for `model.fit` of a `models.volume_finish` network, the same ones for the same seed.

    Patches are flipped along all axes, and the two other axes and families change places.

    Args:
        blocks: Of `restored_blocks`.
        patch_size: Edge of a patch in voxels.
        batch_size: Patches a batch.
        steps: Batches an epoch.
        seed: Seed of everything that is random.

    Yields:
        (estimates (N, X, Y, Z, 2), hr (N, X, Y, Z, 1)), float32.
    """

    def __init__(
        self, blocks: Sequence[FinishBlock], patch_size: int, batch_size: int, steps: int, seed: int = 0
    ) -> None:
        super().__init__(batch_size, steps, seed)
        self.blocks = blocks
        self.patch_size = patch_size

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        block = self.blocks[int(rng.integers(len(self.blocks)))]
        place = _most_contrast(block.hr[..., 0], [self.patch_size] * 3, rng)
        flips = tuple(slice(None, None, rng.choice((-1, 1))) for _ in range(3))
        estimates, hr = (part[place][flips] for part in (block.estimates, block.hr))
        if rng.random() < 0.5:
            estimates, hr = (np.swapaxes(part, 1, 2)[..., ::-1] for part in (estimates, hr))
        return estimates, hr


def _most_contrast(volume: np.ndarray, size: Sequence[int], rng: np.random.Generator) -> tuple[slice, ...]:
    """Of some places of this size, drawn in a volume, the one with the most contrast."""

    def draw() -> tuple[slice, ...]:
        firsts = [int(rng.integers(whole - edge + 1)) for whole, edge in zip(volume.shape, size, strict=True)]
        return tuple(slice(first, first + edge) for first, edge in zip(firsts, size, strict=True))

    return max((draw() for _ in range(_CANDIDATES)), key=lambda place: float(volume[place].std()))
