"""What turns high-resolution images into low-resolution ones, and the plain way back."""

from keras_mrisr.degrade import (
    DEGRADATIONS,
    BlurBicubic,
    Degradation,
    KSpaceCrop,
    RandomBlur,
    SliceProfile,
    get_degradation,
    interpolate,
)
from keras_mrisr.degrade.noise import RicianNoise, rician_noise

__all__ = [
    "DEGRADATIONS",
    "BlurBicubic",
    "Degradation",
    "KSpaceCrop",
    "RandomBlur",
    "RicianNoise",
    "SliceProfile",
    "get_degradation",
    "interpolate",
    "rician_noise",
]
