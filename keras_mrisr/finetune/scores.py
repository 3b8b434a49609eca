"""How well images are told apart: accuracy, balanced accuracy and AUC beside what guessing gives."""

from typing import Any

import numpy as np
from scipy.stats import rankdata


def classification_scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """Scores of a classifier on images that it did not see.

    Args:
        labels: (N,) integers; negative where the class is not known, which leaves the image out.
        logits: (N, K) of K classes, or (N, 1) of one class against the other.

    Returns:
        Dictionary: "images", how many count; "majority", the accuracy of always answering the class that
        most of them have; "accuracy"; "balanced_accuracy", the mean over classes of the share that is
        found (guessing gives 1 / K); "auc", see `area_under_curve`, the mean of each class against the
        rest. What cannot be said of these labels is nan.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, "float64")
    known = labels >= 0
    labels, logits = labels[known], logits[known]
    if not len(labels):
        return {
            "images": 0,
            **dict.fromkeys(("majority", "accuracy", "balanced_accuracy", "auc"), float("nan")),
        }
    answers = logits.argmax(axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)
    counts = np.bincount(labels)
    found = [np.mean(answers[labels == c] == c) for c in np.flatnonzero(counts)]
    if logits.shape[1] > 1:
        # The logit of a class against those of the others together, as in a softmax.
        others = [np.delete(logits, c, axis=1) for c in range(logits.shape[1])]
        margins = [logits[:, c] - np.logaddexp.reduce(rest, axis=1) for c, rest in enumerate(others)]
        areas = [area_under_curve(labels == c, margin) for c, margin in enumerate(margins)]
    else:
        areas = [area_under_curve(labels == 1, logits[:, 0])]
    return {
        "images": len(labels),
        "majority": float(counts.max() / len(labels)),
        "accuracy": float(np.mean(answers == labels)),
        "balanced_accuracy": float(np.mean(found)),
        "auc": float(np.mean(areas)),
    }


def area_under_curve(positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a random positive scores higher than a random negative; equal scores count half.

    The area under the ROC curve, as the Mann-Whitney statistic (Hanley and McNeil 1982).

    Args:
        positive: (N,) bool.
        scores: (N,), more for more likely positive.

    Returns:
        Float in [0, 1]; nan without positives or without negatives.
    """
    positive = np.asarray(positive, bool)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    above = rankdata(scores)[positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * zeros))
