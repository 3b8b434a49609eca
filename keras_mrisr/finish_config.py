"""The configuration of the training of a 3-D network that finishes what a model for thick slices gives."""

import math
import typing
from typing import Any, ClassVar

import pydantic
from pydantic import Field

from keras_mrisr.checks import check
from keras_mrisr.config_base import Config, Count, Weight
from keras_mrisr.config_sections import DataConfig, ImageTraining, Loss, Optimizer, Precision
from keras_mrisr.through_plane_config import check_factor_range

_LEAST_PATCH = 8


class FinishNetwork(Config):
    """The size of the network, see `models.volume_finish`.

    Attributes:
        blocks: Residual blocks.
        filters: Feature channels.
    """

    prefix: ClassVar[str] = "generator."

    blocks: Count = 2
    filters: Count = 16


class FinishTraining(ImageTraining):
    """How the network is trained.

    Attributes:
        epochs: Number of epochs; after each, blocks of the validation patients are scored.
        patch_size: Edge of a patch in voxels.
        blocks: Blocks of the training volumes that are made thick and restored before the first epoch, each
            along one axis and by one factor: patches are taken from these.
        block_size: Edge of a block in voxels, at most.
        validation_blocks: Blocks of the validation patients.
        factor: [low, high] of the factor between the spacing of the slices and that of the lines, from 1.2
            to 8; drawn for each block, evenly on a logarithmic scale.
        schedule: "constant", or "cosine" from the learning rate down to a hundredth over all steps.
        init: Model for thick slices that is finished: its directory, or the name of a bundled one; by default
            "thick". Its own weights stay as they are.
        seed: Seed of the weights, the blocks and the patches (the split has its own).
    """

    epochs: Count = 20
    steps_per_epoch: Count = 200
    batch_size: Count = 4
    patch_size: Count = 32
    blocks: Count = 48
    block_size: Count = 96
    validation_blocks: Count = 6
    factor: list[Any] = Field(default=[2.0, 8.0])
    loss: Loss = "mean_squared_error"
    optimizer: Optimizer = "muon"
    clip_norm: Weight = 0.5
    precision: Precision = "auto"

    @pydantic.model_validator(mode="after")
    def _check_sizes(self) -> typing.Self:
        check_factor_range(self.factor)
        check(
            self.patch_size >= _LEAST_PATCH, "training.patch_size", self.patch_size, f"{_LEAST_PATCH} or more"
        )
        least = self.least_edge
        check(self.block_size >= least, "training.block_size", self.block_size, f"{least} or more here")
        return self

    @property
    def least_edge(self) -> int:
        """Voxels that a block must have along each edge: a patch, and a slice that is not whole."""
        return self.patch_size + math.ceil(self.factor[1])


class FinishConfig(Config):
    """Everything that decides the training of a network that finishes.

    Attributes:
        generator: A `FinishNetwork`.
        data: A `DataConfig`: a folder of volumes with thin slices.
        training: A `FinishTraining`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    generator: FinishNetwork = FinishNetwork()
    data: DataConfig = DataConfig()
    training: FinishTraining = FinishTraining()

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        check(self.data.neighbours == 0, "data.neighbours", self.data.neighbours, "0 for this task")
        return self
