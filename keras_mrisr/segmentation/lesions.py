"""Lesions as connected parts of a volume."""

import dataclasses

import numpy as np

CONNECTED = np.ones((3, 3, 3), bool)  # By faces, edges and corners.
SPECK = 10
"""Lesions of fewer voxels are slips of the annotator's hand: they are neither missed nor found."""
OVERLAP = 0.1
"""Share of a lesion's voxels that must be predicted for it to count as found."""


@dataclasses.dataclass(frozen=True)
class LesionCount:
    """How many lesions of a volume were found.

    Attributes:
        lesions: Lesions in the truth, specks left out.
        found: Those of which at least a tenth was predicted.
        false: Predicted parts, specks left out, that touch no lesion.
    """

    lesions: int
    found: int
    false: int

    @property
    def recall(self) -> float:
        """found / lesions; nan where there is none."""
        return self.found / self.lesions if self.lesions else float("nan")


def count_lesions(truth: np.ndarray, prediction: np.ndarray) -> LesionCount:
    """Compares the connected parts (26 neighbours) of two volumes.

    Args:
        truth: Array (Z, H, W), bool.
        prediction: The same.

    Returns:
        A `LesionCount`.
    """
    truth, prediction = np.asarray(truth, bool), np.asarray(prediction, bool)
    lesions, sizes = _parts(truth)
    hits = np.bincount(lesions[prediction], minlength=len(sizes))
    real = sizes >= SPECK
    predicted, predicted_sizes = _parts(prediction)
    touching = np.bincount(predicted[truth], minlength=len(predicted_sizes)) > 0
    return LesionCount(
        lesions=int(real[1:].sum()),
        found=int((real & (hits >= OVERLAP * sizes))[1:].sum()),
        false=int(((predicted_sizes >= SPECK) & ~touching)[1:].sum()),
    )


def largest_lesion(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a volume (Z, H, W), bool; an empty one stays empty."""
    parts, sizes = _parts(np.asarray(mask, bool))
    if len(sizes) < 2:
        return parts > 0
    return parts == 1 + np.argmax(sizes[1:])


def _parts(mask):
    """(labels (Z, H, W) from 1, sizes by label with the background first)."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, CONNECTED)
    return labels, np.bincount(labels.ravel())
