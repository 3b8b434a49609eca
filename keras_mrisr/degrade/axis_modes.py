"""A linear degradation along one axis, taken apart into modes that can be undone one by one."""

import dataclasses
import functools
from typing import Self

import numpy as np

from keras_mrisr.degrade.degradation import Degradation

# Share of the energy of an LR pixel's weights that may lie outside the patch.
_OUTSIDE = 1e-2


@dataclasses.dataclass(frozen=True)
class AxisModes:
    """A degradation A along one axis, with A A^T = vectors diag(eigenvalues) vectors^T / scale.

    The factor makes all eigenvalues of an ideal crop 1 (but for the highest frequency of even sizes).

    Attributes:
        matrix: A, (LR pixels, HR pixels), float64.
        vectors: (LR pixels, LR pixels).
        eigenvalues: (LR pixels,).
        known: Which LR pixels come from these HR pixels alone, (LR pixels,).
    """

    matrix: np.ndarray
    vectors: np.ndarray
    eigenvalues: np.ndarray
    known: np.ndarray

    @classmethod
    @functools.lru_cache(maxsize=8)  # The slices of a volume are of one size.
    def of(cls, degradation: Degradation, size: int) -> Self:
        """Of a whole image with so many HR pixels along the axis."""
        matrix = degradation.axis_matrix(size)
        return cls._from(matrix, degradation, np.ones(len(matrix), bool))

    @classmethod
    @functools.lru_cache(maxsize=8)
    def within(cls, degradation: Degradation, size: int) -> Self:
        """Of a patch of so many HR pixels that was cut, with its LR, out of the middle of a larger image."""
        whole = degradation.axis_matrix(3 * size)
        low = len(whole) // 3
        rows = whole[low : 2 * low]
        matrix = rows[:, size : 2 * size]
        energy = np.square(matrix).sum(axis=1) / np.square(rows).sum(axis=1)
        return cls._from(matrix, degradation, energy >= 1 - _OUTSIDE)

    @classmethod
    def _from(cls, matrix: np.ndarray, degradation: Degradation, known: np.ndarray) -> Self:
        eigenvalues, vectors = np.linalg.eigh(matrix @ matrix.T * degradation.scale)
        return cls(matrix, vectors, np.maximum(eigenvalues, 0), known)
