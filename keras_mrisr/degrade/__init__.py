"""HR -> LR operators. All are grid-aligned, and saved with the model that was trained to undo them."""

from keras_mrisr.degrade.acquisition import Acquisition
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.interpolate import interpolate
from keras_mrisr.degrade.kspace import KSpaceCrop
from keras_mrisr.degrade.random_acquisition import RandomAcquisition
from keras_mrisr.degrade.random_blur import RandomBlur
from keras_mrisr.degrade.registry import DEGRADATIONS, get_degradation
from keras_mrisr.degrade.slice_profile import SliceProfile

__all__ = [
    "DEGRADATIONS",
    "Acquisition",
    "BlurBicubic",
    "Degradation",
    "KSpaceCrop",
    "RandomAcquisition",
    "RandomBlur",
    "SliceProfile",
    "get_degradation",
    "interpolate",
]
