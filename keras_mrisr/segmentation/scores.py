"""How well masks agree, patient by patient, and the means over patients."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.evaluation.statistics import PairedDifference, bootstrap_interval, paired_differences
from keras_mrisr.segmentation.lesions import count_lesions


@dataclasses.dataclass(frozen=True)
class PatientScore:
    """One row of `per_patient.csv`.

    Attributes:
        patient: Whose masks they are.
        site: Where the patient was scanned, or None.
        method: The images that were segmented: "HR", "bicubic" or the name of a model.
        slices: Number of slices.
        dice: Dice of all slices together; 1 where truth and prediction are both empty, 0 where one is.
        sensitivity: Share of the true voxels that were predicted; nan without any.
        precision: Share of the predicted voxels that are true; nan without any.
        lesions: Connected lesions in the truth.
        found: Those of which at least a tenth was predicted.
        false_lesions: Connected predictions that touch no lesion.
        true_voxels: Voxels of the truth.
        predicted_voxels: Voxels of the prediction.
    """

    patient: str
    site: str | None
    method: str
    slices: int
    dice: float
    sensitivity: float
    precision: float
    lesions: int
    found: int
    false_lesions: int
    true_voxels: int
    predicted_voxels: int


@dataclasses.dataclass(frozen=True)
class SegmentationSummary:
    """What one method's images are worth to the U-Net.

    Attributes:
        method: The images that were segmented.
        patients: Number of patients.
        dice: Mean over patients.
        sd: Standard deviation over patients (n - 1); nan for one patient.
        median: Median over patients.
        low: Lower end of the 95 % bootstrap interval of the mean; nan under three patients.
        high: Upper end.
        lesions: Lesions of all patients.
        found: Lesions that were found.
        false_lesions: Predictions where there is no lesion.
        sensitivity: Mean over patients with a lesion.
        precision: Mean over patients with a prediction.
    """

    method: str
    patients: int
    dice: float
    sd: float
    median: float
    low: float
    high: float
    lesions: int
    found: int
    false_lesions: int
    sensitivity: float
    precision: float

    @property
    def recall(self) -> float:
        """found / lesions; nan without lesions."""
        return self.found / self.lesions if self.lesions else math.nan


def score_patient(
    records: Sequence[SliceRecord], method: str, truth: np.ndarray, prediction: np.ndarray
) -> PatientScore:
    """Scores the masks of one patient.

    Args:
        records: The `SliceRecord`s.
        method: Name of the method.
        truth: Array (Z, H, W), bool.
        prediction: The same.

    Returns:
        A `PatientScore`.
    """
    both, one, other = (int(np.sum(x)) for x in (truth & prediction, truth, prediction))
    lesions = count_lesions(truth, prediction)
    return PatientScore(
        patient=records[0].patient,
        site=records[0].site,
        method=method,
        slices=len(records),
        dice=2 * both / (one + other) if one + other else 1.0,
        sensitivity=both / one if one else math.nan,
        precision=both / other if other else math.nan,
        lesions=lesions.lesions,
        found=lesions.found,
        false_lesions=lesions.false,
        true_voxels=one,
        predicted_voxels=other,
    )


def summarise_dice(scores: Sequence[PatientScore]) -> list[SegmentationSummary]:
    """Means over patients: a list of `SegmentationSummary`, methods in the order of the scores."""
    rows = []
    for method, own in _by_method(scores).items():
        dice = np.array([score.dice for score in own])
        low, high = bootstrap_interval(dice)
        rows.append(
            SegmentationSummary(
                method=method,
                patients=len(own),
                dice=float(dice.mean()),
                sd=float(dice.std(ddof=1)) if len(own) > 1 else math.nan,
                median=float(np.median(dice)),
                low=low,
                high=high,
                lesions=sum(score.lesions for score in own),
                found=sum(score.found for score in own),
                false_lesions=sum(score.false_lesions for score in own),
                sensitivity=_known_mean([score.sensitivity for score in own]),
                precision=_known_mean([score.precision for score in own]),
            )
        )
    return rows


def compare_dice(scores: Sequence[PatientScore]) -> list[PairedDifference]:
    """Dice of every method against every one before it."""
    methods = _by_method(scores).items()
    return paired_differences({name: np.array([score.dice for score in own]) for name, own in methods})


def _by_method(scores: Sequence[PatientScore]) -> dict[str, list[PatientScore]]:
    methods: dict[str, list[PatientScore]] = {}
    for score in scores:
        methods.setdefault(score.method, []).append(score)
    return methods


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
