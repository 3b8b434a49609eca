"""Layers and initialisers of the networks."""

from keras_mrisr.models.layers import ICNR, BicubicUpsampling, ContentNoise, MiddleSlice, PixelShuffle
from keras_mrisr.models.spectral import SpectralConv2D, SpectralDense
from keras_mrisr.models.unet import CropLike, PadToMultiple
from keras_mrisr.models.volume_layers import CubicUpsampling, VoxelShuffle

__all__ = [
    "ICNR",
    "BicubicUpsampling",
    "ContentNoise",
    "CropLike",
    "CubicUpsampling",
    "MiddleSlice",
    "PadToMultiple",
    "PixelShuffle",
    "SpectralConv2D",
    "SpectralDense",
    "VoxelShuffle",
]
