"""Sections of the configs: the data, how a network is trained, and against what."""

import math
import typing
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from keras_mrisr.checks import check, none_or, one_of
from keras_mrisr.config_base import Config, Count, Natural, Rate, Seed, Share, Weight, unknown_key
from keras_mrisr.errors import ConfigError
from keras_mrisr.folders import Choice

Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]
Strategy = Literal["none", "mirrored", "distributed"]
Loss = Literal["mean_squared_error", "mean_absolute_error", "psnr"]
Optimizer = Literal["adam", "muon"]
OPTIMIZERS = typing.get_args(Optimizer)


class DataConfig(Config):
    """Where the slices are and how patients are held out.

    Attributes:
        root: Folder of the data.
        kind: "lgg" (the published kaggle_3m tree), "images" (folders of images), "volumes" (NIfTI files,
            for 3-D generators) or "auto".
        patient_pattern: Regular expression that finds the patient in a file's relative path; by
            default the parent folder is the patient.
        include: Take only files of such names, as *_T1w.nii.gz, or with a slash of such paths below the
            root; masks come with their images.
        exclude: Leave out files of such names or paths.
        validation_fraction: Share of patients for choosing the best checkpoint.
        test_fraction: Share of patients that training never touches; 0 for none, and so no final score.
        split_seed: Seed of the split.
        neighbours: Adjacent slices on each side that the generator also sees (2.5-D); the files of a patient
            must then be one stack of slices in order.
        separate_channels: Take each channel of a slice as a grey image of its own: the generator then has
            one channel, and upscales images of any contrast and any number of channels one by one.
    """

    prefix: ClassVar[str] = "data."

    root: str = ""
    kind: Literal["auto", "lgg", "images", "volumes"] = "auto"
    patient_pattern: str | None = None
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)
    validation_fraction: Share = 0.1
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    split_seed: int = 0
    neighbours: Natural = 0
    separate_channels: bool = False

    @pydantic.model_validator(mode="after")
    def _check_split(self) -> typing.Self:
        total = self.validation_fraction + self.test_fraction
        check(total < 1, "data.validation_fraction + data.test_fraction", total, "less than 1")
        return self

    @property
    def choice(self) -> Choice:
        """Which files are taken."""
        return Choice(self.include, self.exclude)


def check_slices(data: DataConfig, network: str) -> None:
    """Raises ConfigError unless the data are single slices, all that `network` takes."""
    one_of("data.kind", data.kind, ("auto", "lgg", "images"))
    check(data.neighbours == 0, "data.neighbours", data.neighbours, f"0 for {network}")


class Training(Config):
    """How any network is trained.

    Attributes:
        epochs: Number of epochs; after each, the validation patients are scored.
        steps_per_epoch: Batches an epoch.
        batch_size: Patches a batch, over all replicas.
        learning_rate: Rate of the optimizer at the start of the schedule.
        schedule: "constant", or "cosine" from the learning rate down to zero over all steps.
        precision: Keras dtype policy: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for the
            faster of the first two on the machine that trains.
        early_stopping: Stop after so many epochs without a better validation score; 0 for never.
        seed: Seed of the weights and of the patches (the split has its own).
    """

    prefix: ClassVar[str] = "training."

    epochs: Count = 100
    steps_per_epoch: Count = 250
    batch_size: Count = 16
    learning_rate: Rate = 1e-3
    schedule: Schedule = "cosine"
    precision: Precision = "float32"
    early_stopping: Natural = 0
    seed: Seed = 0


class ImageTraining(Training):
    """How a network that gives images is trained.

    Attributes:
        loss: "mean_squared_error", "mean_absolute_error", or "psnr" (`PSNRLoss`; no adversarial training),
            on [0, 1].
        optimizer: "adam", or "muon" (see `training.muon`), which learns as much in a fraction of the steps.
        clip_norm: Limit on the norm of the whole gradient; 0 for none.
        strategy: "none", "mirrored" for all visible GPUs, or "distributed" for the processes that torchrun
            starts on one or several hosts.
        early_stopping: Stop after so many epochs without a better validation PSNR; 0 for never.
        init: Model directory, or name of a bundled model, whose weights the network starts from.
    """

    loss: Loss = "mean_absolute_error"
    optimizer: Optimizer = "adam"
    clip_norm: Weight = 0.0
    strategy: Strategy = "none"
    init: str | None = None


