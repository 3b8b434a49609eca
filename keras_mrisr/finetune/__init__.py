"""Feature networks that go on training on MRI, for the perceptual loss."""

from keras_mrisr.finetune.config import FinetuneConfig
from keras_mrisr.finetune.train import finetune_features

__all__ = ["FinetuneConfig", "finetune_features"]
