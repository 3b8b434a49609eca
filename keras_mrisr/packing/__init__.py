"""A trained run made ready to be handed on: half the size, no names or paths, with scores and a card."""

from keras_mrisr.packing.pack import pack_model

__all__ = ["pack_model"]
