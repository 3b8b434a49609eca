"""Super-resolution of volumes: the geometry follows, intensities and background stay the scanner's."""

import dataclasses
import logging
import math
from typing import Any

import numpy as np

from keras_mrisr.data.neighbours import stack_around
from keras_mrisr.data.slices import evenly_spaced
from keras_mrisr.errors import DataError
from keras_mrisr.inference.air import air_level
from keras_mrisr.inference.degradation_estimate import AUTO, UNKNOWN, words
from keras_mrisr.inference.ensemble import COUNT
from keras_mrisr.inference.input_range import outside_of, warn_outside
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.volume_result import (
    GrowingResult,
    UpscaledVolume,
    joined_channels,
    stacked,
    without_holes,
)
from keras_mrisr.memory import parse_memory
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import Volume, check_volume
from keras_mrisr.volumes.geometry import plane_axis, plane_of, slice_axis

_SLICES_FOR_AIR = 16
_SLICES_TO_TELL = 4  # How a volume was degraded.
log = logging.getLogger(__name__)


def upscale_volume(
    volume: Volume,
    model: SuperResolver | PathLike,
    plane: str | None = None,
    *,
    ensemble: bool = False,
    uncertainty: bool = False,
    consistency: bool = False,
    memory: int | str | None = None,
    progress: Progress | None = None,
    nan: str = "refuse",
) -> UpscaledVolume:
    """Upscales a volume, slice by slice or, with a model for volumes, as a whole.

    Intensities are normalised over the volume by robust percentiles (see `data.normalize`) and put back,
    with nothing clipped at the bright end; a volume without negative values gets none. Background stays
    exactly zero wherever a voxel and all its neighbours (in the slice, or in 3-D) are zero; at the edge of
    it the network decides, as with any other edge. Slices of one value stay as they are. Air around a head,
    where there is nothing but noise, is interpolated (see `inference.air`), which saves time. With
    `consistency` both rules give way, because they would change what was measured. A model for any
    degradation tells from four slices how all were degraded (see `SuperResolver.degraded_by`).

    Args:
        volume: `Volume` of shape (X, Y, Z), for a model of 1 channel, or (X, Y, Z, C) for one of C. A model
            for grey images of any contrast takes the channels of any volume one by one, each with its
            own normalisation.
        model: A `SuperResolver`, or the path of a model directory.
        plane: "axial", "coronal" or "sagittal": in which plane the slices lie; by default across the
            axis of the largest spacing (see `data.geometry.slice_axis`). A model for slices upscales
            these in their plane; the last axis of a model for volumes lies across them.
        ensemble: Average the results for the 8 flips and quarter turns of the slices.
        uncertainty: Also give the standard deviation of these; implies `ensemble`.
        consistency: Change the result as little as possible so that the model's degradation takes it back
            to `volume`.
        memory: Bytes that this process may come to occupy in all, or text such as "2GB"; by default the
            resolver's.
        progress: Called with the number of tiles (of all slices) done so far and the number in all.
        nan: "zero" takes NaN and infinite voxels for background: they are zero in the input and stay zero in
            the result, also with `consistency`. "refuse" raises DataError.

    Returns:
        `UpscaledVolume`. Its volumes cover the same extent in the world.

    Raises:
        DataError: No `Volume`, nothing to upscale, NaN, a sheared affine (see `volumes.check_volume`),
            a model of another number of channels, or too little memory.
        ModelError: The network gives something that is not finite.
    """
    if not isinstance(volume, Volume):
        raise DataError(
            f"upscale_volume takes a Volume, such as read_volume gives. Received: {type(volume).__name__}"
        )
    resolver = model if isinstance(model, SuperResolver) else SuperResolver.load(model)
    check_model(volume, resolver)
    check_volume(volume, nan)
    axis = stacking_axis(volume, plane)
    if plane is None:
        spacing = " x ".join(f"{each:.3g}" for each in volume.spacing)
        log.info("%s: voxels of %s mm; slices are %s", volume.name, spacing, plane_of(volume.affine, axis))
    lr = stacked(volume.array, axis)
    outside = outside_of(resolver.info, lr.shape[:2], np.delete(volume.spacing, axis).tolist())
    warn_outside(volume.name, outside)
    consistency = consistency or resolver.info.consistent
    if consistency:  # Refused now, if at all, and not after the work.
        resolver.degradation.axis_matrix(lr.shape[0] * resolver.scale)
    memory = parse_memory(memory) if isinstance(memory, str) else memory
    memory = resolver.memory if memory is None else memory
    ways = _Ways(axis, ensemble, uncertainty, consistency, memory, progress)
    if resolver.separates(_channels(volume)):
        upscaled = joined_channels(_each_channel(volume, resolver, ways))
    else:
        upscaled = _upscale(volume, resolver, ways)
    return dataclasses.replace(upscaled, verdict=dataclasses.replace(upscaled.verdict, outside=outside))


