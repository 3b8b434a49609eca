import math

import numpy as np
import pytest
from scipy import stats

from keras_mrisr.evaluation.statistics import bootstrap_interval, holm, paired_wilcoxon


@pytest.mark.parametrize("number", [6, 40])
def test_interval_equals_scipy(number):
    values = np.random.default_rng(number).gamma(2.0, size=number)  # Skewed, so that BCa differs.
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="BCa", random_state=1)
    width = ours[1] - ours[0]
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.04 * width)
    assert ours[0] < values.mean() < ours[1]
    assert bootstrap_interval(values) == ours  # Seeded.
    assert bootstrap_interval(values, seed=1) != ours
    narrow = bootstrap_interval(values, level=0.5)
    assert ours[0] < narrow[0] < narrow[1] < ours[1]


def test_too_few_patients_have_no_interval():
    assert all(math.isnan(end) for end in bootstrap_interval([]))
    assert all(math.isnan(end) for end in bootstrap_interval([1.0, 2.0]))
    assert bootstrap_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    low, high = bootstrap_interval([0.0, 0.0, 1.0])
    assert 0 <= low < high <= 1


def test_wilcoxon_by_hand():
    """Six patients, all better: one of 2**6 cases at each end."""
    second = np.arange(6.0)
    test = paired_wilcoxon(second + np.array([0.1, 0.3, 0.2, 0.5, 0.6, 0.4]), second)
    assert (test.patients, test.p, test.effect) == (6, pytest.approx(2 / 2**6), 1.0)
    # Differences 1, -2, 3, 4: of the rank sum 10, 2 are negative.
    test = paired_wilcoxon([1, 0, 3, 4], [0, 2, 0, 0])
    assert test.effect == pytest.approx(0.6)
    assert test.p == pytest.approx(stats.wilcoxon([1, -2, 3, 4]).pvalue)


def test_wilcoxon_without_a_difference_or_patients():
    test = paired_wilcoxon([1.0, 2.0], [1.0, 2.0])
    assert test.patients == 2 and math.isnan(test.p) and math.isnan(test.effect)
    test = paired_wilcoxon([1.0], [0.5])
    assert (test.patients, test.effect) == (1, 1.0) and math.isnan(test.p)
    ties = paired_wilcoxon([1.0, 1.0, 1.0, 3.0, 5.0], [0.0, 0.0, 2.0, 3.0, 4.0])
    assert ties.patients == 5 and 0 < ties.p <= 1 and ties.effect == pytest.approx(0.5)


def test_holm_by_hand():
    adjusted = holm([0.01, 0.04, math.nan, 0.03])
    assert adjusted[:2] == [pytest.approx(0.03), pytest.approx(0.06)]
    assert math.isnan(adjusted[2]) and adjusted[3] == pytest.approx(0.06)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
