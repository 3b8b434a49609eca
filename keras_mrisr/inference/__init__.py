"""Trained generators at work."""

from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.upscale import upscale_path

__all__ = ["SuperResolver", "upscale_path"]
