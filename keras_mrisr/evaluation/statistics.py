"""Statistics of patients: intervals, and tests between two methods."""

import dataclasses
import functools
import math
import warnings

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0
LEAST_PATIENTS = 3
"""An interval of fewer patients would say nothing: two can only be drawn in three ways."""


def bootstrap_interval(values, level=LEVEL, resamples=RESAMPLES, seed=SEED):
    """Bias-corrected and accelerated bootstrap interval of a mean (Efron 1987, "BCa").

    Agrees with `scipy.stats.bootstrap(method="BCa")` within the noise of the resampling. Of few patients
    (under about ten) such intervals are known to be somewhat too narrow.

    Args:
        values: One value a patient, (n,).
        level: Coverage.
        resamples: Number of resamples of the patients.
        seed: Of the resampling; the same for all methods, so that equal values give equal intervals.

    Returns:
        (low, high); two nan for fewer than `LEAST_PATIENTS` values.
    """
    from scipy.special import ndtr, ndtri

    values = np.asarray(values, float)
    number = len(values)
    if number < LEAST_PATIENTS:
        return math.nan, math.nan
    mean = float(values.mean())
    deviations = (values - mean) / (number - 1)  # Of the mean without each patient, from the mean.
    if not np.square(deviations).sum():
        return mean, mean
    means = _draws(number, resamples, seed) @ values / number
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means <= mean)) / (2 * resamples)
    # All resamples on one side would have no finite quantile.
    bias = ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    acceleration = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    shifted = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(means, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def _draws(number, resamples, seed):
    """How often each of `number` patients is drawn: array (resamples, number)."""
    drawn = np.random.default_rng(seed).integers(number, size=(resamples, number))
    return np.stack([np.bincount(row, minlength=number) for row in drawn]).astype("float32")


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """Wilcoxon's signed-rank test of two methods on the same patients.

    Attributes:
        patients: Number of patients.
        p: Two-sided p-value; nan with fewer than two patients or without a difference.
        effect: Matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014): the share of the rank sum
            where the first method has the larger value minus the share where it has the smaller one;
            nan without a difference.
    """

    patients: int
    p: float
    effect: float


def paired_wilcoxon(first, second):
    """Tests whether two methods differ on the same patients.

    Patients without a difference are left out (Wilcoxon 1945). p is `scipy.stats.wilcoxon`'s: exact for
    up to 50 patients without ties. With n patients it cannot be under 2 / 2**n: five can never reach 0.05.

    Args:
        first: Values of one method, one a patient.
        second: Values of the other, of the same patients in the same order.

    Returns:
        A `PairedTest`.
    """
    from scipy import stats

    first, second = np.asarray(first, float), np.asarray(second, float)
    difference = first - second
    difference = difference[difference != 0]
    if not len(difference):
        return PairedTest(len(first), math.nan, math.nan)
    ranks = stats.rankdata(np.abs(difference))
    effect = float(np.sum(ranks * np.sign(difference)) / np.sum(ranks))
    if len(difference) < 2:
        return PairedTest(len(first), math.nan, effect)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of few patients with ties: the table says how many there are.
        p = float(stats.wilcoxon(difference).pvalue)
    return PairedTest(len(first), p, effect)


def holm(p_values):
    """Holm's step-down adjustment for several tests at once (Holm 1979); nan stays nan and does not count.

    Args:
        p_values: Sequence of p-values.

    Returns:
        List of adjusted p-values, at most 1, in the same order.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, least = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[place] = least
    return adjusted
