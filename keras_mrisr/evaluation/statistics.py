"""Statistics of patients: intervals, and tests between two methods."""

import dataclasses
import math
import warnings
from collections.abc import Container, Mapping, Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0
LEAST_PATIENTS = 3
"""An interval of fewer patients would say nothing: two can only be drawn in three ways."""


def bootstrap_intervals(
    rows: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """Bias-corrected and accelerated bootstrap intervals of means (Efron 1987, "BCa").

    Of few patients (under about ten) such intervals are known to be somewhat too narrow.

    Args:
        rows: One value a patient in each row, (m, n).
        level: Coverage.
        resamples: Number of resamples of the patients.
        seed: Of the resampling; the same for all rows, so that equal values give equal intervals.

    Returns:
        (low, high) of each row, (m, 2); nan for fewer than `LEAST_PATIENTS` values.
    """
    from scipy import stats

    rows = np.asarray(rows, float)
    if rows.shape[1] < LEAST_PATIENTS:
        return np.full((len(rows), 2), np.nan)
    means = rows.mean(axis=1, keepdims=True)
    spreads = rows.std(axis=1, keepdims=True)
    # Of constants scipy gives nan, with a warning.
    varied = (spreads > 1e-12 * np.abs(rows).max(axis=1, keepdims=True))[:, 0]
    intervals = np.repeat(means, 2, axis=1)
    if varied.any():
        found = stats.bootstrap(
            ((rows[varied] - means[varied]) / spreads[varied],), _rounded_mean, axis=1, n_resamples=resamples,
            confidence_level=level, method="BCa", batch=max(1, 10**7 // rows.size),
            random_state=np.random.default_rng(seed),
        )  # fmt: skip
        intervals[varied] += spreads[varied] * np.stack(found.confidence_interval, axis=1)
    return np.clip(intervals, rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True))


def _rounded_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of standardised values, the same in whichever order they are added up.

    BCa counts how many resamples have the very mean of the patients. The last bits would decide that, and a
    method would have another interval beside others than alone.
    """
    return values.mean(axis=axis).round(12)


def bootstrap_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """(low, high) of the mean of one value a patient: see `bootstrap_intervals`."""
    low, high = bootstrap_intervals(np.asarray(values, float)[np.newaxis])[0]
    return float(low), float(high)


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


def paired_wilcoxon(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> PairedTest:
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

    difference = np.asarray(first, float) - np.asarray(second, float)
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


def holm(p_values: Sequence[float]) -> list[float]:
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


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """One method against another in one metric; patients are the unit.

    Attributes:
        first: The method.
        second: What it is compared with.
        patients: Number of patients.
        difference: Mean over patients of first minus second.
        low: Lower end of its 95 % bootstrap interval; nan under three patients.
        high: Upper end.
        p: Of Wilcoxon's signed-rank test, two-sided; nan under two patients or without a difference.
        p_holm: `p` adjusted for all pairs of this metric, channel set and region (Holm).
        effect: Matched-pairs rank-biserial correlation: 1 when `first` has the larger value in every
            patient, -1 when it has the smaller one.
    """

    first: str
    second: str
    patients: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float


def paired_differences(
    values: Mapping[str, np.ndarray], plain: Container[str] = ()
) -> list[PairedDifference]:
    """Compares every method with every one before it.

    Args:
        values: Method -> its values, one a patient, (n,); the same patients for all.
        plain: Methods that are not worth a test among themselves: the interpolators.
    """
    methods = list(values)
    pairs = [
        (first, second)
        for place, first in enumerate(methods)
        for second in methods[:place]
        if not (first in plain and second in plain)
    ]
    if not pairs:
        return []
    differences = np.array([values[first] - values[second] for first, second in pairs])
    tests = [paired_wilcoxon(values[first], values[second]) for first, second in pairs]
    means = differences.mean(axis=1) if differences.size else np.full(len(pairs), np.nan)
    ends, adjusted = bootstrap_intervals(differences), holm([test.p for test in tests])
    return [
        PairedDifference(
            *pair, test.patients, float(mean), float(low), float(high), test.p, p_holm, test.effect
        )
        for pair, test, mean, (low, high), p_holm in zip(pairs, tests, means, ends, adjusted, strict=True)
    ]
