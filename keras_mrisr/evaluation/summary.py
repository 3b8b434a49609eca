"""From scores of images to means over images and over patients."""

import collections
import dataclasses

import numpy as np

from keras_mrisr.evaluation.protocol import finite_or_none

METRICS = ("psnr", "ssim")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Means of one metric, of one method, in one channel set and region.

    Attributes:
        method: "nearest", "bicubic", "lanczos" or "SR".
        metric: "psnr" (dB) or "ssim".
        channel: Set of channels.
        region: "whole" or "tissue".
        images: Number of images in the means.
        excluded: Images left out, because some method's value is not finite there: equal images
            (infinite PSNR) or no tissue. The same images are left out for every method, so that all
            means are over the same ones.
        image_mean: Mean over images; nan without images.
        image_sd: Standard deviation over images (n - 1); nan under two images.
        patients: Number of patients in the means.
        patient_mean: Mean over patients of their images' means.
        patient_sd: Standard deviation over patients (n - 1); nan under two patients.
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
    image_delta: float
    patient_delta: float

    def to_dict(self):
        """All fields as plain values; None for what is not finite."""
        values = dataclasses.asdict(self)
        return {k: finite_or_none(v) if isinstance(v, float) else v for k, v in values.items()}


def summarise(scores, baseline="bicubic"):
    """Means over images and over patients of every method, metric, channel and region.

    Args:
        scores: `ImageScore`s; every image has one for each method, channel and region.
        baseline: The method that differences are taken to.

    Returns:
        List of `Summary`, ordered by channel, region, metric, method as in `scores`.
    """
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for score in scores:
        groups[score.channel, score.region][score.method].append(score)
    rows = []
    for (channel, region), methods in groups.items():
        patients = np.array([score.patient for score in next(iter(methods.values()))])
        for metric in METRICS:
            values = {m: np.array([getattr(s, metric) for s in stack], float) for m, stack in methods.items()}
            finite = np.all([np.isfinite(v) for v in values.values()], axis=0)
            counts = {"images": int(finite.sum()), "excluded": int((~finite).sum())}
            means = {m: _means(v[finite], patients[finite]) for m, v in values.items()}
            base = means.get(baseline)
            for method, mean in means.items():
                delta = {
                    f"{key}_delta": mean[f"{key}_mean"] - base[f"{key}_mean"] if base else float("nan")
                    for key in ("image", "patient")
                }
                rows.append(Summary(method, metric, channel, region, **counts, **mean, **delta))
    return rows


def per_patient(scores):
    """Means of every patient: what `per_patient.csv` holds.

    Returns:
        List of dicts with patient, method, channel, region, images, and for each metric the mean over
        images that are finite for every method (None without one) and how many these are.
    """
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for score in scores:
        groups[score.patient, score.channel, score.region][score.method].append(score)
    rows = []
    for (patient, channel, region), methods in groups.items():
        finite = {
            metric: np.all([[np.isfinite(getattr(s, metric)) for s in st] for st in methods.values()], axis=0)
            for metric in METRICS
        }
        for method, stack in methods.items():
            row = {"patient": patient, "method": method, "channel": channel, "region": region}
            row["images"] = len(stack)
            for metric in METRICS:
                values = np.array([getattr(s, metric) for s in stack])[finite[metric]]
                row[metric] = float(values.mean()) if values.size else None
                row[f"{metric}_images"] = int(values.size)
            rows.append(row)
    return rows


def _means(values, patients):
    own = np.array([values[patients == patient].mean() for patient in dict.fromkeys(patients)])
    return {
        "image_mean": _mean(values),
        "image_sd": _sd(values),
        "patients": len(own),
        "patient_mean": _mean(own),
        "patient_sd": _sd(own),
    }


def _mean(values):
    return float(values.mean()) if len(values) else float("nan")


def _sd(values):
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
