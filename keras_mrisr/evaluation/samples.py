"""The values of one metric that every method has on the same images: what all statistics start from."""

import collections
import dataclasses

import numpy as np

from keras_mrisr.evaluation.scores import REGIONS


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

    measure: object
    channel: str
    region: str
    images: int
    excluded: int
    patients: tuple[str, ...]
    counts: np.ndarray
    image_values: dict
    patient_values: dict

    @property
    def methods(self):
        """Names of the methods, in order."""
        return tuple(self.image_values)


def collect(scores, measures):
    """Gathers scores by channel set, region and metric.

    Args:
        scores: `ImageScore`s; in a channel set and region every method has one for the same images, in
            the same order.
        measures: The `Measure`s to gather; a channel set and region without any value of one is left out.

    Returns:
        List of `Samples`, ordered by channel set as in `scores`, then by region and `measures`.
    """
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for score in scores:
        groups[score.channel, score.region][score.method].append(score)
    found = []
    for (channel, region), methods in sorted(groups.items(), key=_reading_order(groups)):
        for measure in measures:
            having = {m: stack for m, stack in methods.items() if measure.name in stack[0].values}
            if having:
                found.append(_samples(measure, channel, region, having))
    return found


def _reading_order(groups):
    """Channel sets as they come, regions from the largest: the first slices may be without a tumour."""
    channels = list(dict.fromkeys(channel for channel, _ in groups))
    regions = list(dict.fromkeys((*REGIONS, *(region for _, region in groups))))
    return lambda item: (channels.index(item[0][0]), regions.index(item[0][1]))


def _samples(measure, channel, region, methods):
    patients = np.array([score.patient for score in next(iter(methods.values()))])
    values = {m: _column(stack, measure.name) for m, stack in methods.items()}
    finite = np.all([np.isfinite(v) for v in values.values()], axis=0)
    if measure.ratio:
        parts = {m: [_column(stack, name) for name in measure.ratio] for m, stack in methods.items()}
        own = {m: _ratios(*pair, patients) for m, pair in parts.items()}
    else:
        own = {m: _means(v, patients, finite) for m, v in values.items()}
    names = [p for p in dict.fromkeys(patients.tolist()) if all(np.isfinite(o[p]) for o in own.values())]
    return Samples(
        measure=measure,
        channel=channel,
        region=region,
        images=int(finite.sum()),
        excluded=int((~finite).sum()),
        patients=tuple(names),
        counts=np.array([int(finite[patients == name].sum()) for name in names], int),
        image_values={m: v[finite] for m, v in values.items()},
        patient_values={m: np.array([o[name] for name in names], float) for m, o in own.items()},
    )


def _column(stack, name):
    return np.array([score.values[name] for score in stack], float)


def _means(values, patients, finite):
    means = {}
    for name in dict.fromkeys(patients.tolist()):
        own = values[(patients == name) & finite]
        means[name] = float(own.mean()) if own.size else np.nan
    return means


def _ratios(numerators, denominators, patients):
    sums = {n: denominators[patients == n].sum() for n in dict.fromkeys(patients.tolist())}
    return {n: float(numerators[patients == n].sum() / s) if s else np.nan for n, s in sums.items()}
