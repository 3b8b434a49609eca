"""From volumes of thin slices to a trained 3-D network that finishes what a model for thick slices gives."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split
from keras_mrisr.errors import ModelError
from keras_mrisr.finish_config import FinishConfig
from keras_mrisr.inference.finish import Finish
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.model_info import ThroughPlaneInfo
from keras_mrisr.models.storage import save_trained
from keras_mrisr.models.volume_finish import volume_finish
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.card import through_plane_card
from keras_mrisr.training.finish_blocks import FinishBlock, FinishPatches, restored_blocks
from keras_mrisr.training.generator import compile_network
from keras_mrisr.training.run import Run, opened_run
from keras_mrisr.training.stage import fit_stage
from keras_mrisr.training.strategy import dtype_policy
from keras_mrisr.training.through_plane import RATE_AT_END
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
    config, training = run.config, run.config.training
    init = training.init or USUAL
    resolver = ThroughPlaneResolver.load(init)
    train_files, val_files = run.read(dataset, split, starts=[("training.init", init, resolver.info)])
    blocks = restored_blocks(train_files, resolver, training, training.blocks)
    unseen = restored_blocks(val_files, resolver, training, training.validation_blocks, varied=False)
    run.check_test_patients(None)
    patches = FinishPatches(
        blocks, training.patch_size, training.batch_size, training.steps_per_epoch, training.seed
    )

    def make() -> Model:
        with dtype_policy(training.precision):
            model = volume_finish(**config.generator.to_dict())
        return compile_network(model, training, RATE_AT_END)

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

    def save(best: ThroughPlaneInfo) -> None:
        save_trained(run.out, resolver.network, best, through_plane_card(best), finish=network)

    fit_stage(
        run, model, patches, validation, info, save,
        about={"blocks": len(unseen), "protocol": PROTOCOL}, sampler=validation.samples, shown=SAMPLE,
    )  # fmt: skip


class FinishValidation(cb.Validation):
    """Scores a float32 copy of the network on blocks of unseen patients after each epoch.

    Adds to the logs: `val_psnr` in dB, the mean over blocks, and `val_gain`, how much that is over the mean
    of both families of planes.

    Args:
        network: The copy; it gets the weights of the trained model.
        blocks: Of `restored_blocks`.
    """

    def __init__(self, network: Model, blocks: Sequence[FinishBlock]) -> None:
        super().__init__(network, blocks)
        self.finish = Finish(network)
        self.mean = self._psnr([one.estimates.mean(axis=-1) for one in blocks])

    def score(self) -> dict[str, float] | None:
        try:
            psnr = self._psnr([self._finished(one) for one in self.pairs])
        except ModelError:
            return None
        return {"val_psnr": psnr, "val_gain": psnr - self.mean}

    def samples(self) -> np.ndarray:
        """Sample images (N, H, W, 1) in [0, 1], each of them `SAMPLE`: the middle planes of some blocks."""
        shown = self.pairs[:_SAMPLES]
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
        pairs = zip(self.pairs, volumes, strict=True)
        return float(np.mean([psnr_of(block.hr[..., 0], volume) for block, volume in pairs]))
