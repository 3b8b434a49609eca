"""The slices or volumes that a run trains and is scored on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from keras_mrisr.config import RunConfig
from keras_mrisr.data.pipeline import PatchDataset, SlicePair, load_pairs, separate_channels
from keras_mrisr.data.slices import SliceDataset, evenly_spaced
from keras_mrisr.data.volume_pairs import VolumePatches, load_volume_pairs
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.noise import RicianNoise
from keras_mrisr.degrade.random_acquisition import RandomAcquisition
from keras_mrisr.errors import ConfigError
from keras_mrisr.metrics.ssim import WINDOW
from keras_mrisr.models.registry import check_generator
from keras_mrisr.training.fresh_patches import FreshPatches

# Enough to choose a checkpoint by, and small enough to go through a 3-D generator in one piece.
VALIDATION_BLOCK = (128, 128, 64)


def check_data(config: RunConfig, dataset: SliceDataset) -> None:
    """Raises ConfigError for a generator that is not made for these data, before they are read."""
    check_generator(scale=config.scale, neighbours=config.data.neighbours, **config.generator)


def training_pairs(config: RunConfig, dataset: SliceDataset, degradation: Degradation) -> list[Any]:
    """All pairs of the training patients.

    Args:
        config: The `RunConfig`.
        dataset: `SliceDataset` of these patients.
        degradation: The `Degradation`.

    Returns:
        List of `SlicePair`, or of `VolumePair` for a 3-D generator.
    """
    if config.dimensions == 3:
        return load_volume_pairs(dataset, degradation)
    pairs = load_pairs(dataset, degradation, neighbours=config.data.neighbours)
    return separate_channels(pairs) if config.data.separate_channels else pairs


def validation_pairs(
    config: RunConfig, dataset: SliceDataset, degradation: Degradation, channels: int
) -> list[Any]:
    """The pairs that are scored after each epoch: at most `validation_slices`, evenly spaced.

    Of volumes the blocks of at most `VALIDATION_BLOCK` HR voxels in their middle.

    Raises:
        ConfigError: They cannot be scored; said before the first epoch rather than after it.
    """
    count = config.training.validation_slices
    pairs: list[Any]
    if config.dimensions == 3:
        pairs = load_volume_pairs(dataset, degradation, channels)
        pairs = [pair.central_block(VALIDATION_BLOCK) for pair in _evenly(pairs, count)]
    else:
        dataset = as_slices(dataset)
        shown = dataset.without_blank()
        chosen = dataclasses.replace(shown, slices=tuple(_evenly(shown.slices, count)))
        wanted = None if config.data.separate_channels else channels
        pairs = load_pairs(chosen, degradation, wanted, neighbours=config.data.neighbours, stacks=dataset)
        if config.data.separate_channels:
            pairs = separate_channels(pairs)
    _check_sizes(pairs)
    return pairs


def training_patches(config: RunConfig, pairs: list[Any]) -> PatchDataset:
    """The dataset of patches for `fit`: `PatchDataset`, or `VolumePatches` for a 3-D generator.

    `FreshPatches` for the degradation that is drawn again for each.
    """
    training = config.training
    if config.degrades_again:
        return FreshPatches(
            pairs,
            config.factors[0],
            RandomAcquisition(**{"scale": config.factors[0], **config.degradation}),
            rescale=None if training.rescale is None else tuple(training.rescale),
            contrasts=training.contrasts,
            patch_size=training.patch_size or None,
            batch_size=training.batch_size,
            steps=training.steps_per_epoch,
            augment=training.augment,
            candidates=training.candidates,
            seed=training.seed,
        )
    if training.noise_snr is not None:
        _check_magnitudes(pairs)
    patches: type[PatchDataset] = PatchDataset
    patch_size: Any = training.patch_size or None
    if config.dimensions == 3:
        patches, patch_size = VolumePatches, (training.patch_size, training.patch_size, training.patch_slices)
    return patches(
        pairs,
        config.scale,
        patch_size=patch_size,
        batch_size=training.batch_size,
        steps=training.steps_per_epoch,
        augment=training.augment,
        candidates=training.candidates,
        seed=training.seed,
        corrupt=None if training.noise_snr is None else RicianNoise(training.noise_snr),
        gain=None if training.gain is None else tuple(training.gain),
    )


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spaced over patients and positions."""
    return [items[i] for i in evenly_spaced(len(items), count, ends=True)]


def _check_magnitudes(pairs: list[SlicePair]) -> None:
    for pair in pairs:
        if pair.middle_lr.min() < 0:
            raise ConfigError(
                f"{pair.record.path} has negative values, so it is no magnitude image, which Rician noise is "
                "for: leave out training.noise_snr."
            )


def _check_sizes(pairs: list[Any]) -> None:
    for pair in pairs:
        if min(pair.hr.shape[:2]) < WINDOW:
            raise ConfigError(
                f"{pair.record.path} is {pair.hr.shape[0]}x{pair.hr.shape[1]}, too small to score: SSIM "
                f"needs at least {WINDOW}x{WINDOW} pixels. Leave such slices out."
            )
    if all(pair.hr.min() == pair.hr.max() for pair in pairs):
        raise ConfigError(
            f"The validation slices are all empty ({pairs[0].record.path} and {len(pairs) - 1} more): "
            "choose another data.split_seed or leave such patients out."
        )
