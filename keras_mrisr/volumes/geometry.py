"""Where voxels lie in the world: affines from voxel indices to RAS+ millimetres.

Voxel index i stands for the centre of a voxel. A grid that is `factor` times as fine and covers the same
extent has the centre of its voxel j at i = (j + 1/2) / factor - 1/2 of the coarse grid.
"""

from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np

from keras_mrisr.errors import DataError

PLANES = ("sagittal", "coronal", "axial")  # In the order of the world axes that they are normal to: R, A, S.
_CLEARLY_LARGER = 1.1  # Reconstructed "isotropic" voxels differ by a few percent between axes.


def spacing(affine: np.ndarray) -> np.ndarray:
    """The distance between neighbouring voxel centres along each array axis, (3,) in millimetres."""
    return np.linalg.norm(np.asarray(affine, dtype="float64")[:3, :3], axis=0)


def finer_grid(factors: Sequence[float]) -> np.ndarray:
    """The (4, 4) map from voxel indices of a grid `factors` times as fine to those of the coarse one.

    Raises:
        DataError: Not three positive numbers.
    """
    each = np.asarray(factors, dtype="float64")
    if each.shape != (3,) or not (np.isfinite(each).all() and (each > 0).all()):
        raise DataError(f"A scale needs a positive factor for each of the 3 axes. Received: {each.tolist()}")
    matrix = np.diag([*(1 / each), 1.0])
    matrix[:3, 3] = (1 / each - 1) / 2
    return matrix


def scaled_affine(affine: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """The affine after super-resolution: spacing divided by the factors, the same extent in the world.

    The origin (the centre of the first voxel) moves by half a voxel of the coarse grid towards its corner
    and back by half a voxel of the fine one.

    Args:
        affine: (4, 4), voxel indices to millimetres.
        factors: How many times as many voxels there are along each array axis.

    Returns:
        (4, 4) float64.

    Raises:
        DataError: See `finer_grid`.
    """
    return np.asarray(affine, dtype="float64") @ finer_grid(factors)


def is_invertible(affine: np.ndarray) -> bool:
    """Whether every voxel has a place of its own (no axis of length 0, no two along one line)."""
    distances = spacing(affine)
    return bool((distances > 0).all() and abs(np.linalg.det(affine[:3, :3] / distances)) > 1e-6)


def is_sheared(affine: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Whether array axes are not at right angles in the world (cosine over `tolerance`)."""
    axes = np.asarray(affine, dtype="float64")[:3, :3] / spacing(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > tolerance)


def plane_axis(affine: np.ndarray, plane: str) -> int:
    """The array axis that slices of a plane are stacked along.

    Args:
        affine: (4, 4); oblique ones count as the nearest plane.
        plane: "axial", "coronal" or "sagittal".

    Raises:
        DataError: Another plane.
    """
    if plane not in PLANES:
        raise DataError(f"Unknown plane {plane!r}. Choose one of {', '.join(sorted(PLANES))}.")
    return _world_axes(affine).index(PLANES.index(plane))


def plane_of(affine: np.ndarray, axis: int) -> str:
    """The name of the plane of slices that are stacked along an array axis; undoes `plane_axis`."""
    return PLANES[_world_axes(affine)[axis]]


def slice_axis(volume: Any) -> int:
    """The array axis along which the scanner stacked its slices: the one with the largest spacing.

    Where no spacing is larger than the others by 10 %, it is the last axis, along which files stack. A
    volume of one slice is stacked along the axis of length 1.

    Args:
        volume: A `Volume`, or anything with `affine` and `shape`.
    """
    singles = [axis for axis in range(3) if volume.shape[axis] == 1]
    if len(singles) == 1:
        return singles[0]
    distances = spacing(volume.affine)
    largest = int(np.argmax(distances))
    clear = distances[largest] > _CLEARLY_LARGER * np.delete(distances, largest).max()
    return largest if clear else 2


def _world_axes(affine: np.ndarray) -> list[int]:
    """For each array axis, the world axis (0 right, 1 anterior, 2 superior) that it is nearest to."""
    return [int(axis) for axis in nibabel.orientations.io_orientation(affine)[:, 0]]
