"""What training minimises: pure functions, and `keras.losses.Loss` wrappers where `compile` wants one."""

import keras  # noqa: F401  Before any part of the package: see `registration`.

from keras_mrisr.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    probability,
    r1_penalty_from_gradients,
)
from keras_mrisr.losses.consistency import ConsistencyLoss, consistency_error, consistency_loss
from keras_mrisr.losses.dice import DiceCrossEntropy, cross_entropy, dice_loss
from keras_mrisr.losses.perceptual import PerceptualLoss, feature_distance, feature_loss
from keras_mrisr.losses.psnr import PSNRLoss, psnr_loss
from keras_mrisr.losses.segmentation import SegmentationConsistencyLoss, segmentation_distance
from keras_mrisr.losses.spectrum import spectrum_loss

__all__ = [
    "ConsistencyLoss",
    "DiceCrossEntropy",
    "PSNRLoss",
    "PerceptualLoss",
    "SegmentationConsistencyLoss",
    "consistency_error",
    "consistency_loss",
    "cross_entropy",
    "dice_loss",
    "discriminator_loss",
    "feature_distance",
    "feature_loss",
    "generator_loss",
    "probability",
    "psnr_loss",
    "r1_penalty_from_gradients",
    "segmentation_distance",
    "spectrum_loss",
]
