"""The configuration of a fine-tuning run."""

import dataclasses
import math

from keras_mrisr.config import SCHEDULES, DataConfig
from keras_mrisr.config_base import Config, check, none_or, one_of, set_types
from keras_mrisr.errors import DataError
from keras_mrisr.models.vgg import NETWORKS

LABELS = ("tumour", "sequence")
PRECISIONS = ("float32", "mixed_bfloat16", "auto")
BLOCKS = ("block1", "block2", "block3", "block4", "block5")


@dataclasses.dataclass(frozen=True)
class FinetuneTraining:
    """How the feature network is trained on.

    Attributes:
        epochs: Number of epochs; after each, the validation patients are scored.
        steps_per_epoch: Batches an epoch.
        batch_size: Slices a batch. A slice of several channels gives two images: all channels as
            `features.network_input` maps them, and one channel as a grey image.
        image_size: Edge of the network's images in pixels, to which slices and crops are brought.
        smallest_crop: Smallest edge of the random crops as a share of the slice's; 1 for whole slices.
            0.5 shows slices of 256 pixels at their own resolution too, as a perceptual loss sees them.
        augment: Random flips and quarter turns, and brightness.
        learning_rate: Of Adam; the start of the schedule.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        precision: Keras dtype policy of the convolutions: "float32", "mixed_bfloat16", or "auto" for the
            faster of the two here.
        early_stopping: Stop after so many epochs without a better validation score; 0 for never.
        validation_slices: At most so many slices, evenly spaced, are scored after each epoch.
        seed: Seed of the images.
    """

    epochs: int = 8
    steps_per_epoch: int = 60
    batch_size: int = 8
    image_size: int = 128
    smallest_crop: float = 0.5
    augment: bool = True
    learning_rate: float = 2e-5
    schedule: str = "cosine"
    precision: str = "float32"
    early_stopping: int = 0
    validation_slices: int = 64
    seed: int = 0

    def __post_init__(self):
        set_types(self, "training.")
        for name in ("epochs", "steps_per_epoch", "batch_size", "validation_slices"):
            check(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "1 or more")
        check(self.early_stopping >= 0, "training.early_stopping", self.early_stopping, "0 or more")
        # At the deepest convolution an image of 32 pixels has 2 x 2 features.
        check(self.image_size >= 32, "training.image_size", self.image_size, "32 or more")
        crop = self.smallest_crop
        check(0 < crop <= 1, "training.smallest_crop", crop, "more than 0, at most 1")
        check(0 <= self.seed < 2**32, "training.seed", self.seed, "0 or more and less than 2**32")
        rate = self.learning_rate
        check(0 < rate < math.inf, "training.learning_rate", rate, "more than 0")
        one_of("training.schedule", self.schedule, SCHEDULES)
        one_of("training.precision", self.precision, PRECISIONS)


@dataclasses.dataclass(frozen=True)
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
        DataError: A value is out of range; the message names the key and what is allowed.
    """

    network: str = "vgg19"
    weights: str | None = "imagenet"
    labels: list = dataclasses.field(default_factory=lambda: list(LABELS))
    trainable: list = dataclasses.field(default_factory=lambda: ["block4", "block5"])
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: FinetuneTraining = dataclasses.field(default_factory=FinetuneTraining)

    def __post_init__(self):
        set_types(self, "")
        object.__setattr__(self, "weights", none_or(self.weights))
        one_of("network", self.network, tuple(NETWORKS))
        for key, allowed in (("labels", LABELS), ("trainable", BLOCKS)):
            chosen = getattr(self, key)
            if not chosen or len(set(map(str, chosen))) < len(chosen) or not set(chosen) <= set(allowed):
                raise DataError(f"{key} must be some of {', '.join(allowed)}. Received: {chosen!r}")
        one_of("data.kind", self.data.kind, ("auto", "lgg", "images"))
        check(self.data.neighbours == 0, "data.neighbours", self.data.neighbours, "0 for feature networks")
