"""Trained generators at work."""

from keras_mrisr.inference.super_resolver import SuperResolver, UpscaledImage
from keras_mrisr.inference.upscale import upscale_path
from keras_mrisr.inference.volume import upscale_volume
from keras_mrisr.inference.volume_result import Residual, UpscaledVolume

__all__ = ["Residual", "SuperResolver", "UpscaledImage", "UpscaledVolume", "upscale_path", "upscale_volume"]