@dataclasses.dataclass(frozen=True)
class _Ways:
    """How a volume is upscaled; see `upscale_volume`."""

    axis: int
    ensemble: bool
    uncertainty: bool
    consistency: bool
    memory: int | None
    progress: Progress | None


def _upscale(volume: Volume, resolver: SuperResolver, ways: _Ways) -> UpscaledVolume:
    volume, holes = without_holes(volume)
    lr = stacked(volume.array, ways.axis)
    result = GrowingResult(volume, resolver, ways.axis, ways.uncertainty, ways.consistency, holes)
    result.allocate(ways.memory)
    sizes = lr.shape[: resolver.info.dimensions]
    most_pixels = resolver.most_pixels(sizes, ways.memory)
    tiles = resolver.count_tiles(sizes, most_pixels)
    steps = _Steps(ways.progress, tiles, ways.ensemble or ways.uncertainty)
    options = {
        "ensemble": ways.ensemble,
        "uncertainty": ways.uncertainty,
        "consistency": ways.consistency,
        "most_pixels": most_pixels,
        "step": steps.step,
    }
    upscale = _upscale_whole if resolver.info.dimensions == 3 else _upscale_slices
    upscale(lr, resolver, result, steps, options)
    return result.finish()


def _each_channel(volume: Volume, resolver: SuperResolver, ways: _Ways) -> list[UpscaledVolume]:
    """The results of the channels, one by one."""
    count = _channels(volume)
    parts = []
    for place in range(count):
        channel = dataclasses.replace(volume, array=volume.array[..., place])
        progress = None if ways.progress is None else _part_of(ways.progress, place, count)
        parts.append(_upscale(channel, resolver, dataclasses.replace(ways, progress=progress)))
    return parts


def _part_of(progress: Progress, place: int, count: int) -> Progress:
    """The progress of one of `count` equal parts."""
    return lambda done, total: progress(place * total + done, count * total)


def check_model(volume: Volume, resolver: SuperResolver) -> None:
    """Raises DataError unless the model is for volumes of so many channels."""
    channels = _channels(volume)
    if channels != resolver.channels and not resolver.separates(channels):
        raise DataError(
            f"{volume.name} has {channels} channel(s), but {resolver.name} is for images of "
            f'{resolver.channels}: use a model with "channels": {channels} in its model.json.'
        )


def _channels(volume: Volume) -> int:
    return volume.array.shape[3] if volume.array.ndim == 4 else 1


def stacking_axis(volume: Volume, plane: str | None) -> int:
    """The axis of a volume along which its slices are stacked; `plane` as in `upscale_volume`."""
    return slice_axis(volume) if plane is None else plane_axis(volume.affine, plane)


