"""The configuration of a segmentation run, and its presets."""

import typing
from typing import Any

import pydantic
from pydantic import Field

from keras_mrisr.checks import known
from keras_mrisr.config_base import Config, Count, Weight
from keras_mrisr.config_sections import DataConfig, Strategy, Training, check_slices
from keras_mrisr.errors import ConfigError


class SegmentationTraining(Training):
    """How the U-Net is trained.

    Attributes:
        patch_size: Edge of the patches in pixels; slices that are smaller are padded with zeros.
        lesion_share: Share of the patches that are drawn around a lesion; the others come from anywhere.
        augment: Random mirroring, rotation, scaling, and brightness of each channel.
        dice_weight: Weight of Dice beside the cross-entropy.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        strategy: "none", "mirrored" for all visible GPUs, or "distributed" for what torchrun starts.
        early_stopping: Stop after so many epochs without a better validation Dice; 0 for never.
    """

    epochs: Count = 60
    patch_size: Count = 256
    lesion_share: float = Field(default=0.5, ge=0, le=1)
    augment: bool = True
    dice_weight: Weight = 1.0
    clip_norm: Weight = 0.0
    strategy: Strategy = "none"


class SegmentationConfig(Config):
    """Everything that decides a segmentation run.

    Attributes:
        unet: Options for `segmentation_unet`: `filters` and `depth`.
        data: A `DataConfig`; slices need masks. Its split is that of a super-resolution run with the same
            values, so that both hold out the same patients.
        training: A `SegmentationTraining`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    unet: dict[str, Any] = Field(default={"filters": 32, "depth": 4})
    data: DataConfig = DataConfig()
    training: SegmentationTraining = SegmentationTraining()

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        for key in self.unet:
            if key not in ("filters", "depth"):
                raise ConfigError(f"Unknown config key 'unet.{key}'. Known here: filters, depth.")
        check_slices(self.data, "a segmentation")
        return self


SEGMENTATION_PRESETS: dict[str, dict[str, Any]] = {
    # A quarter of the arithmetic of Buda et al.'s, on patches: half an hour on two idle CPU cores.
    "compact": {
        "unet": {"filters": 16, "depth": 4},
        "training": {"epochs": 36, "batch_size": 8, "patch_size": 160, "precision": "auto"},
    },
    # Buda et al.'s size on whole slices, for a GPU.
    "full": {},
}


def segmentation_preset(name: str = "full") -> SegmentationConfig:
    """The `SegmentationConfig` of a preset: "compact" or "full".

    Raises:
        ConfigError: Unknown preset.
    """
    known("preset", name, SEGMENTATION_PRESETS)
    return SegmentationConfig.from_dict(SEGMENTATION_PRESETS[name])
