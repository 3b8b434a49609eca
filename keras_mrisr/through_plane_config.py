"""The configuration of a training for thick slices, and its presets."""

import math
import typing
from typing import Any, ClassVar, Literal

import pydantic
from pydantic import Field

from keras_mrisr.checks import check, is_number, known, one_of
from keras_mrisr.config_base import Config, Count, Natural, Weight
from keras_mrisr.config_sections import AdversarialConfig, DataConfig, ImageTraining, Optimizer, Precision
from keras_mrisr.factors import THICK_SLICE_FACTORS as FACTORS
from keras_mrisr.model_info import ThroughPlaneInfo

LEAST_SLICES = 4  # Of a patch at the highest factor.
MULTIPLE = 8  # Discriminators take patches of edges that are.


def check_factor_range(factor: list[Any]) -> None:
    """Raises ConfigError unless `training.factor` is [low, high] within what thick slices may have."""
    numbers = len(factor) == 2 and all(map(is_number, factor))
    good = numbers and FACTORS[0] <= factor[0] <= factor[1] <= FACTORS[1]
    check(good, "training.factor", factor, f"[low, high], both from {FACTORS[0]:g} to {FACTORS[1]:g}")


class ThroughPlaneNetwork(Config):
    """The size of the network, see `models.through_plane`.

    Attributes:
        blocks: Residual blocks.
        filters: Feature channels of the blocks.
        tail: Feature channels at full resolution.
    """

    prefix: ClassVar[str] = "generator."

    blocks: Count = 10
    filters: Count = 64
    tail: Count = 32


class ThroughPlaneTraining(ImageTraining):
    """How the network is trained.

    Attributes:
        slices: Thick slices of a patch; of a high factor fewer, where the images hold no more.
        width: Width of a patch in pixels.
        factor: [low, high] of the factor between the spacing of the slices and that of the lines, from 1.2
            to 8; drawn for each batch, evenly on a logarithmic scale.
        candidates: Places drawn for each patch, of which the one with the most contrast is taken.
        schedule: "constant", or "cosine" from the learning rate down to a hundredth over all steps.
        validation_planes: At most so many planes, evenly spaced, are scored after each epoch, at the factors
            2, 4 and 6.67.
    """

    epochs: Count = 200
    slices: Count = 20
    width: Count = 40
    factor: list[Any] = Field(default=list(FACTORS))
    candidates: Count = 3
    optimizer: Optimizer = "muon"
    clip_norm: Weight = 0.5
    precision: Precision = "auto"
    validation_planes: Count = 24

    @pydantic.model_validator(mode="after")
    def _check_sizes(self) -> typing.Self:
        check_factor_range(self.factor)
        check(self.slices >= LEAST_SLICES, "training.slices", self.slices, f"{LEAST_SLICES} or more")
        return self

    @property
    def least_edge(self) -> int:
        """Pixels that an image must have along each edge to take patches from."""
        return max(self.width, math.ceil(LEAST_SLICES * self.factor[1]))


# Keys of the adversarial stage that generators of slices alone have, and what they must be here.
_OF_SLICES = {
    "frozen": "false for this task, whose network has no thin layers",
    "consistency": "false for this task, whose samples each have a degradation of their own",
    "consistency_weight": "0 for this task, whose samples each have a degradation of their own",
    "segmentation_weight": "0 for this task, whose samples have any contrast",
    "segmentation_model": "left out for this task, whose samples have any contrast",
}


class ThroughPlaneAdversarial(AdversarialConfig):
    """How the network is trained further against a discriminator, as an `AdversarialConfig` says.

    `training.epochs` and so on are those of the adversarial stage. Without `training.init` a first stage
    always trains the network by pixels alone. The defaults are the preset `stable` of generators of slices.

    Attributes:
        pretraining: Keys of `training` for the first stage that differ.
        discriminator: "patchgan" or "unet", which take any number of lines; name and options for
            `build_discriminator`.
        frozen: False, because the network has no thin layers.
        consistency: False, because each sample has a degradation of its own.
        consistency_weight: 0, because each sample has a degradation of its own.
        segmentation_weight: 0, because no U-Net knows every contrast.
        segmentation_model: None.
    """

    pretrained: ClassVar[type[Config]] = ThroughPlaneTraining

    discriminator: dict[str, Any] = Field(default={"name": "patchgan", "normalization": "spectral"})
    kind: Literal["bce", "relativistic", "relativistic_average", "hinge"] = "relativistic_average"
    discriminator_rate: Weight = 5e-5
    perceptual_weight: Weight = 0.5
    adversarial_weight: Weight = 7e-3
    r1_weight: Weight = 0.07
    features: dict[str, Any] = Field(
        default={"network": "vgg19", "weights": "imagenet", "layers": {"block4": 1.2e-2, "block5": 1.5}}
    )
    average: float = Field(default=0.9995, ge=0, lt=1)
    ramp: Natural = 250

    @pydantic.model_validator(mode="after")
    def _check_task(self) -> typing.Self:
        one_of("adversarial.discriminator.name", self.discriminator["name"], ("patchgan", "unet"))
        for key, reason in _OF_SLICES.items():
            check(not getattr(self, key), f"adversarial.{key}", getattr(self, key), reason)
        return self


class ThroughPlaneConfig(Config):
    """Everything that decides a training for thick slices.

    Attributes:
        generator: A `ThroughPlaneNetwork`.
        data: A `DataConfig`: LGG, folders of images, or folders of volumes. Each channel is taken by itself.
        training: A `ThroughPlaneTraining`.
        adversarial: A `ThroughPlaneAdversarial`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    generator: ThroughPlaneNetwork = ThroughPlaneNetwork()
    data: DataConfig = DataConfig()
    training: ThroughPlaneTraining = ThroughPlaneTraining()
    adversarial: ThroughPlaneAdversarial = ThroughPlaneAdversarial()

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        check(self.data.neighbours == 0, "data.neighbours", self.data.neighbours, "0 for this task")
        if self.adversarial.on:
            self._check_adversarial()
        return self

    def _check_adversarial(self) -> None:
        loss, width = self.training.loss, self.training.width
        check(width % MULTIPLE == 0, "training.width", width, f"a multiple of {MULTIPLE} for a discriminator")
        allowed = (
            "mean_absolute_error or mean_squared_error in adversarial training ('psnr' is for its first "
        )
        check(loss != "psnr", "training.loss", loss, f"{allowed}stage: adversarial.pretraining)")


THROUGH_PLANE_PRESETS: dict[str, dict[str, Any]] = {
    # About an hour on two CPU cores.
    "compact": {"training": {"epochs": 30, "steps_per_epoch": 200}},
    # The same recipe on larger patches and for longer, for a GPU.
    "full": {"training": {"batch_size": 32, "slices": 32, "width": 64}},
}
_CONTINUED = {"epochs": 10, "steps_per_epoch": 200, "learning_rate": 2e-4}


def through_plane_preset(name: str = "full") -> ThroughPlaneConfig:
    """The `ThroughPlaneConfig` of a preset: "compact" or "full".

    Raises:
        ConfigError: Unknown preset.
    """
    known("preset", name, THROUGH_PLANE_PRESETS)
    return ThroughPlaneConfig.from_dict(THROUGH_PLANE_PRESETS[name])


def continued_through_plane(info: ThroughPlaneInfo) -> ThroughPlaneConfig:
    """The `ThroughPlaneConfig` that trains a model further, such as the bundled one on a lab's own scans.

    Args:
        info: What the model is.
    """
    training = {**_CONTINUED, "factor": info.factors}
    return ThroughPlaneConfig.from_dict({"generator": info.generator, "training": training})
