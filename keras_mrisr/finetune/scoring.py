"""Scores of a classifier on whole slices of patients that it was not trained on."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mrisr.errors import TrainingDivergedError
from keras_mrisr.finetune.batches import as_input, whole_slice
from keras_mrisr.finetune.labels import UNKNOWN, LabelledSlice
from keras_mrisr.finetune.scores import classification_scores
from keras_mrisr.training.callbacks import diverged
from keras_mrisr.types import Model, Progress


def score_slices(
    model: Model, slices: Sequence[LabelledSlice], size: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Asks a classifier about every slice, whole.

    Args:
        model: `Classifier.whole`.
        slices: List of `LabelledSlice`.
        size: Edge of the network's images in pixels.
        progress: Called with the number of slices done and the number in all.

    Returns:
        Dictionary from the question to `classification_scores`: "tumour" of all channels together,
        "tumour_grey" and "sequence" of each channel as a grey image; those that the model answers. A
        number that these slices cannot give is None.
    """
    answered: dict[str, list[np.ndarray]] = {label: [] for label in model.output}
    of_tumours: list[int] = []
    of_sequences: list[int] = []
    of_grey: list[bool] = []
    for number, each in enumerate(slices):
        images, known = whole_slice(each, size)
        answers = model.predict_on_batch(as_input(images))
        for label, answer in answers.items():
            answered[label].append(np.asarray(answer))
        of_tumours += [each.tumour] * len(images)
        of_sequences += known
        of_grey += [False] + [True] * (len(images) - 1)
        if progress is not None:
            progress(number + 1, len(slices))
    logits = {label: np.concatenate(parts) for label, parts in answered.items()}
    tumours, sequences, grey = np.array(of_tumours), np.array(of_sequences), np.array(of_grey)
    questions = {}
    if "tumour" in logits:
        questions["tumour"] = np.where(grey, UNKNOWN, tumours), logits["tumour"]
        if grey.any():
            questions["tumour_grey"] = np.where(grey, tumours, UNKNOWN), logits["tumour"]
    if "sequence" in logits:
        questions["sequence"] = sequences, logits["sequence"]
    return {name: _plain(classification_scores(*question)) for name, question in questions.items()}


def overall(scores: dict[str, Any]) -> float:
    """One number to choose an epoch by: the mean of the labels' AUC, each label counted once."""
    areas = [scores[label]["auc"] for label in ("tumour", "sequence") if label in scores]
    return float(np.mean([0.5 if area is None else area for area in areas]))


class Scoring(keras.callbacks.Callback):
    """Scores the model on validation slices after each epoch.

    Adds `val_score` (see `overall`) and, for each question, `val_tumour_auc`, `val_tumour_accuracy` and so
    on to the logs that later callbacks see.

    Args:
        slices: List of `LabelledSlice`.
        size: Edge of the network's images in pixels.
    """

    def __init__(self, slices: Sequence[LabelledSlice], size: int) -> None:
        super().__init__()
        self.slices = slices
        self.size = size

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise TrainingDivergedError(diverged("The weights", "not finite", f"epoch {epoch + 1}"))
        self.scores = score_slices(self.model, self.slices, self.size)
        for question, scores in self.scores.items():
            for name in ("accuracy", "balanced_accuracy", "auc"):
                value = scores[name]
                logs[f"val_{question}_{name}"] = math.nan if value is None else value
        logs["val_score"] = overall(self.scores)


def _plain(scores: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan."""
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in scores.items()}
