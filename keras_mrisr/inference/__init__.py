"""Trained generators at work."""

import warnings

from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.upscale import upscale_path
from keras_mrisr.inference.upscaled_image import UpscaledImage
from keras_mrisr.inference.volume import upscale_volume
from keras_mrisr.inference.volume_result import Residual, UpscaledVolume

__all__ = ["Residual", "SuperResolver", "UpscaledImage", "UpscaledVolume", "upscale_path", "upscale_volume"]


def __getattr__(name: str) -> type[UpscaledImage]:
    if name != "Enlarged":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("Enlarged is now UpscaledImage.", DeprecationWarning, stacklevel=2)
    return UpscaledImage
