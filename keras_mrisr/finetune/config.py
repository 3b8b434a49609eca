"""The configuration of a fine-tuning run."""

import typing
from typing import Any, Literal

import pydantic
from pydantic import Field

from keras_mrisr.checks import check, none_or
from keras_mrisr.config_base import Config, Count, Rate
from keras_mrisr.config_sections import DataConfig, Training, check_slices

LABELS = ("tumour", "sequence")
BLOCKS = ("block1", "block2", "block3", "block4", "block5")


class FinetuneTraining(Training):
    """How the feature network is trained on.

    Attributes:
        batch_size: Slices a batch. A slice of several channels gives two images: all channels as
            `features.network_input` maps them, and one channel as a grey image.
        image_size: Edge of the network's images in pixels, to which slices and crops are brought.
        smallest_crop: Smallest edge of the random crops as a share of the slice's; 1 for whole slices.
            0.5 shows slices of 256 pixels at their own resolution too, as a perceptual loss sees them.
        augment: Random flips and quarter turns, and brightness.
        precision: Keras dtype policy of the convolutions: "float32", "mixed_bfloat16", or "auto" for the
            faster of the two here.
        validation_slices: At most so many slices, evenly spaced, are scored after each epoch.
        seed: Seed of the images (the split has its own).
    """

    epochs: Count = 8
    steps_per_epoch: Count = 60
    batch_size: Count = 8
    image_size: int = Field(default=128, ge=32)  # Of 32 pixels, 2 x 2 are left at the deepest convolution.
    smallest_crop: float = Field(default=0.5, gt=0, le=1)
    augment: bool = True
    learning_rate: Rate = 2e-5
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"
    validation_slices: Count = 64


class FinetuneConfig(Config):
    """Everything that decides a fine-tuning run.

    Attributes:
        network: "vgg19" or "vgg16".
        weights: What it starts from: "imagenet", a weight file, or None for random values.
        labels: What it learns to tell, of "tumour" (does the slice's mask mark anything; needs masks) and
            "sequence" (which of the channels is this grey image; needs several channels).
        trainable: Blocks that are trained, such as "block5"; the others stay as they are.
        data: A `DataConfig`. Its split is that of a super-resolution run with the same values, so that
            patients whom that run holds out are unseen here too.
        training: A `FinetuneTraining`.

    Raises:
        ConfigError: A value is out of range; the message names the key and what is allowed.
    """

    network: Literal["vgg16", "vgg19"] = "vgg19"
    weights: str | None = "imagenet"
    labels: list[Any] = Field(default=list(LABELS))
    trainable: list[Any] = Field(default=["block4", "block5"])
    data: DataConfig = DataConfig()
    training: FinetuneTraining = FinetuneTraining()

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        for key, allowed in (("labels", LABELS), ("trainable", BLOCKS)):
            chosen = getattr(self, key)
            some = chosen and all(one in allowed for one in chosen) and len(set(chosen)) == len(chosen)
            check(some, key, chosen, f"some of {', '.join(allowed)}")
        check_slices(self.data, "feature networks")
        return self

    @pydantic.field_validator("weights")
    @classmethod
    def _weights(cls, weights: str | None) -> str | None:
        return none_or(weights)
