"""The configuration of a segmentation run, and its presets."""

import dataclasses
import math

from keras_mrisr.config import PRECISIONS, SCHEDULES, STRATEGIES, DataConfig
from keras_mrisr.config_base import Config, check, one_of, set_types
from keras_mrisr.errors import DataError


@dataclasses.dataclass(frozen=True)
class SegmentationTraining:
    """How the U-Net is trained.

    Attributes:
        epochs: Number of epochs; after each, the validation patients are scored.
        steps_per_epoch: Batches an epoch.
        batch_size: Patches a batch, over all replicas.
        patch_size: Edge of the patches in pixels; slices that are smaller are padded with zeros.
        lesion_share: Share of the patches that are drawn around a lesion; the others come from anywhere.
        augment: Random mirroring, rotation, scaling, and brightness of each channel.
        dice_weight: Of Dice beside the cross-entropy.
        learning_rate: Of Adam; the start of the schedule.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        precision: Keras dtype policy: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for the
            faster of the first two on the machine that trains.
        strategy: "none", or "mirrored" for all visible GPUs.
        early_stopping: Stop after so many epochs without a better validation Dice; 0 for never.
        seed: Seed of the weights and of the patches.
    """

    epochs: int = 60
    steps_per_epoch: int = 250
    batch_size: int = 16
    patch_size: int = 256
    lesion_share: float = 0.5
    augment: bool = True
    dice_weight: float = 1.0
    learning_rate: float = 1e-3
    clip_norm: float = 0.0
    schedule: str = "cosine"
    precision: str = "float32"
    strategy: str = "none"
    early_stopping: int = 0
    seed: int = 0

    def __post_init__(self):
        set_types(self, "training.")
        for name in ("epochs", "steps_per_epoch", "batch_size", "patch_size"):
            check(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        for name in ("early_stopping", "dice_weight", "clip_norm"):
            check(0 <= getattr(self, name) < math.inf, f"training.{name}", getattr(self, name), "0 or more")
        check(0 <= self.lesion_share <= 1, "training.lesion_share", self.lesion_share, "from 0 to 1")
        check(0 <= self.seed < 2**32, "training.seed", self.seed, "0 or more and less than 2**32")
        rate = self.learning_rate
        check(0 < rate < math.inf, "training.learning_rate", rate, "more than 0")
        one_of("training.schedule", self.schedule, SCHEDULES)
        one_of("training.precision", self.precision, PRECISIONS)
        one_of("training.strategy", self.strategy, STRATEGIES)


@dataclasses.dataclass(frozen=True)
class SegmentationConfig(Config):
    """Everything that decides a segmentation run.

    Attributes:
        unet: Options for `segmentation_unet`: `filters` and `depth`.
        data: A `DataConfig`; slices need masks. Its split is that of a super-resolution run with the same
            values, so that both hold out the same patients.
        training: A `SegmentationTraining`.

    Raises:
        DataError: A value is out of range; the message names the key and what is allowed.
    """

    unet: dict = dataclasses.field(default_factory=lambda: {"filters": 32, "depth": 4})
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: SegmentationTraining = dataclasses.field(default_factory=SegmentationTraining)

    def __post_init__(self):
        set_types(self, "")
        for key in self.unet:
            if key not in ("filters", "depth"):
                raise DataError(f"Unknown config key 'unet.{key}'. Known here: filters, depth.")
        one_of("data.kind", self.data.kind, ("auto", "lgg", "images"))
        check(self.data.neighbours == 0, "data.neighbours", self.data.neighbours, "0 for a segmentation")


SEGMENTATION_PRESETS = {
    # A quarter of the arithmetic of Buda et al.'s, on patches: half an hour on two idle CPU cores.
    "compact": {
        "unet": {"filters": 16, "depth": 4},
        "training": {"epochs": 36, "batch_size": 8, "patch_size": 160, "precision": "auto"},
    },
    # Buda et al.'s size on whole slices, for a GPU.
    "full": {},
}


def segmentation_preset(name="full"):
    """The `SegmentationConfig` of a preset: "compact" or "full".

    Raises:
        DataError: Unknown preset.
    """
    if name not in SEGMENTATION_PRESETS:
        raise DataError(f"Unknown preset {name!r}. Known: {', '.join(sorted(SEGMENTATION_PRESETS))}.")
    return SegmentationConfig.from_dict(SEGMENTATION_PRESETS[name])
