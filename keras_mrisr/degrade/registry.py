"""Degradations by name. A new one is one file and one line here."""

import inspect

from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.kspace import KSpaceCrop
from keras_mrisr.degrade.random_blur import RandomBlur
from keras_mrisr.degrade.slice_profile import SliceProfile
from keras_mrisr.errors import ConfigError

# The paper: Pillow's GaussianBlur(radius=2), then BICUBIC.
DEGRADATIONS = {
    "paper": (BlurBicubic, {"sigma": 2.0}),
    "bicubic": (BlurBicubic, {"sigma": 0.0}),
    # Any blur between those two.
    "random-blur": (RandomBlur, {}),
    "kspace": (KSpaceCrop, {}),
    "slice-profile": (SliceProfile, {}),
}


def get_degradation(name, scale, **overrides):
    """Makes a degradation.

    Args:
        name: A key of `DEGRADATIONS`: "paper", "bicubic", "random-blur", "kspace" or "slice-profile".
        scale: Integer factor; for "slice-profile", which is of volumes, the factor of each axis.
        **overrides: Arguments of the degradation that differ from the preset's.

    Returns:
        A `Degradation`.

    Raises:
        ConfigError: Unknown name or argument.
    """
    if not isinstance(name, str) or name not in DEGRADATIONS:
        known = ", ".join(sorted(DEGRADATIONS))
        raise ConfigError(f"Unknown degradation {name!r}. Known: {known}.")
    cls, preset = DEGRADATIONS[name]
    if isinstance(scale, list | tuple) and cls is not SliceProfile:
        raise ConfigError(
            f"The degradation {name!r} is for slices and takes one factor: choose slice-profile for volumes. "
            f"Received: scale={scale!r}"
        )
    allowed = [key for key in inspect.signature(cls).parameters if key not in ("scale", "name")]
    for key in overrides:
        if key not in allowed:
            raise ConfigError(
                f"Unknown argument {key!r} of the degradation {name!r}. Allowed: {', '.join(allowed)}."
            )
    return cls(scale, name=name, **{**preset, **overrides})
