"""Thick slices made thin: a network that restores one axis, on the planes that hold it."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.degrade.thick_slices import FACTORS, ThickSlices, positions
from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.inference.consistency import enforce_axis_consistency, rms
from keras_mrisr.inference.resample import resample_axis, voxels_for
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.inference.volume import surely_background
from keras_mrisr.inference.volume_result import Residual, UpscaledVolume, joined_channels, without_holes
from keras_mrisr.model_info import ThroughPlaneInfo
from keras_mrisr.models.through_plane import ACQUISITION, POSITIONS
from keras_mrisr.types import Model, PathLike, Progress
from keras_mrisr.version import __version__
from keras_mrisr.volumes import Volume, check_volume
from keras_mrisr.volumes.stored_values import like_type

log = logging.getLogger(__name__)

# Pixels of the result that go through the network together: what it holds for each is a few hundred bytes.
_PIXELS_TOGETHER = 400_000
_THICKNESS_RATIO = 3.0


class ThroughPlaneResolver:
    """Restores thick slices along their axis with a trained network.

    Args:
        network: `keras.Model` of `models.through_plane`.
        info: Its `ThroughPlaneInfo`.
        name: What messages and headers call it.
    """

    def __init__(self, network: Model, info: ThroughPlaneInfo, name: str = "the model") -> None:
        self.network = network
        self.info = info
        self.name = name

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Loads a model directory, or a bundled model by its name, such as "thick".

        Raises:
            ModelError: Nothing there, broken, or a model of another task.
        """
        from keras_mrisr.models.storage import WEIGHTS, load_description, load_network
        from keras_mrisr.pretrained import find_model

        info = load_description(path, ThroughPlaneInfo)
        network = load_network(find_model(path) / WEIGHTS)
        network.jit_compile = False
        return cls(network, info, pathlib.Path(path).resolve().name)

    def restore(self, lr: np.ndarray, lines: int, thickness: float = 1.0) -> np.ndarray:
        """Restores a batch of planes.

        Args:
            lr: float32 (N, slices, W), nominally in [0, 1]; thick slices along axis 1.
            lines: Lines of the result, which cover the same extent.
            thickness: Slice thickness over slice spacing.

        Returns:
            float32 (N, lines, W).

        Raises:
            ModelError: The network gives something that is not finite.
        """
        count, slices = lr.shape[:2]
        rows = positions(slices, lines).astype("float32")
        scan = np.array([slices / lines, thickness], "float32")
        inputs = {
            "lr": lr[..., np.newaxis],
            POSITIONS: np.tile(rows, (count, 1)),
            ACQUISITION: np.tile(scan, (count, 1)),
        }
        sr = np.asarray(self.network.predict_on_batch(inputs))[..., 0]
        if not np.isfinite(sr).all():
            raise ModelError(
                f"{self.name} gives {sr.size - int(np.isfinite(sr).sum())} NaN or infinite values: nothing "
                "is written. The model diverged: take another."
            )
        return sr


@dataclasses.dataclass(frozen=True)
class Grid:
    """The grid that a scan is brought to.

    Attributes:
        shape: Voxels along each axis.
        restored: The axes that a network makes finer, thickest slices first; the others are interpolated.
    """

    shape: tuple[int, int, int]
    restored: tuple[int, ...]


def plan_grid(volume: Volume, spacing: Sequence[float] | np.ndarray) -> Grid:
    """Which grid gives about this spacing over the same extent, and which axes the network restores.

    Args:
        volume: The scan.
        spacing: Wanted millimetres along each array axis.

    Raises:
        DataError: A factor over 8, or no axis that becomes finer by 1.2 or more.
    """
    counts, restored = [], []
    for axis in range(3):
        now, size = float(volume.spacing[axis]), volume.shape[axis]
        count = voxels_for(now * size, spacing[axis])
        factor = count / size
        if factor > FACTORS[1] + 1e-6:
            raise DataError(
                f"{volume.name}: from {now:.4g} to {spacing[axis]:.4g} mm is a factor of {factor:.3g}; at "
                f"most {FACTORS[1]:g} can be restored. Ask for a `spacing` of {now / FACTORS[1]:.3g} mm or "
                "more."
            )
        counts.append(count)
        if factor >= FACTORS[0] - 1e-6:
            restored.append(axis)
    restored.sort(key=lambda axis: -volume.spacing[axis])
    if not restored:
        wanted = " x ".join(f"{each:.4g}" for each in spacing)
        have = " x ".join(f"{each:.4g}" for each in volume.spacing)
        raise DataError(
            f"{volume.name} has voxels of {have} mm; {wanted} mm makes no axis finer by {FACTORS[0]} or "
            "more: there is nothing to restore. Ask for a finer `spacing`."
        )
    for axis in restored:
        if volume.shape[axis] < 2:
            raise DataError(
                f"{volume.name} is one slice: nothing lies between slices. Give a stack, or `in_plane`."
            )
    return Grid((counts[0], counts[1], counts[2]), tuple(restored))


