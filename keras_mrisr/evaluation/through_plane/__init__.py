"""The evaluation of thick slices made thin: thin-slice volumes are degraded along an axis and restored."""

from keras_mrisr.evaluation.through_plane.evaluate import evaluate_through_plane
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions

__all__ = ["ThroughPlaneOptions", "evaluate_through_plane"]
