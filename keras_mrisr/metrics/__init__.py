"""How close a slice is to its original: one value per image, the data range always stated."""

from keras_mrisr.metrics.psnr import PSNR, psnr
from keras_mrisr.metrics.ssim import SSIM, ssim, ssim_map

__all__ = ["PSNR", "SSIM", "psnr", "ssim", "ssim_map"]
