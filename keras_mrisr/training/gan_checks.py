"""What an `SRGAN` can be made of."""

from typing import Any

from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Model

PIXEL_LOSSES = ("mean_absolute_error", "mean_squared_error")
WEIGHTS = {
    "pixel": 1.0,
    "perceptual": 0.0,
    "adversarial": 1e-3,
    "consistency": 0.0,
    "segmentation": 0.0,
    "spectrum": 0.0,
    "r1": 0.0,
}


def check_inputs(generator: Model, discriminator: Model, weight: float, consistent: bool) -> None:
    """Raises ConfigError for what needs one LR image and one degradation, where there are others.

    Args:
        generator: The generator.
        discriminator: The discriminator.
        weight: That of the loss "consistency".
        consistent: Whether SR is made consistent.
    """
    given = {
        "A weight on the loss 'consistency'": weight,
        "`consistency`": consistent,
        "A conditional discriminator": getattr(discriminator, "conditional", False),
        "A discriminator of residuals": getattr(discriminator, "residual", False),
    }
    for what, asked in given.items():
        if asked and len(generator.inputs) > 1:
            raise ConfigError(
                f"{what} is for generators of one input: the samples of {generator.name!r} each "
                "have a degradation of their own. Leave it out."
            )


def check_losses(
    weights: dict[str, float], pixel: Any, perceptual: Any, segmentation: Any, degradation: Any
) -> None:
    """Raises ConfigError for an unknown loss, a bad weight, or one on a loss without what it needs."""
    for name, weight in weights.items():
        if name not in WEIGHTS:
            raise ConfigError(f"Unknown loss {name!r}. Known: {', '.join(WEIGHTS)}.")
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"The weight of the loss {name!r} must be 0 or more. Received: {weight!r}")
    if pixel not in PIXEL_LOSSES:
        raise ConfigError(f"pixel must be one of {', '.join(PIXEL_LOSSES)}. Received: {pixel!r}")
    needed = {
        "perceptual": (perceptual, "perceptual=PerceptualLoss(...)"),
        "segmentation": (segmentation, "segmentation=SegmentationConsistencyLoss(...)"),
        "consistency": (degradation, "the degradation of the data"),
    }
    for name, (given, what) in needed.items():
        if weights[name] and given is None:
            raise ConfigError(f"A weight on the loss {name!r} needs {what}.")
