"""From scores of images to means over images and over patients."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.evaluation.measures import MEASURES, Measure
from keras_mrisr.evaluation.protocol import plain_values
from keras_mrisr.evaluation.samples import collect
from keras_mrisr.evaluation.scores import ImageScore
from keras_mrisr.evaluation.statistics import bootstrap_intervals


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
        patient_low: Lower end of the 95 % interval of `patient_mean`: see `bootstrap_intervals`.
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

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; None for what is not finite."""
        return plain_values(self)


def summarise(
    scores: Sequence[ImageScore], measures: Iterable[Measure] | None = None, baseline: str = "bicubic"
) -> list[Summary]:
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
        methods = samples.methods
        intervals = bootstrap_intervals(np.array([samples.patient_values[m] for m in methods]))
        means = {
            method: _means(samples.image_values[method], samples.patient_values[method], interval)
            for method, interval in zip(methods, intervals, strict=True)
        }
        base = means.get(baseline)
        for method, mean in means.items():
            delta: dict[str, Any] = {
                f"{key}_delta": mean[f"{key}_mean"] - base[f"{key}_mean"] if base else float("nan")
                for key in ("image", "patient")
            }
            where = {"channel": samples.channel, "region": samples.region, "excluded": samples.excluded}
            facts: dict[str, Any] = {"metric": samples.measure.name, "images": samples.images, **where}
            rows.append(Summary(method=method, **facts, **mean, **delta))
    return rows


def per_patient(
    scores: Sequence[ImageScore], measures: Iterable[Measure] | None = None
) -> list[dict[str, Any]]:
    """Means of every patient: what `per_patient.csv` holds.

    Returns:
        List of dicts with patient, site, method, channel, region, images, and for each metric the mean
        over images that are finite for every method (None without one) and how many these are.
    """
    counts = collections.Counter((one.patient, one.channel, one.region, one.method) for one in scores)
    sections = list(dict.fromkeys(key[:3] for key in counts))
    sites = {one.patient: one.site for one in scores}
    rows: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for key in sorted(counts, key=lambda key: sections.index(key[:3])):
        patient, channel, region, method = key
        rows[key] = {"patient": patient, "site": sites[patient], "method": method, "channel": channel}
        rows[key] |= {"region": region, "images": counts[key]}
    for samples in collect(scores, measures or MEASURES.values()):
        for method, values in samples.patient_values.items():
            known = dict(zip(samples.patients, zip(values, samples.counts, strict=True), strict=True))
            for patient in sites:
                if row := rows.get((patient, samples.channel, samples.region, method)):
                    value, count = known.get(patient, (None, 0))
                    row[samples.measure.name] = None if value is None else float(value)
                    row[f"{samples.measure.name}_images"] = int(count)
    return list(rows.values())


def _means(images: np.ndarray, patients: np.ndarray, interval: np.ndarray) -> dict[str, Any]:
    return {
        "image_mean": _mean(images),
        "image_sd": _sd(images),
        "patients": len(patients),
        "patient_mean": _mean(patients),
        "patient_sd": _sd(patients),
        "patient_median": float(np.median(patients)) if len(patients) else float("nan"),
        "patient_low": float(interval[0]),
        "patient_high": float(interval[1]),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
