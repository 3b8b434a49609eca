"""A study with readers: a page that shows images blinded, and what the answers say."""

from keras_mrisr.evaluation.readers.make import make_study
from keras_mrisr.evaluation.readers.score import StudyScore, score_study
from keras_mrisr.evaluation.readers.study import KINDS, Study, Trial

__all__ = ["KINDS", "Study", "StudyScore", "Trial", "make_study", "score_study"]
