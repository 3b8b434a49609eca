import math

import numpy as np
import pytest

from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.evaluation.statistics import bootstrap_interval, paired_wilcoxon
from keras_mrisr.segmentation.scores import compare_dice, score_patient, summarise_dice


def record(patient):
    return SliceRecord("a.png", patient, 0, "A")


@pytest.fixture(scope="module")
def scores():
    """Four patients under two methods: the first is right, the second misses a part that grows."""
    found = []
    for method, missed in (("HR", 0), ("bicubic", 1)):
        for patient in range(4):
            truth = np.zeros((3, 10, 10), bool)
            truth[1, 2:8, 2:8] = True
            prediction = truth.copy()
            prediction[1, 2 : 2 + missed * (1 + patient)] = False
            found.append(score_patient([record(f"p{patient}")] * 3, method, truth, prediction))
    return found


def test_scores_of_a_patient():
    truth, prediction = np.zeros((2, 3, 10, 10), bool)
    truth[0, :2, :5] = True
    prediction[0, 1:3, :5] = True
    score = score_patient([record("p")] * 3, "HR", truth, prediction)
    assert (score.patient, score.site, score.slices) == ("p", "A", 3)
    assert (score.dice, score.sensitivity, score.precision) == (0.5, 0.5, 0.5)
    assert (score.lesions, score.found, score.false_lesions) == (1, 1, 0)
    assert (score.true_voxels, score.predicted_voxels) == (10, 10)


def test_empty_masks():
    empty, one = np.zeros((1, 5, 5), bool), np.ones((1, 5, 5), bool)
    both = score_patient([record("p")], "HR", empty, empty)
    assert both.dice == 1
    assert math.isnan(both.sensitivity)
    assert math.isnan(both.precision)
    assert score_patient([record("p")], "HR", empty, one).dice == 0
    assert score_patient([record("p")], "HR", one, empty).dice == 0
    # What is not known of a patient is left out of the mean.
    known = score_patient([record("q")], "HR", one, one)
    assert summarise_dice([both, known])[0].sensitivity == 1


def test_means_over_patients(scores):
    hr, bicubic = summarise_dice(scores)
    assert (hr.method, hr.dice, hr.sd, hr.low, hr.high) == ("HR", 1, 0, 1, 1)
    dice = [2 * (6 - n) / (12 - n) for n in (1, 2, 3, 4)]
    assert bicubic.dice == pytest.approx(np.mean(dice))
    assert bicubic.sd == pytest.approx(np.std(dice, ddof=1))
    assert bicubic.median == pytest.approx(np.median(dice))
    assert (bicubic.low, bicubic.high) == pytest.approx(bootstrap_interval(dice))
    assert (bicubic.lesions, bicubic.found, bicubic.recall) == (4, 4, 1)


def test_differences(scores):
    [row] = compare_dice(scores)
    difference = [2 * (6 - n) / (12 - n) - 1 for n in (1, 2, 3, 4)]
    assert (row.first, row.second, row.patients) == ("bicubic", "HR", 4)
    assert row.difference == pytest.approx(np.mean(difference))
    assert row.p == row.p_holm == paired_wilcoxon(difference, np.zeros(4)).p
    assert row.effect == -1


def test_one_patient_has_no_interval(scores):
    [row] = summarise_dice(scores[:1])
    assert row.dice == 1
    assert all(math.isnan(value) for value in (row.sd, row.low, row.high))
