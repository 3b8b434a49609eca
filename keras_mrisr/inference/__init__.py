"""Trained generators at work."""

import warnings

from keras_mrisr.inference.page import write_image_page, write_page
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.through_plane import upscale_through_plane
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.inference.upscale import upscale_path
from keras_mrisr.inference.upscaled_image import UpscaledImage
from keras_mrisr.inference.volume import upscale_volume
from keras_mrisr.inference.volume_result import Residual, UpscaledVolume

__all__ = [
    "Residual",
    "SuperResolver",
    "ThroughPlaneResolver",
    "UpscaledImage",
    "UpscaledVolume",
    "upscale_path",
    "upscale_through_plane",
    "upscale_volume",
    "write_image_page",
    "write_page",
]


def __getattr__(name: str) -> type[UpscaledImage]:
    if name != "Enlarged":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("Enlarged is now UpscaledImage.", DeprecationWarning, stacklevel=2)
    return UpscaledImage
