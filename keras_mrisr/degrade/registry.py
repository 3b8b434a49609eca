"""Degradations by name. A new one is one file and one line here."""

from collections.abc import Sequence
from typing import Any

from keras_mrisr.checks import check_options, known
from keras_mrisr.degrade.acquisition import Acquisition
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.kspace import KSpaceCrop
from keras_mrisr.degrade.paired import Paired
from keras_mrisr.degrade.random_acquisition import RandomAcquisition
from keras_mrisr.degrade.random_blur import RandomBlur
from keras_mrisr.degrade.slice_profile import SliceProfile
from keras_mrisr.errors import ConfigError
from keras_mrisr.factors import scale_of

# The paper: Pillow's GaussianBlur(radius=2), then BICUBIC.
DEGRADATIONS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "paper": (BlurBicubic, {"sigma": 2.0}),
    "bicubic": (BlurBicubic, {"sigma": 0.0}),
    # Any blur between those two.
    "random-blur": (RandomBlur, {}),
    "kspace": (KSpaceCrop, {}),
    # Windows, partial Fourier, zero-filling, resampling, noise: given, or drawn for each slice.
    "acquisition": (Acquisition, {}),
    "random-acquisition": (RandomAcquisition, {}),
    "paired": (Paired, {}),
    "slice-profile": (SliceProfile, {}),
}


def get_degradation(name: str, scale: int | Sequence[int], **overrides: Any) -> Degradation:
    """Makes a degradation.

    Args:
        name: A key of `DEGRADATIONS`, such as "paper", "kspace" or "random-acquisition".
        scale: Integer factor, or the factor of each axis: three for "slice-profile", which is for volumes.
        **overrides: Arguments of the degradation that differ from the preset's. `in_plane` of
            "slice-profile" holds the name and the arguments of the degradation of each slice.

    Returns:
        A `Degradation`.

    Raises:
        ConfigError: Unknown name or argument.
    """
    known("degradation", name, DEGRADATIONS)
    cls, preset = DEGRADATIONS[name]
    scale = scale_of(scale)
    if isinstance(scale, tuple) and cls.dimensions == 2:
        raise ConfigError(
            f"The degradation {name!r} is for slices and takes one factor: choose slice-profile for volumes. "
            f"Received: scale={scale!r}"
        )
    check_options(name, cls, overrides, given=("scale", "name"))
    in_plane = overrides.get("in_plane")
    if isinstance(in_plane, dict) and isinstance(scale, tuple) and scale[0] != 1:
        overrides["in_plane"] = get_degradation(**{"name": "bicubic", **in_plane, "scale": scale[0]})
    return cls(scale, name=name, **{**preset, **overrides})
