"""Functional builders of the networks, and the directory that a trained one lives in."""

import keras  # noqa: F401  Before any part of the package: see `registration`.

from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.layers import ICNR, BicubicUpsampling, PixelShuffle
from keras_mrisr.models.registry import GENERATORS, build_generator
from keras_mrisr.models.srresnet import srresnet
from keras_mrisr.models.srresnet3d import srresnet3d
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.models.volume_finish import volume_finish

__all__ = [
    "GENERATORS",
    "ICNR",
    "BicubicUpsampling",
    "PixelShuffle",
    "build_generator",
    "edsr",
    "srresnet",
    "srresnet3d",
    "through_plane",
    "volume_finish",
]
