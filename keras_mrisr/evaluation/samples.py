"""The values of one metric that every method has on the same images: what all statistics start from."""

import collections
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.scores import REGIONS, ImageScore

Groups = dict[tuple[str, str], dict[str, list[ImageScore]]]
"""(channel set, region) -> method -> its scores."""


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """One metric in one channel set and region.

    An image whose value is not finite for some method is left out for all, so that every method is
    averaged over the same images.

    Attributes:
        measure: The `Measure`.
        channel: Set of channels.
        region: "whole", "tissue" or "tumour".
        images: Number of images with a value for every method.
        excluded: Number of images left out.
        patients: Names of the patients with a value, in order.
        counts: Their numbers of images, (n,).
        image_values: Method -> its values of images, (images,).
        patient_values: Method -> its values of patients, (n,): means over their images, or for a ratio
            the ratio of the sums.
    """

    measure: Measure
    channel: str
    region: str
    images: int
    excluded: int
    patients: tuple[str, ...]
    counts: np.ndarray
    image_values: dict[str, np.ndarray]
    patient_values: dict[str, np.ndarray]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in order."""
        return tuple(self.image_values)


def collect(scores: Iterable[ImageScore], measures: Iterable[Measure]) -> list[Samples]:
    """Gathers scores by channel set, region and metric.

    Args:
        scores: `ImageScore`s; in a channel set and region every method has one for the same images, in
            the same order.
        measures: The `Measure`s to gather; a channel set and region without any value of one is left out.

    Returns:
        List of `Samples`, ordered by channel set as in `scores`, then by region and `measures`.
    """
    groups: Groups = collections.defaultdict(lambda: collections.defaultdict(list))
    measures = tuple(measures)
    for score in scores:
        groups[score.channel, score.region][score.method].append(score)
    found = []
    for (channel, region), methods in sorted(groups.items(), key=_reading_order(groups)):
        for measure in measures:
            having = {m: stack for m, stack in methods.items() if measure.name in stack[0].values}
            if having:
                found.append(_samples(measure, channel, region, having))
    return found


def _reading_order(groups: Groups) -> Callable[[Any], tuple[int, int]]:
    """Channel sets as they come, regions from the largest: the first slices may be without a tumour."""
    channels = list(dict.fromkeys(channel for channel, _ in groups))
    regions = list(dict.fromkeys((*REGIONS, *(region for _, region in groups))))
    return lambda item: (channels.index(item[0][0]), regions.index(item[0][1]))


def _samples(measure: Measure, channel: str, region: str, methods: dict[str, list[ImageScore]]) -> Samples:
    patients = np.array([score.patient for score in next(iter(methods.values()))])
    values = {method: _column(stack, measure.name) for method, stack in methods.items()}
    finite = np.all([np.isfinite(each) for each in values.values()], axis=0)
    present = list(dict.fromkeys(patients.tolist()))
    own = np.array([_by_patient(measure, stack, patients, finite, present) for stack in methods.values()])
    known = np.isfinite(own).all(axis=0)
    names = tuple(name for name, has in zip(present, known, strict=True) if has)
    return Samples(
        measure=measure,
        channel=channel,
        region=region,
        images=int(finite.sum()),
        excluded=int((~finite).sum()),
        patients=names,
        counts=np.array([int(finite[patients == name].sum()) for name in names], int),
        image_values={method: each[finite] for method, each in values.items()},
        patient_values=dict(zip(methods, own[:, known], strict=True)),
    )


def _column(stack: list[ImageScore], name: str) -> np.ndarray:
    return np.array([score.values[name] for score in stack], float)


def _by_patient(
    measure: Measure, stack: list[ImageScore], patients: np.ndarray, finite: np.ndarray, present: list[str]
) -> list[float]:
    """One value for each of the patients that are present, nan where there is none."""
    if not measure.ratio:
        values = _column(stack, measure.name)
        parts = [values[(patients == name) & finite] for name in present]
        return [float(part.mean()) if part.size else np.nan for part in parts]
    above, below = (_column(stack, name) for name in measure.ratio)
    sums = [(above[patients == name].sum(), below[patients == name].sum()) for name in present]
    return [float(one / other) if other else np.nan for one, other in sums]
