"""The grid of a stack of slices: the least-squares fit to what their headers say, as they round it."""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.volumes.dicom.frames import Frame

_ROUNDED = (0.1, 0.01, 0.001, 0.0001)  # Steps to which scanners and converters round positions and cosines.
_FLOAT32 = 1e-7  # Of a number: what it loses as float32.


def stack_affine(frames: Sequence[Frame]) -> np.ndarray:
    """The affine (4, 4) of an array (column, row, slice) of stacked frames, to RAS+ millimetres.

    Row and column direction are the nearest ones at right angles to the mean of what the headers say; the
    slices lie on the line that fits their positions best. Where that line misses the normal by no more than
    rounding explains, the less exact of the two follows the other.
    """
    row, column = _directions(frames)
    origin, step = _line(frames)
    normal = np.cross(row, column)
    by_positions, by_cosines = _tilt_of_positions(frames, step), _tilt_of_cosines(frames)
    tilt = np.linalg.norm(step / np.linalg.norm(step) - normal)
    if tilt <= by_positions + by_cosines:
        if by_cosines <= by_positions:
            middle = (len(frames) - 1) / 2
            straight = normal * (step @ normal)
            origin, step = origin + middle * (step - straight), straight
        else:
            normal = step / np.linalg.norm(step)
            row, column = _right_angled(row - (row @ normal) * normal, column - (column @ normal) * normal)
    spacing = np.mean([frame.pixel_spacing for frame in frames], axis=0)
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[1]
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's axes point left and posterior.


def slice_distance(frames: Sequence[Frame]) -> float:
    """Millimetres from one stacked frame to the next; of a single one, what its header says."""
    return float(np.linalg.norm(_line(frames)[1]))


def position_error(frames: Sequence[Frame]) -> float:
    """By how much rounding may have moved a slice, in millimetres."""
    return _rounding(np.array([frame.position for frame in frames]), _ROUNDED) / 2 * np.sqrt(3)


def _line(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """The first position and the step of the line through evenly spaced slices, (3,) each."""
    if len(frames) == 1:
        first = frames[0]
        normal = first.normal / np.linalg.norm(first.normal)
        return first.position, normal * (first.distance or first.thickness or 1.0)
    positions = np.array([frame.position for frame in frames])
    places = _centred(frames)
    step = places @ positions / (places @ places)
    return positions.mean(axis=0) + places[0] * step, step


def _centred(frames: Sequence[Frame]) -> np.ndarray:
    return np.arange(len(frames)) - (len(frames) - 1) / 2


def _directions(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    mean = np.mean([frame.orientation for frame in frames], axis=0)
    return _right_angled(mean[:3], mean[3:])


def _right_angled(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit vectors at right angles that lie nearest to two vectors."""
    left, _, right = np.linalg.svd(np.stack([row, column]), full_matrices=False)
    nearest = left @ right
    return nearest[0], nearest[1]


def _rounding(numbers: np.ndarray, steps: Sequence[float]) -> float:
    """The step to which all numbers were rounded, 0 if to none."""
    for step in steps:
        if np.abs(numbers - np.rint(numbers / step) * step).max() < _FLOAT32 * np.abs(numbers).max():
            return step
    return 0.0


def _tilt_of_positions(frames: Sequence[Frame], step: np.ndarray) -> float:
    """The sine by which the rounding of positions may turn the line through them, at worst."""
    if len(frames) == 1:
        return 0.0
    places = _centred(frames)
    leverage = np.abs(places).sum() / (places @ places)
    return float(position_error(frames) * leverage / np.linalg.norm(step))


def _tilt_of_cosines(frames: Sequence[Frame]) -> float:
    """The sine by which the rounding of direction cosines may turn the normal, at worst."""
    cosines = np.array([frame.orientation for frame in frames])
    return float(_rounding(cosines, _ROUNDED[2:]) * np.sqrt(3))
