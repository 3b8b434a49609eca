"""The training recipe, and what it is made of."""

from keras_mrisr.training.callbacks import Interrupted
from keras_mrisr.training.train import train

__all__ = ["Interrupted", "train"]