def isotropic_spacing(volume: Volume) -> np.ndarray:
    """The spacing (3,) of a scan made isotropic: its finest one along all axes."""
    return np.full(3, volume.spacing.min())


def upscale_through_plane(
    volume: Volume,
    resolver: ThroughPlaneResolver,
    spacing: Sequence[float] | None = None,
    *,
    thickness: float | None = None,
    uncertainty: bool = False,
    consistency: bool = False,
    nan: str = "refuse",
    progress: Progress | None = None,
) -> UpscaledVolume:
    """Brings a scan of thick slices to a finer grid.

    The network restores one axis at a time, in both families of planes that hold it (sagittal- and
    coronal-like ones of an axial scan); the mean of both is taken. Axes that become finer by less than 1.2
    times are interpolated by cubic B-splines, and those that become coarser averaged. Intensities are
    normalised over the volume and put back. Voxels stay exactly zero where they and all their neighbours are
    zero, and a volume without negative values gets none.

    Args:
        volume: `Volume` (X, Y, Z), or (X, Y, Z, C), of which each channel is taken by itself.
        resolver: A `ThroughPlaneResolver`.
        spacing: Millimetres along each array axis; by default the finest one along all. The grid keeps the
            outer faces of the scan, so that the spacing becomes the nearest one that fits.
        thickness: Slice thickness in millimetres; by default that of the header, or else the spacing.
        uncertainty: Also give the standard deviation over both families of planes and the flips of each;
            implies their mean as the result.
        consistency: Change the result as little as possible so that its averages over a Gaussian slice
            profile are the measured slices again; for a grid that is finer along one axis and else the same.
        nan: See `upscale_volume`.
        progress: Called with the number of planes done so far and the number in all.

    Returns:
        `UpscaledVolume`.

    Raises:
        DataError: Nothing to restore, a factor over 8, a thickness unlike the spacing by more than 3 times,
            NaN, or a sheared affine.
        ModelError: The network gives something that is not finite.
    """
    check_volume(volume, nan)
    grid = plan_grid(volume, isotropic_spacing(volume) if spacing is None else spacing)
    ratio = _thickness_ratio(volume, grid.restored[0], thickness)
    if consistency and (len(grid.restored) > 1 or _others_change(volume, grid)):
        raise DataError(
            f"`consistency` is for a grid that is finer along one axis of {volume.name} and else the same."
        )
    channels = volume.array.shape[3] if volume.array.ndim == 4 else 1
    passes = 2 * (4 if uncertainty else 1)
    total = passes * channels * len(grid.restored)
    done = 0

    def step(share: float) -> None:
        if progress is not None:
            progress(round(100 * (done + share)), 100 * total)

    parts = []
    for place in range(channels):
        one = (
            volume if volume.array.ndim == 3 else dataclasses.replace(volume, array=volume.array[..., place])
        )
        parts.append(_restored(one, resolver, grid, ratio, uncertainty, consistency, step))
        done = (place + 1) * passes * len(grid.restored)
    return parts[0] if volume.array.ndim == 3 else joined_channels(parts)


def _others_change(volume: Volume, grid: Grid) -> bool:
    return any(grid.shape[axis] != volume.shape[axis] for axis in range(3) if axis not in grid.restored)


def _thickness_ratio(volume: Volume, axis: int, thickness: float | None) -> float:
    """Slice thickness over spacing, of the scan's header or as given."""
    spacing = float(volume.spacing[axis])
    known = thickness or volume.slice_thickness or spacing
    ratio = known / spacing
    if not 1 / _THICKNESS_RATIO <= ratio <= _THICKNESS_RATIO:
        raise DataError(
            f"{volume.name}: slices of {known:.4g} mm, {spacing:.4g} mm apart, differ by more than "
            f"{_THICKNESS_RATIO:g} times: give the right `slice_thickness`."
        )
    return ratio