def _upscale_slices(
    lr: np.ndarray,
    resolver: SuperResolver,
    result: GrowingResult,
    steps: "_Steps",
    options: dict[str, Any],
) -> None:
    slices = np.moveaxis(lr, 2, 0)
    blank = [one.min() == one.max() for one in slices]
    for place in np.flatnonzero(blank).tolist():
        result.put_blank(place, slices[place].flat[0])
    places = np.flatnonzero(np.logical_not(blank)).tolist()
    consistency = options["consistency"]  # Gives one residual for all slices that go together.
    together = 1 if consistency else max(1, resolver.pixels_together // math.prod(lr.shape[:2]))
    steps.start(len(places))
    air = _air_level(slices, places, resolver, result)
    if resolver.info.estimate and not consistency:
        told = _told_degradation(slices, places, resolver, result, options["most_pixels"])
        options = {**options, "degraded_by": told}
    for first in range(0, len(places), together):
        group = places[first : first + together]
        stacks = [stack_around(slices, place, resolver.info.neighbours) for place in group]
        lr_stacks = result.normalizer.normalize(np.stack(stacks))
        one = resolver.predict(lr_stacks, **options, numbers=group, air=air)
        result.mismatches += one.mismatches
        result.note_degradation(one.degraded_by)
        for i, place in enumerate(group):
            deviation = None if one.deviation is None else one.deviation[i]
            plane = slices[place]
            written = result.put(place, one.sr[i], plane, surely_background(plane), deviation)
            if one.residual is not None:
                result.note_residual(plane, written, one.residual)


def _air_level(
    slices: np.ndarray, places: list[int], resolver: SuperResolver, result: GrowingResult
) -> float | None:
    """What is air in a volume, looked up in some of its slices; None where the network must see it all."""
    if not places or not resolver.may_skip_air:
        return None
    chosen = [places[i] for i in evenly_spaced(len(places), _SLICES_FOR_AIR)]
    return air_level(result.normalizer.normalize(slices[chosen]))


def _told_degradation(
    slices: np.ndarray,
    places: list[int],
    resolver: SuperResolver,
    result: GrowingResult,
    most_pixels: float,
) -> str:
    """How all slices were degraded, told by some in the middle, so that all are treated alike."""
    if resolver.degraded_by != AUTO or not places:
        return resolver.degraded_by
    middle = places[len(places) // 4 : len(places) - len(places) // 4] or places
    chosen = [middle[i] for i in evenly_spaced(len(middle), _SLICES_TO_TELL)]
    lr = result.normalizer.normalize(slices[chosen])
    parts = [resolver.predict(one[np.newaxis], most_pixels=most_pixels, degraded_by=UNKNOWN).sr for one in lr]
    told = resolver.tell_degradation(np.concatenate(parts), lr)
    what = "how it was degraded can't be told" if told == UNKNOWN else f"taken as degraded by {words(told)}"
    log.info("%s: %s", result.volume.name, what)
    return told


def _upscale_whole(
    lr: np.ndarray,
    resolver: SuperResolver,
    result: GrowingResult,
    steps: "_Steps",
    options: dict[str, Any],
) -> None:
    steps.start(1)
    one = resolver.predict(result.normalizer.normalize(lr)[np.newaxis], **options)
    background = surely_background(lr)
    for place in range(one.sr.shape[3]):
        deviation = None if one.deviation is None else one.deviation[0, :, :, place]
        measured = place // resolver.factors[2]
        result.put(place, one.sr[0, :, :, place], lr[:, :, measured], background[:, :, measured], deviation)


def surely_background(lr: np.ndarray) -> np.ndarray:
    """Where a voxel and all that touch it are zero in all channels: (..., C) to (...), of any rank.

    What lies beyond the border counts as background.
    """
    zero = np.pad((lr == 0).all(axis=-1), 1, constant_values=True)
    for axis in range(zero.ndim):
        count = zero.shape[axis] - 2
        before, here, after = (
            zero[(slice(None),) * axis + (slice(shift, shift + count),)] for shift in range(3)
        )
        zero = before & here & after
    return zero


class _Steps:
    """Counts the tiles of all slices and passes for a progress callback."""

    def __init__(self, progress: Progress | None, tiles: int, ensemble: bool) -> None:
        self.progress = progress
        self.each = tiles * (COUNT if ensemble else 1)
        self.done = self.total = 0

    def start(self, slices: int) -> None:
        self.total = self.each * slices

    def step(self, tiles: int) -> None:
        self.done += tiles
        if self.progress is not None:
            self.progress(self.done, self.total)
