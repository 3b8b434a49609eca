import math

import numpy as np
import pytest
from scipy import stats

from keras_mrisr.evaluation.statistics import bootstrap_interval, bootstrap_intervals, holm, paired_wilcoxon


def bca(values, level=0.95, resamples=20000):
    """By hand, from Efron 1987: quantiles of the resampled means, shifted by bias and acceleration."""
    number, mean = len(values), values.mean()
    drawn = np.random.default_rng(1).integers(number, size=(resamples, number))
    means = values[drawn].mean(axis=1)
    deviations = (values - mean) / (number - 1)  # Of the mean without each patient, from the mean.
    bias = stats.norm.ppf((np.count_nonzero(means < mean) + np.count_nonzero(means <= mean)) / 2 / resamples)
    acceleration = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    shifted = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    return np.quantile(means, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))


@pytest.mark.parametrize("number", [6, 40])
def test_interval_by_hand(number):
    values = np.random.default_rng(number).gamma(2.0, size=number)  # Skewed, so that BCa differs.
    ours = bootstrap_interval(values)
    assert ours == pytest.approx(tuple(bca(values)), abs=0.04 * (ours[1] - ours[0]))
    assert ours[0] < values.mean() < ours[1]
    narrow = bootstrap_intervals(values[np.newaxis], level=0.5)[0]
    assert ours[0] < narrow[0] < narrow[1] < ours[1]


def test_intervals_are_repeatable_and_do_not_depend_on_each_other():
    rows = np.random.default_rng(0).gamma(2.0, size=(3, 8))
    together = bootstrap_intervals(np.concatenate([rows, np.ones((1, 8))]))
    np.testing.assert_array_equal(together[:3], [bootstrap_interval(row) for row in rows])
    np.testing.assert_array_equal(together[3], [1, 1])
    assert (bootstrap_intervals(rows, seed=1) != together[:3]).any()


def test_too_few_patients_have_no_interval():
    assert all(math.isnan(end) for end in bootstrap_interval([]))
    assert all(math.isnan(end) for end in bootstrap_interval([1.0, 2.0]))
    low, high = bootstrap_interval([0.0, 0.0, 1.0])
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("values", [[2.0] * 3, [0.0] * 4, [1.0, 1.0, 1.0, 1.0 + 2.3e-16]])
def test_constants_have_an_interval_without_width(values):
    assert bootstrap_interval(values) == pytest.approx((values[0], values[0]), rel=1e-12)


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
