"""Which parameters of a search the score depends on."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_mrisr.errors import MissingDependencyError
from keras_mrisr.tuning.results import SearchResults
from keras_mrisr.tuning.space import Parameter

LEAST = 6  # Healthy trials; with fewer a forest only knows them by heart.
EPOCHS = "epochs trained"


@dataclasses.dataclass(frozen=True)
class Importance:
    """How much the score depends on each parameter.

    Attributes:
        shares: {key: share}, summing to 1, largest first. "epochs trained" is among them where trials were of
            different length, as with Hyperband: what it explains is not the parameters' doing.
        explained: Share of the variance of scores that the forest predicts for trials that it has not seen
            (out of bag). Near 0 or below it the shares mean nothing.
        trials: Number of trials that it was fitted to.
    """

    shares: dict[str, float]
    explained: float
    trials: int


def importance(results: SearchResults) -> Importance | None:
    """Importance by permutation in a random forest (Breiman 2001, section 10).

    Args:
        results: A `SearchResults`; only its healthy trials count.

    Returns:
        An `Importance`, or None with too few trials or parameters, or equal scores.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    trials = results.healthy
    columns = _columns(results)
    scores = np.array([trial.score for trial in trials])
    if len(trials) < LEAST or not set(columns) - {EPOCHS} or np.ptp(scores) == 0:
        return None
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ImportError as error:
        raise MissingDependencyError("Importance needs scikit-learn: pip install scikit-learn") from error
    table = np.array(list(columns.values())).T
    forest = RandomForestRegressor(200, oob_score=True, min_samples_leaf=2, random_state=0)
    forest.fit(table, scores)
    found = permutation_importance(forest, table, scores, n_repeats=10, random_state=0)
    means = np.maximum(found.importances_mean, 0)
    shares = means / means.sum() if means.sum() > 0 else means
    ranked = sorted(zip(columns, shares, strict=True), key=lambda pair: -pair[1])
    return Importance({key: float(share) for key, share in ranked}, float(forest.oob_score_), len(trials))


def _columns(results: SearchResults) -> dict[str, list[float]]:
    """What differs between the healthy trials, by parameter; and the epochs that they were trained for."""
    trials = results.healthy
    columns = {
        parameter.key: [place(parameter, trial.values.get(parameter.key)) for trial in trials]
        for parameter in results.study.space.parameters
    }
    columns[EPOCHS] = [float(trial.epochs) for trial in trials]
    return {key: column for key, column in columns.items() if len(set(column)) > 1}


def place(parameter: Parameter, value: Any) -> float:
    """Where a value lies on the axis of its parameter, from 0 to 1; -0.15 for an inactive one."""
    if value is None:
        return -0.15
    if parameter.values:
        return parameter.values.index(value) / max(len(parameter.values) - 1, 1)
    low, high = parameter.low, parameter.high
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)
