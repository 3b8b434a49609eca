"""Trained generators at work."""

from keras_mrisr.inference.super_resolver import Enlarged, SuperResolver
from keras_mrisr.inference.upscale import upscale_path
from keras_mrisr.inference.volume import upscale_volume
from keras_mrisr.inference.volume_result import Residual, UpscaledVolume

__all__ = ["Enlarged", "Residual", "SuperResolver", "UpscaledVolume", "upscale_path", "upscale_volume"]
