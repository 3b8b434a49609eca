"""From masked slices to a trained U-Net in a model directory, with the habits of `mrisr train`."""

import dataclasses
import logging
import pathlib

import keras
import numpy as np

from keras_mrisr.data.read import read_dataset
from keras_mrisr.errors import DataError
from keras_mrisr.files import whole_file
from keras_mrisr.losses.dice import DiceCrossEntropy
from keras_mrisr.metrics.dice import dice
from keras_mrisr.models.unet import segmentation_unet
from keras_mrisr.models.unet_storage import SegmenterInfo, save_unet
from keras_mrisr.replicas import replica_count
from keras_mrisr.segmentation.card import unet_card
from keras_mrisr.segmentation.masked import check_lesions, load_stacks
from keras_mrisr.segmentation.patches import MaskedPatches
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.directory import BACKUP, claim_run, fix_split, open_run
from keras_mrisr.training.epochs import run_epochs
from keras_mrisr.training.muon import make_optimizer
from keras_mrisr.training.state import restore_backup
from keras_mrisr.training.strategy import dtype_policy, hardware, strategy_scope, training_precision
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

LAST = "last.keras"
PROTOCOL = "mean over validation patients of the Dice of all their slices together; two empty masks are 1"


def train_segmenter(config, out, overwrite=False, dataset=None, split=None, report=None):
    """Trains a U-Net, or goes on with a run that was stopped.

    The run's folder is a model directory from the first epoch on: `unet.keras` is the best one so far by
    validation Dice, `last.keras` the newest. Beside them lie `config.yaml`, `split.json`, `history.csv`,
    `tensorboard/` and `backup/`.

    Args:
        config: A `SegmentationConfig`.
        out: Folder of the run. One that holds a stopped run of the same config is continued.
        overwrite: Delete what is in `out` and start anew.
        dataset: A `SliceDataset`; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        DataError: Bad data, masks or configuration, an `out` of something else, or a diverged training.
        Interrupted: Ctrl-C or SIGTERM; all is saved, and the same call goes on.
    """
    out = pathlib.Path(out)
    training = config.training
    state = open_run(config, out, overwrite)
    if dataset is None:
        dataset = read_dataset(config.data.root, config.data.kind, config.data.patient_pattern)
    split = fix_split(out, dataset, split, config.data, overwrite)
    keras.utils.set_random_seed(training.seed)

    log.info("Reading %s for training", dataset.select(split.train).extent)
    stacks = load_stacks(dataset.select(split.train))
    channels = stacks[0].images[0].shape[-1]
    validation_stacks = load_stacks(dataset.select(split.val), channels)
    check_lesions(stacks, "training")
    check_lesions(validation_stacks, "validation")
    patches = MaskedPatches(
        stacks,
        patch_size=training.patch_size,
        batch_size=training.batch_size,
        steps=training.steps_per_epoch,
        lesion_share=training.lesion_share,
        augment=training.augment,
        seed=training.seed,
    )
    with strategy_scope(training.strategy, training.batch_size):
        model = compiled_unet(config, channels)
        if state.epoch or state.step:
            restore_backup(out / BACKUP, model)
            log.info("Going on from epoch %d, step %d", state.epoch + 1, state.step)
    # Only now: bad data and bad options leave no folder behind, and don't cost an older run.
    claim_run(config, out, split, overwrite)

    unet = segmentation_unet(channels, **config.unet)
    info = _describe(config, dataset, split, patches, unet)
    validation = DiceValidation(Segmenter(unet, info), validation_stacks)

    def save_best(logs):
        metrics = {"val_dice": logs["val_dice"], "epoch": state.best_epoch, "protocol": PROTOCOL}
        done = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=done)
        save_unet(out, unet, best, unet_card(best))

    def save_last():
        with whole_file(out / LAST) as temporary:
            unet.save(temporary)

    keep_best = cb.KeepBest(state, save_best, training.early_stopping, "val_dice")
    chain = [cb.FiniteLoss(), validation, keep_best, cb.SaveLast(save_last), cb.Record(out, state)]
    run_epochs(model, patches, state, training.epochs, out / BACKUP, chain, keep_best, report)
    return out


def compiled_unet(config, channels):
    """Builds and compiles what a `SegmentationConfig` asks for, in the distribution scope of the caller."""
    training = config.training
    with dtype_policy(training.precision):
        model = segmentation_unet(channels, **config.unet, synchronized=replica_count() > 1)
    rate = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, training.epochs * training.steps_per_epoch)
    optimizer = make_optimizer("adam", rate, training.clip_norm)
    model.compile(optimizer, loss=DiceCrossEntropy(training.dice_weight))
    return model


class DiceValidation(keras.callbacks.Callback):
    """Scores a float32 copy of the U-Net on all slices of the validation patients after each epoch.

    Adds `val_dice` to the logs: the mean over patients of the Dice of a whole patient, see `dice`.

    Args:
        segmenter: `Segmenter` of the copy; it gets the weights of the trained model.
        stacks: List of `MaskedStack`.
    """

    def __init__(self, segmenter, stacks):
        super().__init__()
        self.segmenter = segmenter
        self.stacks = stacks

    def on_epoch_end(self, epoch, logs=None):
        weights = self.model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            raise DataError(cb.diverged("The weights", "not finite", f"epoch {epoch + 1}"))
        self.segmenter.unet.set_weights(weights)
        scores = [patient_dice(stack.masks, self.segmenter(stack.images)) for stack in self.stacks]
        logs["val_dice"] = float(np.mean(scores))


def patient_dice(masks, predictions):
    """The Dice of all slices of a patient together; slices (H, W) may differ in size."""
    flat = [np.concatenate([mask.ravel() for mask in part])[np.newaxis] for part in (masks, predictions)]
    return float(keras.ops.convert_to_numpy(dice(*flat))[0])


def _describe(config, dataset, split, patches, unet):
    training = {
        **config.training.to_dict(),
        "parameters": unet.count_params(),
        "train_slices": len(patches.slices),
        "lesion_slices": len(patches.lesions),
        "hardware": hardware(),
        "precision": training_precision(config.training.precision),
    }
    return SegmenterInfo(
        channels=unet.input_shape[-1],
        unet=dict(config.unet),
        data={
            "root_name": dataset.root.name,
            "kind": dataset.kind,
            "patient_pattern": config.data.patient_pattern,
            "split": split.to_dict(),
        },
        training=training,
        version=__version__,
    )
