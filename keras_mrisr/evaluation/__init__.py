"""How good models are on patients they never saw: protocol, scores, statistics, tables and pictures."""

from keras_mrisr.evaluation.before_after import compare_volume
from keras_mrisr.evaluation.evaluate import evaluate_model, evaluate_models
from keras_mrisr.evaluation.figure import comparison_figure
from keras_mrisr.evaluation.measures import MEASURES, Measure
from keras_mrisr.evaluation.options import EvaluationOptions
from keras_mrisr.evaluation.patients import PARTS, choose_common_patients, choose_patients
from keras_mrisr.evaluation.protocol import Protocol
from keras_mrisr.evaluation.readers import StudyScore, make_study, score_study
from keras_mrisr.evaluation.realism import Realism, RealismScore
from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.evaluation.result import Evaluation, Patient
from keras_mrisr.evaluation.scores import ImageScore, choose_cases
from keras_mrisr.evaluation.side_by_side import compare_image
from keras_mrisr.evaluation.slices import SliceImages
from keras_mrisr.evaluation.summary import Summary, summarise
from keras_mrisr.evaluation.through_plane import ThroughPlaneOptions, evaluate_through_plane
from keras_mrisr.evaluation.views import Case

__all__ = [
    "MEASURES",
    "PARTS",
    "Case",
    "Evaluation",
    "EvaluationOptions",
    "ImageScore",
    "Measure",
    "Patient",
    "Protocol",
    "Realism",
    "RealismScore",
    "SliceImages",
    "StudyScore",
    "Summary",
    "ThroughPlaneOptions",
    "choose_cases",
    "choose_common_patients",
    "choose_patients",
    "compare_image",
    "compare_volume",
    "comparison_figure",
    "evaluate_model",
    "evaluate_models",
    "evaluate_through_plane",
    "make_study",
    "score_study",
    "summarise",
    "tissue_mask",
]
