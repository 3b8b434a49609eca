"""What training minimises: pure functions, and `keras.losses.Loss` wrappers where `compile` wants one."""

from keras_mrisr.losses.adversarial import (
    discriminator_loss,
    generator_loss,
    probability,
    r1_penalty_from_gradients,
)
from keras_mrisr.losses.consistency import ConsistencyLoss, consistency_error, consistency_loss
from keras_mrisr.losses.perceptual import PerceptualLoss, feature_distance, feature_loss

__all__ = [
    "ConsistencyLoss",
    "PerceptualLoss",
    "consistency_error",
    "consistency_loss",
    "discriminator_loss",
    "feature_distance",
    "feature_loss",
    "generator_loss",
    "probability",
    "r1_penalty_from_gradients",
]