class TrainingConfig(ImageTraining):
    """How the generator is trained.

    Attributes:
        patch_size: Edge of the HR patches in pixels; 0 for whole slices.
        patch_slices: Slices of the HR patches of a 3-D generator.
        candidates: Places drawn for each patch, of which the one with the most contrast is taken.
        augment: Random flips and quarter turns.
        gain: [low, high] of a random factor on the intensities of every pair of patches, drawn evenly on a
            logarithmic scale, for a generator that is to take contrasts of any brightness; None for none.
        noise_snr: Signal-to-noise ratio of Rician noise that is added to every LR patch (mean of the tissue
            over sigma, see `degrade.noise`), or [low, high] between which it is drawn again for each;
            None for no noise. Validation slices stay free of it.
        rescale: [low, high] of a random factor on the number of pixels of half of the slices, for a generator
            that is to take scans of finer and coarser spacing; only with the degradation
            "random-acquisition", which is drawn again for every patch; None for none.
        contrasts: Give slices contrasts that they do not show: gain, gamma, inverted; with that degradation.
        validation_slices: At most so many slices (or volumes), evenly spaced, are scored after each epoch.
        init: Model directory whose weights the generator starts from; it may have fewer residual blocks and
            fewer neighbours.
    """

    patch_size: Natural = 96
    patch_slices: Count = 16
    candidates: Count = 2
    augment: bool = True
    gain: list | None = None
    noise_snr: int | float | list | None = None
    rescale: list | None = None
    contrasts: bool = False
    validation_slices: Count = 64

    @pydantic.model_validator(mode="after")
    def _check_ranges(self) -> typing.Self:
        if self.noise_snr is not None:
            _check_range("training.noise_snr", self.noise_snr, "a number over 0, or [low, high]")
        if self.gain is not None:
            _check_range("training.gain", self.gain, "[low, high], both over 0")
        if self.rescale is not None:
            _check_range("training.rescale", self.rescale, "[low, high], both over 0")
        return self


def _check_range(name: str, value: Any, allowed: str) -> None:
    bounds = value if isinstance(value, list) else [value, value]
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds)
    good = numbers and len(bounds) == 2 and 0 < bounds[0] <= bounds[1] < math.inf
    check(good, name, value, allowed)


