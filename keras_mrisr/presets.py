"""Named recipes: what `mrisr train --preset` and `--adversarial` choose from."""

from typing import Any

from keras_mrisr.checks import known
from keras_mrisr.config import RunConfig
from keras_mrisr.model_info import ModelInfo

PRESETS: dict[str, dict[str, Any]] = {
    # Small enough for two CPU cores: about an hour to a good x2 model where they multiply in bfloat16.
    "compact": {
        "generator": {"name": "edsr", "blocks": 8, "filters": 64, "direct_upsampling": True},
        "training": {
            "epochs": 40,
            "optimizer": "muon",
            "learning_rate": 2e-3,
            "clip_norm": 0.5,
            "precision": "auto",
        },
    },
    # The same recipe at the paper's size, for a GPU.
    "full": {
        # Smooth, so that adversarial training can go on from it.
        "generator": {"name": "edsr", "blocks": 16, "filters": 64, "smooth_upsampling": True},
        "training": {"epochs": 400, "optimizer": "muon", "learning_rate": 2e-3, "clip_norm": 0.5},
    },
    # SRResNet as in the paper: Adam 1e-3, batch 16, MSE, no schedule.
    "paper": {
        "degradation": {"name": "paper"},
        "generator": {"name": "srresnet", "blocks": 16, "filters": 64},
        "training": {"loss": "mean_squared_error", "schedule": "constant", "candidates": 1},
    },
}
DEFAULT_PRESET = "full"

# For a trained model on a lab's own scans: a rate at which it keeps what it knows, see `continued_config`.
_CONTINUED = {
    "training": {
        "epochs": 10,
        "batch_size": 8,
        "optimizer": "muon",
        "learning_rate": 2e-4,
        "clip_norm": 0.5,
        "precision": "auto",
    },
}

# Put over a preset by `adversarial_config`; size of the generator, scale and data stay the preset's.
ADVERSARIAL_PRESETS: dict[str, dict[str, Any]] = {
    # What diverged in the paper: no hand-over, batch 1, the same rate for both, VGG features only.
    "paper": {
        "training": {
            "batch_size": 1,
            "optimizer": "adam",
            "learning_rate": 1e-4,
            "schedule": "constant",
            "clip_norm": 0.0,
        },
        "adversarial": {
            "on": True,
            "pixel_weight": 0.0,
            "perceptual_weight": 1.0,
            "adversarial_weight": 1e-3,
            "average": 0.0,
            "rollbacks": 0,
        },
    },
    # Ours: a trained start, pixels and consistency as anchors, little of the features, a discriminator that
    # is kept smooth and slow. Discriminator, its rate and its weights are those of the best trial of `mrisr
    # tune --study srgan` on LGG slices (docs/guides/tuning.md), features and optimizer those of
    # five runs each against the paper's (docs/guides/training-a-gan.md).
    "stable": {
        "generator": {"smooth_upsampling": True},
        "training": {
            "batch_size": 4,
            "patch_size": 128,
            "optimizer": "muon",
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "epochs": 20,
            "clip_norm": 0.5,
        },
        "adversarial": {
            "on": True,
            "pretraining": {"epochs": 40, "optimizer": "muon", "learning_rate": 2e-3, "batch_size": 16},
            "discriminator": {"name": "patchgan", "normalization": "spectral"},
            "kind": "relativistic_average",
            "discriminator_rate": 5e-5,
            # The paper's layer and the one above it, each brought to half the size of the pixel loss of a
            # trained generator.
            "features": {
                "network": "vgg19",
                "weights": "imagenet",
                "layers": {"block4": 1.2e-2, "block5": 1.5},
            },
            "perceptual_weight": 0.5,
            "adversarial_weight": 7e-3,
            "consistency_weight": 1.0,
            "r1_weight": 0.07,
            "ramp": 250,
            "average": 0.9995,
        },
    },
    # From a finished model to images that look like MRI: a discriminator that already sees, and losses that
    # only move what was not measured. `mrisr train --init MODEL --adversarial projected`.
    "projected": {
        "generator": {"thin_layers": 3, "thin_noise": 1},
        "training": {
            "batch_size": 4,
            "patch_size": 96,
            "optimizer": "adam",
            "learning_rate": 4e-4,
            "schedule": "constant",
            "steps_per_epoch": 100,
            "epochs": 5,
            "clip_norm": 0.0,
            "precision": "auto",
        },
        "adversarial": {
            "on": True,
            "pretraining": {"epochs": 40, "optimizer": "muon", "learning_rate": 2e-3, "batch_size": 16},
            "discriminator": {"name": "projected"},
            "kind": "hinge",
            "discriminator_rate": 4e-4,
            "balance": 0.6,
            "spectrum_weight": 2e-3,
            "frozen": True,
            "consistency": True,
            "augmentation": ["gain", "translation", "cutout"],
            # What VGG sees before its third pooling, as large as the pixel loss of a trained generator.
            "features": {"network": "vgg19", "weights": "imagenet", "layers": {"block3": 1e-4}},
            "perceptual_weight": 1.0,
            "ramp": 100,
            "average": 0.995,
            # Nearness of features would choose the start: its best answer is smooth.
            "perception": 0.0,
            "realism": 0.5,
        },
    },
}


def adversarial_config(base: RunConfig, name: str = "stable") -> RunConfig:
    """A `RunConfig` made adversarial.

    Args:
        base: The `RunConfig` of the generator.
        name: "projected", "stable" or "paper".

    Raises:
        ConfigError: Unknown preset.
    """
    known("adversarial preset", name, ADVERSARIAL_PRESETS)
    preset = ADVERSARIAL_PRESETS[name]
    if preset.get("generator", {}).get("smooth_upsampling"):
        generator = {key: value for key, value in base.generator.items() if key != "direct_upsampling"}
        base = base.replace({"generator": generator})
    return base.replace(
        {f"{part}.{key}": value for part, keys in preset.items() for key, value in keys.items()}
    )


def preset_config(name: str = DEFAULT_PRESET) -> RunConfig:
    """The `RunConfig` of a preset: "compact", "full" or "paper".

    Raises:
        ConfigError: Unknown preset.
    """
    known("preset", name, PRESETS)
    return RunConfig.from_dict(PRESETS[name])


def continued_config(info: ModelInfo) -> RunConfig:
    """The `RunConfig` that trains a model further, such as a bundled one on a lab's own scans.

    Scale, generator, degradation and kind of input are the model's, and the training is short. What the model
    is loaded from goes to `training.init`.

    Args:
        info: What the model is, from `load_info`.
    """
    scale = info.factors if info.dimensions == 3 else info.scale
    given = {
        **_CONTINUED,
        "scale": scale,
        "generator": info.generator,
        "data": {
            "neighbours": info.neighbours,
            "separate_channels": info.data.get("separate_channels", False),
        },
    }
    if info.degradation:
        given["degradation"] = {key: value for key, value in info.degradation.items() if key != "scale"}
    return RunConfig.from_dict(given)
