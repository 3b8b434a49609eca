"""What turns high-resolution images into low-resolution ones, and the plain way back."""

from keras_mrisr.degrade import (
    DEGRADATIONS,
    Acquisition,
    BlurBicubic,
    Degradation,
    KSpaceCrop,
    RandomAcquisition,
    RandomBlur,
    SliceProfile,
    get_degradation,
    interpolate,
)
from keras_mrisr.degrade.noise import RicianNoise, rician_noise
from keras_mrisr.degrade.thick_slices import ThickSlices

__all__ = [
    "DEGRADATIONS",
    "Acquisition",
    "BlurBicubic",
    "Degradation",
    "KSpaceCrop",
    "RandomAcquisition",
    "RandomBlur",
    "RicianNoise",
    "SliceProfile",
    "ThickSlices",
    "get_degradation",
    "interpolate",
    "rician_noise",
]