class AdversarialConfig(Config):
    """How the generator is trained further against a discriminator; see `training.SRGAN`.

    `training.epochs`, `batch_size` and so on are then those of the adversarial stage, and
    `training.learning_rate` is the generator's. Without `training.init`, a first stage trains the
    generator alone and hands its weights over.

    Attributes:
        on: Train adversarially.
        pretraining: Keys of `training` for the first stage that differ; empty for no first stage.
        discriminator: "srgan", "patchgan", "unet" or "projected" (heads on the features of the perceptual
            loss's network); name and options for `build_discriminator`.
        kind: "bce" (the paper), "relativistic", "relativistic_average" or "hinge".
        discriminator_rate: Learning rate of the discriminator's Adam.
        discriminator_steps: Updates of the discriminator for each one of the generator.
        pixel_weight: Weight of `training.loss`.
        perceptual_weight: Weight of the distance between features.
        adversarial_weight: Weight of the adversarial loss, after the ramp.
        balance: Size of the adversarial gradient at the generator's output relative to that of all other
            losses together, such as 0.1, in place of adversarial_weight; 0 for that weight.
        consistency: Bring SR to the nearest image that degrades to LR before any loss sees it, so that
            losses only move what was not measured. The finished model does so wherever it is used.
        augmentation: What HR and SR go through before the discriminator: "gain", "translation", "cutout"; see
            `training.augmentation`.
        consistency_weight: Weight of the distance between the degraded SR and LR.
        segmentation_weight: Weight of the difference between what a frozen U-Net sees in SR and in HR; see
            `SegmentationConsistencyLoss`.
        segmentation_model: Directory of that U-Net, which `mrisr segment train` wrote. It must not know
            the patients that this run holds out.
        spectrum_weight: Weight of the difference in power by spatial frequency, see `losses.spectrum_loss`.
        r1_weight: Weight of the R1 penalty on the discriminator.
        r1_every: Steps between two penalties.
        features: Arguments for `build_features`; also measures `val_features`. Needed unless
            `perceptual_weight` and `perception` are both 0 and the discriminator has eyes of its own.
        average: Momentum of the generator's moving average, which is validated and saved.
        delay: Steps before the adversarial loss begins.
        ramp: Steps over which it then grows to its weight.
        label_smoothing: Real labels are 1 - label_smoothing; only for the kind "bce".
        instance_noise: Standard deviation of noise on the discriminator's inputs, at the start.
        noise_steps: Steps over which that fades.
        rollbacks: Times that an ill training goes back and halves its rates before it ends; 0 only
            reports.
        perception: Weight of the gain in features (dB) beside that in PSNR (dB) when the best
            checkpoint is chosen.
        realism: The same of the gain in the power spectrum (dB), see `AdversarialValidation`.
        kid: The same of the share by which the KID of VGG features falls: 3 counts a KID of 0 as 3 dB.
        frozen: Train only generator.thin_layers, and leave the trained start as it is: SR is then that of
            the start with texture added.
    """

    prefix: ClassVar[str] = "adversarial."
    pretrained: ClassVar[type[Config]] = TrainingConfig  # What `pretraining` has keys of.

    on: bool = False
    pretraining: dict[str, Any] = Field(default={})
    discriminator: dict[str, Any] = Field(default={"name": "srgan"})
    kind: Literal["bce", "relativistic", "relativistic_average", "hinge"] = "bce"
    discriminator_rate: Weight = 1e-4
    discriminator_steps: Count = 1
    pixel_weight: Weight = 1.0
    perceptual_weight: Weight = 0.0
    adversarial_weight: Weight = 1e-3
    balance: Weight = 0.0
    consistency: bool = False
    augmentation: list[Literal["gain", "translation", "cutout"]] = Field(default=[])
    consistency_weight: Weight = 0.0
    segmentation_weight: Weight = 0.0
    segmentation_model: str | None = None
    spectrum_weight: Weight = 0.0
    r1_weight: Weight = 0.0
    r1_every: Count = 16
    features: dict[str, Any] = Field(default={"network": "vgg19", "weights": "imagenet"})
    average: float = Field(default=0.999, ge=0, lt=1)
    delay: Natural = 0
    ramp: Natural = 0
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    instance_noise: Weight = 0.0
    noise_steps: Count = 1
    rollbacks: Natural = 3
    perception: Weight = 2.0
    realism: Weight = 0.0
    kid: Weight = 0.0
    frozen: bool = False

    @property
    def needs_features(self) -> bool:
        """Whether the loss, or the choice of the best checkpoint, looks through the feature network."""
        return bool(self.perceptual_weight or self.perception or self.kid or self.projected)

    @property
    def projected(self) -> bool:
        """Whether the discriminator looks through the feature network, too."""
        return self.discriminator["name"] == "projected"

    @pydantic.field_validator("features")
    @classmethod
    def _weights(cls, features: dict[str, Any]) -> dict[str, Any]:
        return {key: none_or(value) if key == "weights" else value for key, value in features.items()}

    @pydantic.field_validator("discriminator")
    @classmethod
    def _check_discriminator(cls, options: dict[str, Any]) -> dict[str, Any]:
        return check_builder("adversarial.discriminator", options, ("channels", "patch_size", "features"))

    @pydantic.field_validator("pretraining")
    @classmethod
    def _check_pretraining(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in values:
            if key not in cls.pretrained.model_fields:
                raise ConfigError(unknown_key(f"adversarial.pretraining.{key}", cls.pretrained))
        return values

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        if self.label_smoothing and self.kind != "bce":
            raise ConfigError(
                "adversarial.label_smoothing must be 0 unless adversarial.kind is 'bce'. "
                f"Received: {self.label_smoothing!r} with {self.kind!r}"
            )
        if self.segmentation_weight and not self.segmentation_model:
            raise ConfigError(
                "adversarial.segmentation_weight needs adversarial.segmentation_model: the directory of a "
                f"U-Net that mrisr segment train wrote. Received: {self.segmentation_weight!r} without one"
            )
        return self


def check_builder(key: str, options: dict[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """The options of a builder, which need its name, and none that are `given` by the rest of the config."""
    if "name" not in options:
        raise ConfigError(f"{key}.name is missing.")
    for option in given:
        if option in options:
            raise ConfigError(
                f"{key}.{option} is no option: it follows from the scale and the data. Leave it out."
            )
    return options
