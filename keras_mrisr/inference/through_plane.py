"""Thick slices made thin: what becomes of a scan whose slices a network restores along their axis."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.normalize import RangeNormalizer, volume_normalizer
from keras_mrisr.degrade.thick_slices import FACTORS, ThickSlices
from keras_mrisr.errors import DataError
from keras_mrisr.inference.consistency import enforce_axis_consistency, rms
from keras_mrisr.inference.input_range import warn_outside
from keras_mrisr.inference.interpolated import interpolated_by
from keras_mrisr.inference.resample import apply_matrix, resample_axis
from keras_mrisr.inference.target_grid import Grid, plan_grid
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver, pass_count, restore_axis
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.inference.volume import surely_background
from keras_mrisr.inference.volume_result import (
    Residual,
    UpscaledVolume,
    check_room,
    joined_channels,
    without_holes,
)
from keras_mrisr.memory import parse_memory, resident_memory
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.version import __version__
from keras_mrisr.volumes import Volume, check_volume
from keras_mrisr.volumes.geometry import plane_axis, slice_axis
from keras_mrisr.volumes.stored_values import in_units, like_type

_FINISH_BYTES = 8  # Of a voxel: one more family of planes, and the result beside both.
log = logging.getLogger(__name__)


def upscale_through_plane(
    volume: Volume,
    model: ThroughPlaneResolver | PathLike = "thick",
    spacing: float | Sequence[float] | None = None,
    *,
    thickness: float | None = None,
    plane: str | None = None,
    ensemble: bool = False,
    uncertainty: bool = False,
    consistency: bool = False,
    memory: int | str | None = None,
    nan: str = "refuse",
    progress: Progress | None = None,
) -> UpscaledVolume:
    """Brings a scan of thick slices to a finer grid.

    The network restores one axis at a time, in both families of planes that hold it (sagittal- and
    coronal-like ones of an axial scan); the mean of both is taken, or what the model's 3-D network makes of
    them. Axes that become finer by less than 1.2
    times are interpolated by cubic B-splines, and those that become coarser averaged. Intensities are
    normalised over the volume and put back. Voxels stay exactly zero where they and all their neighbours are
    zero, and a volume without negative values gets none. With `consistency` both rules give way, because they
    would change what was measured.

    Args:
        volume: `Volume` (X, Y, Z), or (X, Y, Z, C), of which each channel is taken by itself.
        model: A `ThroughPlaneResolver`, the path of a model directory, or the name of a bundled model.
        spacing: Millimetres along each array axis, or one number for all; by default the finest one of the
            scan along all. The grid keeps the outer faces of the scan, so that the spacing becomes the
            nearest one that fits.
        thickness: Slice thickness in millimetres; by default that of the header, or else the spacing.
        plane: "axial", "coronal" or "sagittal": in which plane the slices lie; by default across the axis of
            the largest spacing.
        ensemble: Average over the flips of each plane, too: 4 times as slow.
        uncertainty: Also give the standard deviation over both families of planes and the flips of each;
            implies `ensemble`.
        consistency: Change the result as little as possible so that its averages over a Gaussian slice
            profile are the measured slices again; for a grid that is finer along one axis and else the same.
        memory: Bytes that this process may come to occupy in all, or text such as "2GB"; by default the
            resolver's.
        nan: See `upscale_volume`.
        progress: Called with the work done so far and all of it, in hundredths of a pass over the volume.

    Returns:
        `UpscaledVolume`.

    Raises:
        DataError: Nothing to restore, a factor over 8, a thickness unlike the spacing by more than 3 times,
            NaN, a sheared affine, or too little memory.
        ModelError: No such model, or the network gives something that is not finite.
    """
    resolver = model if isinstance(model, ThroughPlaneResolver) else ThroughPlaneResolver.load(model)
    check_volume(volume, nan)
    grid = plan_grid(volume, spacing, thickness, plane)
    check_consistency(volume, grid, consistency)
    memory = parse_memory(memory) if isinstance(memory, str) else memory
    memory = resolver.memory if memory is None else memory
    outside = next(filter(None, _each_outside(resolver, volume, grid)), "")
    warn_outside(volume.name, outside)
    _warn_interpolated(volume, grid)
    channels = volume.array.shape[3] if volume.array.ndim == 4 else 1
    needed = _bytes_for(volume, grid, uncertainty, consistency)
    if resolver.finish is not None:
        needed += _FINISH_BYTES * grid.voxels
    check_room(volume.name, needed, memory)
    axis = slice_axis(volume) if plane is None else plane_axis(volume.affine, plane)
    job = _Job(resolver, grid, axis, ensemble or uncertainty, uncertainty, consistency, memory, needed)
    steps = _Steps(progress, job.passes * channels * len(grid.restored))
    parts = []
    for place in range(channels):
        one = volume.array if volume.array.ndim == 3 else volume.array[..., place]
        parts.append(_restored(dataclasses.replace(volume, array=one), job, steps))
    whole = parts[0] if volume.array.ndim == 3 else joined_channels(parts)
    return dataclasses.replace(whole, verdict=dataclasses.replace(whole.verdict, outside=outside))


def _warn_interpolated(volume: Volume, grid: Grid) -> None:
    """Says where slices lie closer than they were acquired."""
    array = volume.array if volume.array.ndim == 3 else volume.array[..., 0]
    axis = grid.restored[0]
    factor = interpolated_by(array, axis) if np.isfinite(array).all() else None
    if factor is not None:
        spacing = float(volume.spacing[axis])
        log.warning(
            "%s looks interpolated along its slices: stored %.3g mm apart, it holds no detail finer than "
            "about %.2g mm. The result cannot be better than what was acquired; say with `slice_thickness` "
            "how thick the slices were, or take the scan as it was acquired.",
            volume.name, spacing, spacing * factor,
        )  # fmt: skip


def check_consistency(volume: Volume, grid: Grid, consistency: bool) -> None:
    """Raises DataError where a result on a grid cannot be made consistent."""
    if consistency and not grid.restores_one_axis_of(volume):
        raise DataError(
            f"`consistency` is for a grid that is finer along one axis of {volume.name} and else the same."
        )


def _each_outside(resolver: ThroughPlaneResolver, volume: Volume, grid: Grid) -> list[str]:
    factors = grid.factors(volume)
    pairs = zip(grid.restored, grid.thickness, strict=True)
    return [resolver.outside_of(factors[axis], ratio) for axis, ratio in pairs]


def _bytes_for(volume: Volume, grid: Grid, uncertainty: bool, consistency: bool) -> int:
    """What the arrays of a result take at most."""
    channels = volume.array.shape[3] if volume.array.ndim == 4 else 1
    kept = channels * (volume.array.itemsize + 4 * uncertainty)
    wide = 8 if volume.array.itemsize > 4 else 0
    # The mean, a copy in another order of axes, masks; squares; matrices times it in double precision.
    return grid.voxels * (kept + 10 + wide + 4 * uncertainty + 24 * consistency)


@dataclasses.dataclass(frozen=True)
class _Job:
    """How the channels of a volume are restored."""

    resolver: ThroughPlaneResolver
    grid: Grid
    slice_axis: int
    ensemble: bool
    uncertainty: bool
    consistency: bool
    memory: int | None
    needed: int

    @property
    def passes(self) -> int:
        """How many times each axis goes through a network."""
        return pass_count(self.ensemble) + (self.resolver.finish is not None)

    @property
    def room(self) -> int | None:
        """Bytes that are left for the network."""
        return None if self.memory is None else self.memory - resident_memory() - self.needed


class _Steps:
    """Counts passes over the volume for a progress callback."""

    def __init__(self, progress: Progress | None, passes: int) -> None:
        self.progress = progress
        self.passes = passes
        self.done = 0

    def report(self, share: float) -> None:
        """Takes how many passes of the present axis are done."""
        if self.progress is not None:
            self.progress(round(100 * (self.done + share)), 100 * self.passes)


def _restored(volume: Volume, job: _Job, steps: _Steps) -> UpscaledVolume:
    """The result for one channel."""
    volume, holes = without_holes(volume)
    grid, normalizer = job.grid, volume_normalizer(volume.array)
    x = normalizer.normalize(volume.array)
    for axis in range(3):  # Coarser axes first: less is left to do.
        if axis not in grid.restored:
            x = resample_axis(x, axis, grid.shape[axis])
    lr = x
    x, deviation = _restored_axes(x, job, steps)
    slices = _Slices.of(lr, job) if grid.restores_one_axis_of(volume) else None
    before = after = 0.0
    if slices is not None and job.consistency:
        x, before, after = enforce_axis_consistency(x, lr, slices.matrix, slices.axis)
    empty = _empty(volume, holes, job)
    values = _in_units(x, volume.array, normalizer, empty, job.consistency)
    array = like_type(values, volume.array.dtype)
    unit = normalizer.high - normalizer.low
    written = None if slices is None else slices.residual(normalizer.normalize(array))
    residual = None
    if written is not None and job.consistency:
        residual = Residual(before * unit, after * unit, written * unit, rms(lr) * unit)
    relative = None if written is None else written / (rms(lr) or 1.0)
    uncertain = None
    if deviation is not None:
        deviation[empty] = 0
        uncertain = _least_certain(deviation, grid.restored[0])
        deviation = in_units(deviation, unit)
    result, spread_volume = _volumes(volume, job, array, deviation)
    return UpscaledVolume(result, spread_volume, residual, Verdict("", (), relative, uncertain))


def _restored_axes(x: np.ndarray, job: _Job, steps: _Steps) -> tuple[np.ndarray, np.ndarray | None]:
    """A normalised volume with all axes restored, one after the other, and the standard deviation or None."""
    grid, deviation = job.grid, None
    for axis, ratio in zip(grid.restored, grid.thickness, strict=True):
        x, spread = restore_axis(
            job.resolver, x, axis, grid.shape[axis], ratio, job.uncertainty, steps.report,
            ensemble=job.ensemble, room=job.room,
        )  # fmt: skip
        steps.done += job.passes
        if deviation is not None and spread is not None:
            spread = np.hypot(resample_axis(deviation, axis, grid.shape[axis]), spread)
        deviation = spread
    return x, deviation


def _volumes(
    volume: Volume, job: _Job, array: np.ndarray, deviation: np.ndarray | None
) -> tuple[Volume, Volume | None]:
    """The result and its standard deviation as volumes."""
    factors = job.grid.factors(volume)
    words = "x".join(f"{factor:.4g}" for factor in factors)
    text = f"keras-mrisr {__version__}: {words} through-plane super-resolution by {job.resolver.name}"
    thickness = job.grid.slice_thickness(volume, job.slice_axis)
    result = volume.upscaled(array, factors, text, slice_thickness=thickness)
    if deviation is None:
        return result, None
    return result, volume.upscaled(deviation, factors, text, "standard deviation", slice_thickness=thickness)


def _in_units(
    x: np.ndarray, measured: np.ndarray, normalizer: RangeNormalizer, empty: np.ndarray, consistency: bool
) -> np.ndarray:
    """Normalised values in the units of what was measured; in place where single precision does."""
    values = np.empty(x.shape, "float64") if measured.dtype.itemsize > 4 else x
    magnitude = measured.min() >= 0 and not consistency
    for place in range(len(x)):  # A volume at once would need its memory three times more.
        plane = normalizer.restore(x[place], values.dtype)
        plane[empty[place]] = 0
        values[place] = np.maximum(plane, 0) if magnitude else plane
    return values


@dataclasses.dataclass(frozen=True)
class _Slices:
    """The thick slices that a result is compared with.

    Attributes:
        lr: float32 (X, Y, Z): what was measured, normalised.
        matrix: (slices, lines): the average over a Gaussian profile.
        axis: Across the slices.
    """

    lr: np.ndarray
    matrix: np.ndarray
    axis: int

    @classmethod
    def of(cls, lr: np.ndarray, job: _Job) -> "_Slices":
        axis, lines = job.grid.restored[0], job.grid.shape[job.grid.restored[0]]
        factor = min(max(lines / lr.shape[axis], FACTORS[0]), FACTORS[1])
        return cls(lr, ThickSlices(factor, job.grid.thickness[0]).matrix(lines), axis)

    def residual(self, sr: np.ndarray) -> float:
        """Root mean square of what the averages of a result differ from the slices."""
        return rms(apply_matrix(self.matrix, sr, self.axis) - self.lr)


def _empty(volume: Volume, holes: np.ndarray | None, job: _Job) -> np.ndarray:
    """The voxels of the result that are made zero: where nothing was measured, and surely background."""
    known = np.zeros((1, 1, 1), bool) if job.consistency else surely_background(volume.array[..., np.newaxis])
    known = known if holes is None else known | holes
    return _nearest(np.broadcast_to(known, volume.shape), job.grid.shape)


def _least_certain(deviation: np.ndarray, axis: int) -> str:
    """Where a standard deviation, as a share of the range of values, is the largest on average."""
    means = np.moveaxis(deviation, axis, 0).reshape(deviation.shape[axis], -1).mean(axis=1, dtype="float64")
    place = int(means.argmax())
    return f"in slice {place} of the result ({100 * means[place]:.2g} % of the range of values on average)"


def _nearest(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask (X, Y, Z) on another grid over the same extent: that of the voxel in which each centre lies."""
    places = [
        np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(int), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    ]
    return mask[np.ix_(*places)]
