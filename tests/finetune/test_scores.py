import numpy as np
import pytest

from keras_mrisr.finetune.scores import area_under_curve, classification_scores

reference = pytest.importorskip("sklearn.metrics")


def test_binary_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.3).astype(int)
    logits = np.round(rng.normal(labels - 0.5, 1), 1)  # With ties.
    scores = classification_scores(labels, logits[:, np.newaxis])
    assert scores == pytest.approx(
        {
            "images": 60,
            "majority": np.mean(labels == 0),
            "accuracy": reference.accuracy_score(labels, logits > 0),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, logits > 0),
            "auc": reference.roc_auc_score(labels, logits),
        }
    )


def test_scores_of_three_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    labels = rng.choice(3, 90, p=(0.6, 0.3, 0.1))
    logits = rng.normal(0, 1, (90, 3)) + 1.5 * np.eye(3)[labels]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = classification_scores(labels, logits)
    assert scores["auc"] == pytest.approx(reference.roc_auc_score(labels, shares, multi_class="ovr"))
    expected = reference.balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert scores["balanced_accuracy"] == pytest.approx(expected)
    assert scores["majority"] == pytest.approx(np.mean(labels == 0))


def test_unknown_labels_do_not_count():
    labels, logits = np.array([0, 1, -1, -1]), np.array([[-1.0], [1.0], [5.0], [-5.0]])
    scores = classification_scores(labels, logits)
    assert scores == {"images": 2, "majority": 0.5, "accuracy": 1.0, "balanced_accuracy": 1.0, "auc": 1.0}
    nothing = classification_scores([-1], [[1.0]])
    assert nothing.pop("images") == 0 and np.isnan(list(nothing.values())).all()


def test_one_class_has_no_auc():
    scores = classification_scores([1, 1], [[2.0], [-2.0]])
    assert np.isnan(scores["auc"])
    assert (scores["majority"], scores["accuracy"]) == (1.0, 0.5)
    assert area_under_curve([True, False], [0.0, 0.0]) == 0.5