def _restored(
    volume: Volume,
    resolver: ThroughPlaneResolver,
    grid: Grid,
    ratio: float,
    uncertainty: bool,
    consistency: bool,
    step: Callable[[float], None],
) -> UpscaledVolume:
    """The result for one channel."""
    volume, holes = without_holes(volume)
    normalizer = volume_normalizer(volume.array)
    x = normalizer.normalize(volume.array)
    deviation: np.ndarray | None = None
    base = 0.0
    for axis in range(3):  # Coarser axes first: less is left to do.
        if axis not in grid.restored:
            x = resample_axis(x, axis, grid.shape[axis])
    for number, axis in enumerate(grid.restored):
        lr, width = x, ratio if number == 0 else 1.0
        report = functools.partial(_add_to, step, base)
        x, spread = restore_axis(resolver, lr, axis, grid.shape[axis], width, uncertainty, report)
        base += 2 * (4 if uncertainty else 1)
        if deviation is not None:
            deviation = resample_axis(deviation, axis, grid.shape[axis])
        deviation = spread if deviation is None else np.hypot(deviation, spread)
    residual = None
    if consistency:
        x, residual = _consistent(x, lr, grid.restored[0], ratio, normalizer.high - normalizer.low)
    factors = [new / old for new, old in zip(grid.shape, volume.shape, strict=True)]
    values = normalizer.restore(x, "float64" if volume.array.dtype.itemsize > 4 else "float32")
    empty = _nearest(surely_background(volume.array[..., np.newaxis]), grid.shape)
    if holes is not None:
        empty |= _nearest(holes, grid.shape)
    if not consistency:
        values[empty] = 0
        if volume.array.min() >= 0:
            np.maximum(values, 0, out=values)
    text = f"keras-mrisr {__version__}: {_words(factors)} by {resolver.name}"
    result = volume.upscaled(like_type(values, volume.array.dtype), factors, text)
    uncertain = None
    if uncertainty and deviation is not None:
        deviation = deviation * np.float32(normalizer.high - normalizer.low)
        deviation[empty] = 0
        uncertain = volume.upscaled(deviation, factors, text, "standard deviation")
    relative = None if residual is None else residual.to_dict()["relative_written"]
    return UpscaledVolume(result, uncertain, residual, Verdict("", (), relative, None))


def _add_to(step: Callable[[float], None], base: float, share: float) -> None:
    step(base + share)


def _words(factors: Sequence[float]) -> str:
    return "x".join(f"{factor:.4g}" for factor in factors) + " through-plane super-resolution"


def _nearest(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask (X, Y, Z) on another grid over the same extent: that of the voxel in which each centre lies."""
    places = [
        np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(int), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    ]
    return mask[np.ix_(*places)]


def _consistent(
    x: np.ndarray, lr: np.ndarray, axis: int, ratio: float, unit: float
) -> tuple[np.ndarray, Residual]:
    factor = x.shape[axis] / lr.shape[axis]
    profile = ThickSlices(min(max(factor, FACTORS[0]), FACTORS[1]), ratio)
    matrix = profile.matrix(x.shape[axis])
    fixed, before, after = enforce_axis_consistency(x, lr, matrix, axis)
    return fixed, Residual(before * unit, after * unit, after * unit, rms(lr) * unit)


def restore_axis(
    resolver: ThroughPlaneResolver,
    volume: np.ndarray,
    axis: int,
    lines: int,
    thickness: float = 1.0,
    uncertainty: bool = False,
    report: Callable[[float], Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Restores one axis of a volume in both families of planes.

    Args:
        resolver: A `ThroughPlaneResolver`.
        volume: float32 (X, Y, Z), nominally in [0, 1].
        axis: The axis across the thick slices.
        lines: Its new number of voxels.
        thickness: Slice thickness over slice spacing.
        uncertainty: Average over flips, too.
        report: Called with the passes over the volume that are done, such as 0.25.

    Returns:
        (mean, deviation): float32 arrays with `lines` along `axis`: the mean over both families (and their
        flips), and the standard deviation over them.
    """
    shape = tuple(lines if place == axis else size for place, size in enumerate(volume.shape))
    total, squares = np.zeros(shape, "float32"), np.zeros(shape, "float32")
    flips = [(False, False), (True, False), (False, True), (True, True)] if uncertainty else [(False, False)]
    passes = 0
    for family in (other for other in range(3) if other != axis):
        along = 3 - axis - family
        # Views: planes first, then the thick axis, then the columns.
        planes = np.transpose(volume, (family, axis, along))
        sums, square = (np.transpose(array, (family, axis, along)) for array in (total, squares))
        together = max(1, _PIXELS_TOGETHER // (lines * planes.shape[2]))
        for across, sideways in flips:
            order = (
                slice(None),
                slice(None, None, -1 if across else 1),
                slice(None, None, -1 if sideways else 1),
            )
            for first in range(0, len(planes), together):
                some = planes[first : first + together]
                flat = [i for i, one in enumerate(some) if one.min() == one.max()]
                sr = np.empty((len(some), *sums.shape[1:]), "float32")
                sr[flat] = some[flat][:, :1, :1]
                rest = [i for i in range(len(some)) if i not in set(flat)]
                if rest:
                    lr = np.ascontiguousarray(some[rest][order])
                    sr[rest] = resolver.restore(lr, lines, thickness)[order]
                sums[first : first + together] += sr
                square[first : first + together] += sr * sr
                if report is not None:
                    report(passes + (first + len(some)) / len(planes))
            passes += 1
    total /= passes
    squares = np.sqrt(np.maximum(squares / passes - total * total, 0))
    return total, squares
