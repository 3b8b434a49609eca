"""Differences between two methods on the same patients, and groups of patients."""

import dataclasses

from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.statistics import bootstrap_interval, holm, paired_wilcoxon
from keras_mrisr.evaluation.summary import summarise


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One method against another in one metric, channel set and region; patients are the unit.

    Attributes:
        first: The method.
        second: What it is compared with.
        metric: Name of the `Measure`.
        channel: Set of channels.
        region: "whole", "tissue" or "tumour".
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
    metric: str
    channel: str
    region: str
    patients: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float

    def to_dict(self):
        """All fields as plain values; None for what is not finite."""
        values = dataclasses.asdict(self)
        return {k: finite_or_none(v) if isinstance(v, float) else v for k, v in values.items()}


def compare_methods(samples, plain=()):
    """Compares every method with every one before it.

    Args:
        samples: What `samples.collect` gives.
        plain: Methods that are not worth a test among themselves: the interpolators.

    Returns:
        List of `Comparison`, in the order of `samples`.
    """
    rows = []
    for one in samples:
        pairs = [
            (first, second)
            for place, first in enumerate(one.methods)
            for second in one.methods[:place]
            if not (first in plain and second in plain)
        ]
        values = one.patient_values
        tests = [paired_wilcoxon(values[first], values[second]) for first, second in pairs]
        adjusted = holm([test.p for test in tests])
        for (first, second), test, p_holm in zip(pairs, tests, adjusted, strict=True):
            difference = values[first] - values[second]
            rows.append(
                Comparison(
                    first,
                    second,
                    one.measure.name,
                    one.channel,
                    one.region,
                    len(difference),
                    float(difference.mean()) if len(difference) else float("nan"),
                    *bootstrap_interval(difference),
                    test.p,
                    p_holm,
                    test.effect,
                )
            )
    return rows


def summarise_groups(scores, measures, groups):
    """Summaries of groups of patients, such as sites.

    Args:
        scores: `ImageScore`s.
        measures: `Measure`s.
        groups: Dict patient -> name of its group; patients without one are left out.

    Returns:
        Dict group -> list of `Summary`, groups in the order in which they first appear in `groups`.
    """
    names = dict.fromkeys(name for name in groups.values() if name is not None)
    return {
        name: summarise([score for score in scores if groups.get(score.patient) == name], measures)
        for name in names
    }
