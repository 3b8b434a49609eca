"""From volumes of thin slices to a trained 3-D network that finishes what a model for thick slices gives."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split, check_unseen
from keras_mrisr.errors import ModelError, TrainingDivergedError
from keras_mrisr.files import whole_file
from keras_mrisr.finish_config import FinishConfig
from keras_mrisr.inference.finish import Finish
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.models.storage import save_trained
from keras_mrisr.models.volume_finish import volume_finish
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.card import through_plane_card
from keras_mrisr.training.finish_blocks import FinishBlock, FinishPatches, restored_blocks
from keras_mrisr.training.record import Record
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.stage import LAST
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.training.through_plane import compile_through_plane
from keras_mrisr.training.through_plane_validation import psnr_of
from keras_mrisr.types import Model, PathLike
from keras_mrisr.version import __version__

USUAL = "thick"  # The model that is finished where none is named.
PROTOCOL = (
    "blocks of the validation patients, degraded along one axis by a Gaussian profile as wide as the slices "
    "lie apart, no noise; PSNR with data_range 1, mean over blocks"
)
SAMPLE = ("mean", "SR", "HR", "error x5")
"""What stands side by side in a sample; the error is that of SR."""
_SAMPLES = 3


def train_finish(
    config: FinishConfig,
    out: PathLike,
    overwrite: bool = False,
    dataset: SliceDataset | None = None,
    split: Split | None = None,
    report: cb.Report | None = None,
) -> pathlib.Path:
    """Trains a network that finishes both families of planes, or resumes a run, as `training.train` does.

    The run's folder is a model directory from the first epoch on, which `ThroughPlaneResolver.load` takes: it
    holds the model that is finished, too. The blocks that it learns from are restored before the first epoch
    and again when the run resumes.

    Args:
        config: A `FinishConfig`.
        out: Folder of the run.
        overwrite: Delete what is in `out` and start again.
        dataset: A `SliceDataset` of volumes; by default it is read from `config.data`.
        split: A `Split` of its patients; by default made from `config.data`.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Returns:
        The `pathlib.Path` of the run.

    Raises:
        ConfigError: A bad configuration, or an `out` of something else.
        DataError: Bad data, other data than the run began with, or another process trains in `out`.
        ModelError: A bad model to finish.
        TrainingDivergedError: Values that are not finite.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved, and the same call resumes.
    """
    with opened_run(config, out, overwrite, report) as run:
        _train(run, dataset, split)
    return run.out


def _train(run: Run, dataset: SliceDataset | None, split: Split | None) -> None:
    config, training, state = run.config, run.config.training, run.state
    init = training.init or USUAL
    resolver = ThroughPlaneResolver.load(init)
    train_files, val_files = run.read(dataset, split)
    check_unseen("training.init", init, resolver.info.data.get("split") or {}, run.split)
    blocks = restored_blocks(train_files, resolver, training, training.blocks)
    unseen = restored_blocks(val_files, resolver, training, training.validation_blocks, varied=False)
    run.check_test_patients(None)
    patches = FinishPatches(
        blocks, training.patch_size, training.batch_size, training.steps_per_epoch, training.seed
    )

    def make() -> Model:
        with dtype_policy(training.precision):
            model = volume_finish(**config.generator.to_dict())
        return compile_through_plane(model, training)

    model = run.build(make)
    run.claim()
    network = volume_finish(**config.generator.to_dict())
    validation = FinishValidation(network, unseen)
    info = dataclasses.replace(
        resolver.info,
        finish=config.generator.to_dict(),
        data=run.about_data(),
        training=run.about_training(
            parameters=network.count_params(), train_volumes=min(len(train_files), len(blocks))
        ),
        version=__version__,
    )

    def save_best(logs: dict[str, float]) -> None:
        metrics = {
            **{name: value for name, value in logs.items() if name.startswith("val_")},
            "epoch": state.best_epoch,
            "blocks": len(unseen),
            "protocol": PROTOCOL,
        }
        done = {**info.training, "seconds": round(state.seconds)}
        best = dataclasses.replace(info, metrics=metrics, training=done)
        save_trained(run.out, resolver.network, best, through_plane_card(best), finish=network)

    def save_last() -> None:
        with whole_file(run.out / LAST) as temporary:
            network.save(temporary)

    chain = [
        cb.FiniteLoss(),
        validation,
        cb.KeepBest(state, save_best, training.early_stopping),
        cb.SaveLast(save_last),
        Record(run.out, state, validation.samples, shown=SAMPLE),
    ]
    run.fit(model, patches, chain)


class FinishValidation(keras.callbacks.Callback):
    """Scores a float32 copy of the network on blocks of unseen patients after each epoch.

    Adds to the logs: `val_psnr` in dB, the mean over blocks, and `val_gain`, how much that is over the mean
    of both families of planes.

    Args:
        network: The copy; it gets the weights of the trained model.
        blocks: Of `restored_blocks`.
    """

    def __init__(self, network: Model, blocks: Sequence[FinishBlock]) -> None:
        super().__init__()
        self.finish = Finish(network)
        self.blocks = blocks
        self.mean = self._psnr([one.estimates.mean(axis=-1) for one in blocks])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.finish.network.set_weights(self.model.get_weights())
        try:
            logs["val_psnr"] = self._psnr([self._finished(one) for one in self.blocks])
        except ModelError as error:
            raise TrainingDivergedError(
                cb.diverged("The output", "not finite", f"epoch {epoch + 1}")
            ) from error
        logs["val_gain"] = logs["val_psnr"] - self.mean

    def samples(self) -> np.ndarray:
        """Sample images (N, H, W, 1) in [0, 1], each of them `SAMPLE`: the middle planes of some blocks."""
        shown = self.blocks[:_SAMPLES]
        height, width = (min(one.hr.shape[axis] for one in shown) for axis in (0, 2))
        rows = []
        for block in shown:
            mean, sr, hr = block.estimates.mean(axis=-1), self._finished(block), block.hr[..., 0]
            volumes = [mean, sr, hr, 5 * np.abs(sr - hr)]
            planes = [one[:height, one.shape[1] // 2, :width] for one in volumes]
            rows.append(np.concatenate(planes, axis=1))
        return np.clip(np.stack(rows), 0, 1)[..., np.newaxis]

    def _finished(self, block: FinishBlock) -> np.ndarray:
        return self.finish([block.estimates[..., place] for place in (0, 1)], 0)

    def _psnr(self, volumes: Sequence[np.ndarray]) -> float:
        pairs = zip(self.blocks, volumes, strict=True)
        return float(np.mean([psnr_of(block.hr[..., 0], volume) for block, volume in pairs]))
