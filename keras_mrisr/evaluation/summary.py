"""From scores of images to means over images and over patients."""

import collections
import dataclasses

import numpy as np

from keras_mrisr.evaluation.measures import MEASURES
from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.samples import collect
from keras_mrisr.evaluation.statistics import bootstrap_interval


@dataclasses.dataclass(frozen=True)
class Summary:
    """Means of one metric, of one method, in one channel set and region.

    Attributes:
        method: "nearest", "bicubic", "lanczos", or the name of a model or of predictions.
        metric: Name of the `Measure`: "psnr" (dB), "ssim" and so on.
        channel: Set of channels.
        region: "whole", "tissue" or "tumour".
        images: Number of images in the means.
        excluded: Images left out, because some method's value is not finite there: equal images
            (infinite PSNR) or no tissue. The same images are left out for every method, so that all
            means are over the same ones.
        image_mean: Mean over images; nan without images.
        image_sd: Standard deviation over images (n - 1); nan under two images.
        patients: Number of patients in the means.
        patient_mean: Mean over patients of their images' means.
        patient_sd: Standard deviation over patients (n - 1); nan under two patients.
        patient_median: Median over patients.
        patient_low: Lower end of the 95 % interval of `patient_mean`: see `bootstrap_interval`.
        patient_high: Upper end; both nan under three patients.
        image_delta: `image_mean` minus the baseline's; nan without a baseline.
        patient_delta: `patient_mean` minus the baseline's.
    """

    method: str
    metric: str
    channel: str
    region: str
    images: int
    excluded: int
    image_mean: float
    image_sd: float
    patients: int
    patient_mean: float
    patient_sd: float
    patient_median: float
    patient_low: float
    patient_high: float
    image_delta: float
    patient_delta: float

    def to_dict(self):
        """All fields as plain values; None for what is not finite."""
        values = dataclasses.asdict(self)
        return {k: finite_or_none(v) if isinstance(v, float) else v for k, v in values.items()}


def summarise(scores, measures=None, baseline="bicubic"):
    """Means over images and over patients of every method, metric, channel and region.

    Args:
        scores: `ImageScore`s; every image has one for each method, channel and region.
        measures: The `Measure`s to summarise; by default all of the package.
        baseline: The method that differences are taken to.

    Returns:
        List of `Summary`, ordered by channel, region, metric, method as in `scores`.
    """
    rows = []
    for samples in collect(scores, measures or MEASURES.values()):
        means = {m: _means(samples.image_values[m], samples.patient_values[m]) for m in samples.methods}
        base = means.get(baseline)
        for method, mean in means.items():
            delta = {
                f"{key}_delta": mean[f"{key}_mean"] - base[f"{key}_mean"] if base else float("nan")
                for key in ("image", "patient")
            }
            where = (method, samples.measure.name, samples.channel, samples.region)
            rows.append(Summary(*where, samples.images, samples.excluded, **mean, **delta))
    return rows


def per_patient(scores, measures=None):
    """Means of every patient: what `per_patient.csv` holds.

    Returns:
        List of dicts with patient, site, method, channel, region, images, and for each metric the mean
        over images that are finite for every method (None without one) and how many these are.
    """
    measures = tuple(measures or MEASURES.values())
    rows, order = {}, collections.defaultdict(list)
    for score in scores:
        order[score.patient, score.channel, score.region].append(score)
    for (patient, channel, region), stack in order.items():
        for method in dict.fromkeys(score.method for score in stack):
            rows[patient, channel, region, method] = {
                "patient": patient,
                "site": stack[0].site,
                "method": method,
                "channel": channel,
                "region": region,
                "images": sum(score.method == method for score in stack),
            }
    for samples in collect(scores, measures):
        name = samples.measure.name
        for method, values in samples.patient_values.items():
            known = dict(zip(samples.patients, zip(values, samples.counts, strict=True), strict=True))
            for (patient, channel, region, of), row in rows.items():
                if (channel, region, of) == (samples.channel, samples.region, method):
                    value, count = known.get(patient, (None, 0))
                    row[name] = None if value is None else float(value)
                    row[f"{name}_images"] = int(count)
    return list(rows.values())


def _means(images, patients):
    low, high = bootstrap_interval(patients)
    return {
        "image_mean": _mean(images),
        "image_sd": _sd(images),
        "patients": len(patients),
        "patient_mean": _mean(patients),
        "patient_sd": _sd(patients),
        "patient_median": float(np.median(patients)) if len(patients) else float("nan"),
        "patient_low": low,
        "patient_high": high,
    }


def _mean(values):
    return float(values.mean()) if len(values) else float("nan")


def _sd(values):
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
