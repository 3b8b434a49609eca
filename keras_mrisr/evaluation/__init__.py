"""How good a model is on patients it never saw: protocol, scores, tables and a picture."""

from keras_mrisr.evaluation.evaluate import Evaluation, evaluate_model
from keras_mrisr.evaluation.figure import Case, comparison_figure
from keras_mrisr.evaluation.patients import PARTS, choose_patients
from keras_mrisr.evaluation.protocol import Protocol
from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.evaluation.scores import ImageScore, choose_cases
from keras_mrisr.evaluation.summary import Summary, summarise

__all__ = [
    "PARTS",
    "Case",
    "Evaluation",
    "ImageScore",
    "Protocol",
    "Summary",
    "choose_cases",
    "choose_patients",
    "comparison_figure",
    "evaluate_model",
    "summarise",
    "tissue_mask",
]
