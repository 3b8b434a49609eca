"""Hypermodels of both stages, for any tuner of KerasTuner in a program of your own.

`mrisr tune` does not need them: it runs whole training runs, which can be killed and resumed.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from keras_mrisr.config import RunConfig
from keras_mrisr.data import SliceDataset, Split
from keras_mrisr.data.read import read_dataset
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.models.registry import build_generator
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.adversarial import AdversarialValidation, compiled_srgan, feature_network
from keras_mrisr.training.generator import compiled_generator, start_from
from keras_mrisr.training.guard import make_guards
from keras_mrisr.training.pairs import check_data, training_pairs, training_patches, validation_pairs
from keras_mrisr.training.state import RunState
from keras_mrisr.training.strategy import strategy_scope
from keras_mrisr.training.volumes import VolumeValidation
from keras_mrisr.tuning.data import study_split
from keras_mrisr.tuning.objective import WORST_PERCEPTUAL, WORST_PSNR
from keras_mrisr.tuning.study import Study, check_study, read_study
from keras_mrisr.types import Model, PathLike

# What a training that fell ill returns: finite, because KerasTuner takes NaN for a failure of the program,
# and three of those for the end of the search.
WORST = {
    "loss": 1e9,
    "val_psnr": WORST_PSNR,
    "val_ssim": -1.0,
    "val_features": 1e9,
    "val_variety": 0.0,
    "val_score": 2 * WORST_PERCEPTUAL,
}


class TrainingHyperModel(keras_tuner.HyperModel):
    """Base of the hypermodels: a study, and the data to train its models on.

    The optimizer is built with the model, so that Hyperband's checkpoints hold its moments: what is promoted
    resumes as if it had never stopped.

    Args:
        study: A `Study`, or what `read_study` takes.
        dataset: A `SliceDataset`; by default it is read from the study's `data`.
        split: A `Split` of its patients; by default made from the study's `data`.
        name: See `keras_tuner.HyperModel`.
        tunable: See `keras_tuner.HyperModel`.

    Raises:
        ConfigError: A study of another stage, or data of no use.
    """

    stage: str | None = None

    def __init__(
        self,
        study: Study,
        dataset: SliceDataset | None = None,
        split: Split | None = None,
        name: str | None = None,
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.study = read_study(study) if isinstance(study, str) else study
        if self.study.stage != self.stage:
            raise ValueError(f"the study is of the stage {self.study.stage!r}, not {self.stage!r}")
        check_study(self.study)
        config = self.study.config
        data = config.data
        dataset = dataset or read_dataset(data.root, data.kind, data.patient_pattern, data.choice)
        check_data(config, dataset)
        split = split or study_split(self.study, dataset)
        degradation = get_degradation(**{"scale": config.scale, **config.degradation})
        self.train_pairs = training_pairs(config, dataset.select(split.train), degradation)
        self.channels = self.train_pairs[0].hr.shape[-1]
        self.val_pairs = validation_pairs(config, dataset.select(split.val), degradation, self.channels)

    def config(self, hp: Any) -> RunConfig:
        """The `RunConfig` of a trial."""
        return self.study.run_config(self.study.space.declare(hp))

    def build(self, hp: Any) -> Model:
        """The compiled model of a trial, its optimizer built."""
        config = self.config(hp)
        keras.utils.set_random_seed(config.training.seed)
        with strategy_scope(config.training.strategy, config.training.batch_size):
            model = self._compiled(config)
            if config.training.init:
                start_from(config, config.training.init, model)
            model.optimizer.build(model.trainable_variables)
        return model

    def fit(
        self,
        hp: Any,
        model: Model,
        *args: Any,
        callbacks: Sequence[Any] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
        **kwargs: Any,
    ) -> Any:
        """Trains the model of a trial on the study's patches and scores it on the validation patients.

        Args:
            hp: The `keras_tuner.HyperParameters`.
            model: What `build` made.
            *args: None are needed.
            callbacks: Further callbacks; they see the scores in their logs.
            epochs: Number of the last epoch; by default the study's.
            initial_epoch: Epochs that were trained before.
            **kwargs: Further arguments of `model.fit`.

        Returns:
            The `keras.callbacks.History`, or `WORST` for a training that fell ill.
        """
        config = self.config(hp)
        state = RunState(epoch=initial_epoch)
        patches = training_patches(config, self.train_pairs)
        generator = build_generator(
            scale=config.scale,
            channels=self.channels,
            neighbours=config.data.neighbours,
            **config.generator,
        )
        with tempfile.TemporaryDirectory(prefix="mrisr-trial-") as folder:
            chain = [cb.StartEpoch(patches, state), *self._scoring(config, generator, state, folder)]
            patches.start(initial_epoch, 0)
            try:
                return model.fit(
                    patches,
                    *args,
                    epochs=epochs or config.training.epochs,
                    initial_epoch=initial_epoch,
                    callbacks=[*chain, *callbacks],
                    **{"shuffle": False, "verbose": 0, **kwargs},
                )
            except TrainingDivergedError:
                return dict(WORST)

    def _compiled(self, config: RunConfig) -> Model:
        raise NotImplementedError

    def _scoring(self, config: RunConfig, generator: Model, state: Any, folder: PathLike) -> list[Any]:
        """The callbacks that score and watch over the model, scores first."""
        raise NotImplementedError


class GeneratorHyperModel(TrainingHyperModel):
    """The generator alone; objective `keras_tuner.Objective("val_psnr", "max")`.

    See `TrainingHyperModel` for the arguments.
    """

    stage = "generator"

    def _compiled(self, config: RunConfig) -> Model:
        return compiled_generator(config, self.channels)

    def _scoring(self, config: RunConfig, generator: Model, state: Any, folder: PathLike) -> list[Any]:
        scoring = VolumeValidation if config.dimensions == 3 else cb.Validation
        return [scoring(generator, self.val_pairs), cb.FiniteLoss()]


class SRGANHyperModel(TrainingHyperModel):
    """The adversarial stage, from the generator in the study's `training.init`.

    Objectives are "val_psnr", "val_features" ("min"), or "val_score", the gain over the start; the latter two
    in each trial's own features, so compare trials by them only where the space varies no features.

    See `TrainingHyperModel` for the arguments.
    """

    stage = "adversarial"

    def _compiled(self, config: RunConfig) -> Model:
        return compiled_srgan(config, self.channels, feature_network(config))

    def _scoring(self, config: RunConfig, generator: Model, state: Any, folder: PathLike) -> list[Any]:
        features, perception = feature_network(config), config.adversarial.perception
        validation = AdversarialValidation(generator, self.val_pairs, features, state, perception)
        # A trial that was promoted starts from other weights than it is compared with.
        start: Any = config.training.init  # `check_study` refuses a study without one.
        start_from(config, start, generator)
        state.start = validation.score()
        return [validation, *make_guards(config, folder, state)]
