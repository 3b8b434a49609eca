"""How close a slice is to its original: one value per image, the data range always stated."""

import keras  # noqa: F401  Before any part of the package: see `registration`.

from keras_mrisr.metrics.consistency import consistency
from keras_mrisr.metrics.dice import Dice, dice
from keras_mrisr.metrics.distributions import frechet_distance, kid
from keras_mrisr.metrics.features import feature_distance
from keras_mrisr.metrics.gmsd import GMSD, gms, gmsd
from keras_mrisr.metrics.hfen import hfen
from keras_mrisr.metrics.lpips import lpips, lpips_network
from keras_mrisr.metrics.ms_ssim import MultiScaleSSIM, ms_ssim
from keras_mrisr.metrics.nrmse import nrmse
from keras_mrisr.metrics.piq_metrics import PiqMetric
from keras_mrisr.metrics.psnr import PSNR, psnr
from keras_mrisr.metrics.spectrum import largest_error, power_spectrum, spectrum_error
from keras_mrisr.metrics.ssim import SSIM, ssim, ssim_map

__all__ = [
    "GMSD",
    "PSNR",
    "SSIM",
    "Dice",
    "MultiScaleSSIM",
    "PiqMetric",
    "consistency",
    "dice",
    "feature_distance",
    "frechet_distance",
    "gms",
    "gmsd",
    "hfen",
    "kid",
    "largest_error",
    "lpips",
    "lpips_network",
    "ms_ssim",
    "nrmse",
    "power_spectrum",
    "psnr",
    "spectrum_error",
    "ssim",
    "ssim_map",
]
