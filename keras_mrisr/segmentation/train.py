"""From masked slices to a trained U-Net in a model directory, with the habits of `mrisr train`."""

import logging
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from keras_mrisr import ranks
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split
from keras_mrisr.losses.dice import DiceCrossEntropy
from keras_mrisr.metrics.dice import dice
from keras_mrisr.models.unet import segmentation_unet
from keras_mrisr.models.unet_storage import SegmenterInfo, save_unet
from keras_mrisr.replicas import replica_count
from keras_mrisr.segmentation.card import unet_card
from keras_mrisr.segmentation.config import SegmentationConfig
from keras_mrisr.segmentation.masked import MaskedStack, check_lesions, load_stacks
from keras_mrisr.segmentation.patches import MaskedPatches
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.muon import make_optimizer, scheduled_rate
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.stage import fit_stage
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.types import Model, PathLike
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

PROTOCOL = "mean over validation patients of the Dice of all their slices together; two empty masks are 1"


def train_segmenter(
    config: SegmentationConfig,
    out: PathLike,
    overwrite: bool = False,
    dataset: SliceDataset | None = None,
    split: Split | None = None,
    report: cb.Report | None = None,
) -> pathlib.Path:
    """Trains a U-Net, or resumes a run; see `training.train` for what may change then.

    The run's folder is a model directory from the first epoch on: `unet.keras` is the best one so far by
    validation Dice, `last.keras` the newest. Beside them lie `config.yaml`, `split.json`, `history.csv`,
    `curves.png`, `tensorboard/` and `backup/`.

    Args:
        config: A `SegmentationConfig`.
        out: Folder of the run.
        overwrite: Delete what is in `out` and start again.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        ConfigError: A bad configuration, or an `out` of something else.
        DataError: Bad data or masks, other data than the run began with, or another process trains in `out`.
        TrainingDivergedError: Values that are not finite.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    with opened_run(config, out, overwrite, report) as run:
        _train(run, *run.read(dataset, split, masks=True))
    return run.out


def _train(run: Run, train_slices: SliceDataset, val_slices: SliceDataset) -> None:
    config, training = run.config, run.config.training
    stacks = load_stacks(train_slices)
    channels = stacks[0].images[0].shape[-1]
    validation_stacks = load_stacks(val_slices, channels)
    check_lesions(stacks, "training")
    check_lesions(validation_stacks, "validation")
    run.check_test_patients(channels)
    patches = MaskedPatches(
        stacks,
        patch_size=training.patch_size,
        batch_size=training.batch_size,
        steps=training.steps_per_epoch,
        lesion_share=training.lesion_share,
        augment=training.augment,
        seed=training.seed,
    )
    model = run.build(lambda: compiled_unet(config, channels))
    run.claim()
    unet = segmentation_unet(channels, **config.unet)
    info = _describe(run, patches, unet)
    validation = DiceValidation(Segmenter(unet, info), validation_stacks)

    def save(best: SegmenterInfo) -> None:
        save_unet(run.out, unet, best, unet_card(best))

    fit_stage(run, model, patches, validation, info, save, about={"protocol": PROTOCOL})


def compiled_unet(config: SegmentationConfig, channels: int) -> Model:
    """Builds and compiles what a `SegmentationConfig` asks for, in the distribution scope of the caller."""
    training = config.training
    with dtype_policy(training.precision):
        model = segmentation_unet(channels, **config.unet, synchronized=replica_count() > 1)
    optimizer = make_optimizer("adam", scheduled_rate(training), training.clip_norm)
    model.compile(optimizer, loss=DiceCrossEntropy(training.dice_weight))
    return model


class DiceValidation(cb.Validation):
    """Scores a float32 copy of the U-Net on all slices of the validation patients after each epoch.

    Adds `val_dice` to the logs: the mean over patients of the Dice of a whole patient, see `dice`.

    Args:
        segmenter: `Segmenter` of the copy; it gets the weights of the trained model.
        stacks: List of `MaskedStack`.
    """

    monitor = "val_dice"
    measured = "The weights"

    def __init__(self, segmenter: Segmenter, stacks: Sequence[MaskedStack]) -> None:
        super().__init__(segmenter.unet, stacks)
        self.segmenter = segmenter

    def score(self) -> dict[str, float] | None:
        if not all(np.isfinite(weight).all() for weight in self.generator.get_weights()):
            return None
        scores = ranks.shared_out(
            self.pairs, lambda stack: patient_dice(stack.masks, self.segmenter(stack.images))
        )
        return {"val_dice": float(np.mean(scores))}


def patient_dice(masks: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> float:
    """The Dice of all slices of a patient together; slices (H, W) may differ in size."""
    flat = [np.concatenate([mask.ravel() for mask in part])[np.newaxis] for part in (masks, predictions)]
    return float(keras.ops.convert_to_numpy(dice(*flat))[0])


def _describe(run: Run, patches: MaskedPatches, unet: Model) -> SegmenterInfo:
    return SegmenterInfo(
        channels=unet.input_shape[-1],
        unet=dict(run.config.unet),
        data=run.about_data(),
        training=run.about_training(
            parameters=unet.count_params(),
            train_slices=len(patches.slices),
            lesion_slices=len(patches.lesions),
        ),
        version=__version__,
    )
