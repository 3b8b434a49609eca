"""Differences between two methods on the same patients, and groups of patients."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.protocol import plain_values
from keras_mrisr.evaluation.samples import Samples
from keras_mrisr.evaluation.scores import ImageScore
from keras_mrisr.evaluation.statistics import PairedDifference, paired_differences
from keras_mrisr.evaluation.summary import Summary, summarise


@dataclasses.dataclass(frozen=True)
class Comparison(PairedDifference):
    """A `PairedDifference` in one metric, channel set and region.

    Attributes:
        metric: Name of the `Measure`.
        channel: Set of channels.
        region: "whole", "tissue" or "tumour".
    """

    metric: str
    channel: str
    region: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; None for what is not finite."""
        return plain_values(self)


def compare_methods(samples: Sequence[Samples], plain: Collection[str] = ()) -> list[Comparison]:
    """Compares every method with every one before it.

    Args:
        samples: What `samples.collect` gives.
        plain: Methods that are not worth a test among themselves: the interpolators.

    Returns:
        List of `Comparison`, in the order of `samples`.
    """
    return [
        Comparison(**vars(found), metric=one.measure.name, channel=one.channel, region=one.region)
        for one in samples
        for found in paired_differences(one.patient_values, plain)
    ]


def summarise_groups(
    scores: Sequence[ImageScore],
    measures: Sequence[Measure],
    groups: Mapping[str, str | None],
    baseline: str = "bicubic",
) -> dict[str, list[Summary]]:
    """Summaries of groups of patients, such as sites.

    Args:
        scores: `ImageScore`s.
        measures: `Measure`s.
        groups: Dict patient -> name of its group; patients without one are left out.
        baseline: The method that differences are taken to.

    Returns:
        Dict group -> list of `Summary`, groups in the order in which they first appear in `groups`.
    """
    names = dict.fromkeys(name for name in groups.values() if name is not None)
    return {
        name: summarise([one for one in scores if groups.get(one.patient) == name], measures, baseline)
        for name in names
    }
