"""The grid that a scan of thick slices is brought to: by default one of isotropic voxels."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mrisr.checks import is_number
from keras_mrisr.degrade.thick_slices import FACTORS
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.inference.resample import voxels_for
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.geometry import plane_axis, plane_of, slice_axis

# Voxels that are so many times as long as wide are thick slices.
_THICK = 1.5
_THICKNESS_RATIO = 3.0


@dataclasses.dataclass(frozen=True)
class Grid:
    """The grid that a scan is brought to.

    Attributes:
        shape: Voxels along each axis.
        restored: The axes that a network makes finer, thickest slices first; the others are interpolated.
        thickness: Slice thickness over slice spacing, for each restored axis.
    """

    shape: tuple[int, int, int]
    restored: tuple[int, ...]
    thickness: tuple[float, ...]

    @property
    def voxels(self) -> int:
        """All of them."""
        return math.prod(self.shape)

    def factors(self, volume: Volume) -> tuple[float, float, float]:
        """By how many times it has more voxels than a volume along each axis."""
        x, y, z = (new / old for new, old in zip(self.shape, volume.shape, strict=True))
        return x, y, z

    def restores_one_axis_of(self, volume: Volume) -> bool:
        """Whether it is finer along one axis and else the same."""
        others = (axis for axis in range(3) if axis not in self.restored)
        return len(self.restored) == 1 and all(self.shape[axis] == volume.shape[axis] for axis in others)

    def slice_thickness(self, volume: Volume, axis: int) -> float | None:
        """Millimetres of a slice of the result, where that is known; `axis` is that of the slices."""
        if axis in self.restored:  # A restored line has the width of its spacing.
            return float(volume.spacing[axis]) * volume.shape[axis] / self.shape[axis]
        return volume.slice_thickness if self.shape[axis] == volume.shape[axis] else None


def is_thick(volume: Volume) -> bool:
    """Whether a scan is a stack of thick slices: its largest spacing is over 1.5 times the smallest."""
    spacing = volume.spacing
    return bool(spacing.max() > _THICK * spacing.min() and volume.shape[int(spacing.argmax())] > 1)


def isotropic_spacing(volume: Volume) -> tuple[float, float, float]:
    """The spacing of a scan made isotropic: its finest one along all axes."""
    finest = float(volume.spacing.min())
    return finest, finest, finest


def parse_spacing(value: str | float | Sequence[float]) -> tuple[float, float, float]:
    """Millimetres along each axis: from "1", "0.8x0.8x1", a number, or three of them.

    Raises:
        ConfigError: It is nothing of this kind.
    """
    parts: list[Any] = value.lower().split("x") if isinstance(value, str) else list(np.ravel(value))
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 3) or not all(0 < number < math.inf for number in numbers):
        raise ConfigError(
            f"`spacing` is one number of millimetres over 0, such as 0.8, or three, such as 0.8x0.8x1. "
            f"Received: {value!r}"
        )
    x, y, z = numbers * (3 // len(numbers))
    return x, y, z


def plan_grid(
    volume: Volume,
    spacing: float | Sequence[float] | np.ndarray | None = None,
    thickness: float | None = None,
    plane: str | None = None,
) -> Grid:
    """Which grid gives about this spacing over the same extent, and which axes the network restores.

    Args:
        volume: The scan.
        spacing: Wanted millimetres, along each array axis or along all; by default `isotropic_spacing`.
        thickness: Slice thickness in millimetres; by default that of the header, or else the spacing.
        plane: In which plane the slices lie; by default across the largest spacing.

    Raises:
        ConfigError: A spacing or thickness that is no number over 0.
        DataError: A factor over 8, no axis that becomes finer by 1.2 or more, one slice, or a thickness
            unlike the spacing by more than 3 times.
    """
    wanted = isotropic_spacing(volume) if spacing is None else parse_spacing(spacing)  # type: ignore[arg-type]
    counts = [_count(volume, axis, wanted[axis]) for axis in range(3)]
    factors = [count / size for count, size in zip(counts, volume.shape, strict=True)]
    restored = [axis for axis in range(3) if factors[axis] >= FACTORS[0] - 1e-6]
    restored.sort(key=lambda axis: -volume.spacing[axis])
    _check_restored(volume, wanted, restored)
    stack = slice_axis(volume) if plane is None else plane_axis(volume.affine, plane)
    if thickness is not None and stack not in restored:
        raise DataError(
            f"`slice_thickness` is for slices that become thinner, which the "
            f"{plane_of(volume.affine, stack)} ones of {volume.name} do not. Leave it out."
        )
    ratios = (_ratio(volume, axis, thickness) if axis == stack else 1.0 for axis in restored)
    return Grid((counts[0], counts[1], counts[2]), tuple(restored), tuple(ratios))


def _check_restored(volume: Volume, wanted: Sequence[float] | np.ndarray, restored: list[int]) -> None:
    """Raises DataError unless there are axes to restore, of several slices each."""
    if not restored:
        raise DataError(
            f"{volume.name} has voxels of {_text(volume.spacing)} mm; {_text(wanted)} mm makes no axis finer "
            f"by {FACTORS[0]} or more: there is nothing to restore. Ask for a finer `spacing`, or "
            "`way=in-plane`."
        )
    if min(volume.shape[axis] for axis in restored) < 2:
        raise DataError(
            f"{volume.name} is one slice: nothing lies between slices. Give a stack, or `way=in-plane`."
        )


def _count(volume: Volume, axis: int, spacing: float) -> int:
    """How many voxels an axis gets for a spacing."""
    now, size = float(volume.spacing[axis]), volume.shape[axis]
    count = voxels_for(now * size, spacing)
    if count / size > FACTORS[1] + 1e-6:
        raise DataError(
            f"{volume.name}: from {now:.4g} to {spacing:.4g} mm is a factor of {count / size:.3g}; at most "
            f"{FACTORS[1]:g} can be restored. Ask for {now / FACTORS[1]:.3g} mm or more with `spacing`."
        )
    return count


def _ratio(volume: Volume, axis: int, thickness: float | None) -> float:
    """Slice thickness over spacing, as given or as the header says."""
    if thickness is not None and not (is_number(thickness) and 0 < thickness < math.inf):
        raise ConfigError(f"`slice_thickness` must be millimetres over 0. Received: {thickness!r}")
    spacing = float(volume.spacing[axis])
    known = thickness or volume.slice_thickness or spacing
    if not 1 / _THICKNESS_RATIO <= known / spacing <= _THICKNESS_RATIO:
        raise DataError(
            f"{volume.name}: slices of {known:.4g} mm, {spacing:.4g} mm apart, differ by more than "
            f"{_THICKNESS_RATIO:g} times: give the right `slice_thickness`."
        )
    return known / spacing


def _text(spacing: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{each:.4g}" for each in spacing)


def grid_words(volume: Volume, grid: Grid) -> str:
    """What becomes of a scan: "voxels of 1 x 1 x 5 mm, 256 x 256 x 30; made isotropic: ..."."""
    sizes = [" x ".join(map(str, shape)) for shape in (volume.shape, grid.shape)]
    spacing = volume.spacing / grid.factors(volume)
    done = "made isotropic" if spacing.max() < 1.02 * spacing.min() else "resampled"
    slices = [
        f", slices of {ratio * volume.spacing[axis]:.4g} mm, {volume.spacing[axis]:.4g} mm apart"
        for axis, ratio in zip(grid.restored, grid.thickness, strict=True)
        if abs(ratio - 1) > 0.01
    ]
    return (
        f"{volume.name}: voxels of {_text(volume.spacing)} mm, {sizes[0]}{''.join(slices)}; {done}: "
        f"{_text(spacing)} mm, {sizes[1]}"
    )
