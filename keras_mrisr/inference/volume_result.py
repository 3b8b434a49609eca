"""What becomes of a volume in super-resolution."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.errors import DataError
from keras_mrisr.inference.consistency import consistency_residual, rms, rms_of_columns
from keras_mrisr.inference.super_resolver import SuperResolver
from keras_mrisr.inference.upscaled_image import upscaled_mask
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.memory import available_memory, memory_text, resident_memory
from keras_mrisr.version import __version__
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.stored_values import deviation_type, in_units, like_type


@dataclasses.dataclass(frozen=True)
class Residual:
    """How far the result, degraded again, is from what was measured: root mean squares over the volume.

    Attributes:
        before: Of the network's own result, in the units of the volume.
        after: Of the consistent one.
        written: Of what the volume holds: the consistent one, rounded where its type is an integer.
        level: Root mean square of the measured volume itself, to compare with.
    """

    before: float
    after: float
    written: float
    level: float

    def to_dict(self) -> dict[str, float]:
        """All values, and those of the residuals as a share of the level."""
        residuals = {name: getattr(self, name) for name in ("before", "after", "written")}
        relative = {f"relative_{name}": value / self.level for name, value in residuals.items()}
        return {**residuals, "level": self.level, **relative}


@dataclasses.dataclass(frozen=True)
class UpscaledVolume:
    """The result of `upscale_volume`.

    Attributes:
        volume: The super-resolved volume.
        uncertainty: Standard deviation over flips and turns in the volume's units, on the same grid; or None.
        residual: `Residual` if the result was made consistent, or None.
        verdict: What is known of how far it can be relied on.
    """

    volume: Volume
    uncertainty: Volume | None = None
    residual: Residual | None = None
    verdict: Verdict = dataclasses.field(default_factory=Verdict)


def without_holes(volume: Volume) -> tuple[Volume, np.ndarray | None]:
    """The volume with zero in place of NaN and infinity, and a mask (X, Y, Z) of these, or None."""
    finite = np.isfinite(volume.array)
    if finite.all():
        return volume, None
    filled = dataclasses.replace(volume, array=np.where(finite, volume.array, 0).astype(volume.array.dtype))
    return filled, ~(finite if finite.ndim == 3 else finite.all(axis=-1))


def joined_channels(parts: Sequence[UpscaledVolume]) -> UpscaledVolume:
    """One `UpscaledVolume` of those of single channels, in their order."""

    def join(volumes: Sequence[Volume]) -> Volume:
        return dataclasses.replace(volumes[0], array=np.stack([one.array for one in volumes], axis=-1))

    residual = None
    values = [dataclasses.astuple(part.residual) for part in parts if part.residual is not None]
    if values:
        residual = Residual(*rms_of_columns(values))
    deviations = [part.uncertainty for part in parts if part.uncertainty is not None]
    return UpscaledVolume(
        join([part.volume for part in parts]),
        join(deviations) if deviations else None,
        residual,
        Verdict.joined([part.verdict for part in parts]),
    )


def stacked(array: np.ndarray, axis: int) -> np.ndarray:
    """A view (A, B, S, C) of a volume's array, with the slices along S."""
    return np.moveaxis(array if array.ndim == 4 else array[..., np.newaxis], axis, 2)


def check_room(name: str, needed: int, memory: int | None) -> None:
    """Raises DataError unless so many bytes can still be taken, within `memory` in all."""
    if memory is None and needed > available_memory():
        raise DataError(
            f"The result of {name} takes {memory_text(needed)}, but only {memory_text(available_memory())} "
            "of memory are free. Close other programs, or take a larger machine."
        )
    taken = resident_memory()
    if memory is not None and needed > memory - taken:
        raise DataError(
            f"{memory_text(memory)} of memory are too little: this program takes {memory_text(taken)}, the "
            f"result of {name} {memory_text(needed)}. Give `memory` more than {memory_text(taken + needed)}."
        )


def array_factors(resolver: SuperResolver, axis: int) -> list[int]:
    """By how much a model upscales each axis of an array whose slices are stacked along `axis`."""
    *in_plane, across = [*resolver.factors, 1][:3]  # The factor across the slices stands last in a model.
    return np.insert(in_plane, axis, across).tolist()


class GrowingResult:
    """The arrays of a result that fill up slice by slice, in the volume's own units and orientation.

    Args:
        volume: The LR `Volume`.
        resolver: The `SuperResolver`.
        axis: Along which axis of the volume its slices are stacked.
        uncertainty: Whether there are standard deviations, too.
        consistency: Whether it is made consistent. Otherwise exact zeros stay zeros, and a volume without
            negative values gets none.
        holes: Mask (X, Y, Z) of what stays zero in any case, or None.
    """

    def __init__(
        self,
        volume: Volume,
        resolver: SuperResolver,
        axis: int,
        uncertainty: bool,
        consistency: bool,
        holes: np.ndarray | None = None,
    ) -> None:
        self.volume = volume
        self.resolver = resolver
        self.axis = axis
        self.uncertainty = uncertainty
        self.consistency = consistency
        self.normalizer = volume_normalizer(volume.array)
        self._magnitude = volume.array.min() >= 0
        self.factors = array_factors(resolver, axis)
        self.holes = None if holes is None else np.moveaxis(holes, axis, 2)
        self.mismatches: tuple[float, ...] = ()
        self.degraded_by: tuple[str, ...] = ()
        self._residuals: list[tuple[float, float, float, float]] = []
        self._deviations: dict[int, float] = {}

    def allocate(self, memory: int | None = None) -> None:
        """Takes the memory of the arrays, so that tiles are planned for what is left of `memory`.

        Raises:
            DataError: It is too little.
        """
        sizes = [size * factor for size, factor in zip(self.volume.shape, self.factors, strict=True)]
        shape = (*sizes, *self.volume.array.shape[3:])
        needed = math.prod(shape) * (self.volume.array.itemsize + 4 * self.uncertainty)
        check_room(self.volume.name, needed, memory)
        self.array = np.empty(shape, self.volume.array.dtype)
        self.array.fill(0)  # Unlike numpy.zeros, this takes the memory now.
        if self.uncertainty:
            unit = self.normalizer.high - self.normalizer.low
            self.deviation = np.empty(shape, deviation_type(unit))
            self.deviation.fill(0)

    def put(
        self,
        place: int,
        sr: np.ndarray,
        lr: np.ndarray,
        background: np.ndarray,
        deviation: np.ndarray | None = None,
    ) -> np.ndarray:
        """Takes an SR slice.

        Args:
            place: Its place in the stack.
            sr: Array (H, W, C), normalised.
            lr: Array (h, w, C): the slice that was measured there, in the units of the volume.
            background: Mask (h, w) of what stays zero.
            deviation: The standard deviation of `sr`, or None.

        Returns:
            The slice as it is kept, in the units and type of the volume.
        """
        in_plane = self.resolver.factors[:2]
        beyond = self.normalizer.beyond(lr)
        beyond = None if beyond is None else upscaled_mask(beyond, in_plane)
        values = self.normalizer.restore(sr, "float64", beyond)
        empty = np.zeros_like(background) if self.consistency else background
        if self.holes is not None:
            across = self.array.shape[self.axis] // self.volume.shape[self.axis]
            empty = empty | self.holes[:, :, place // across]
        empty = upscaled_mask(empty, in_plane)
        values[empty] = 0
        if self._magnitude and not self.consistency:
            values = np.maximum(values, 0)
        if deviation is not None:
            deviation = in_units(deviation, self.normalizer.high - self.normalizer.low)
            deviation[empty] = 0
            stacked(self.deviation, self.axis)[:, :, place] = deviation
            inside = deviation[~empty]
            self._deviations[place] = float(inside.mean(dtype="float64")) if inside.size else 0.0
        kept = like_type(values, self.array.dtype)
        if kept.dtype != self.array.dtype:  # The bright end needs a wider type.
            self.array = self.array.astype(kept.dtype)
        stacked(self.array, self.axis)[:, :, place] = kept
        return kept

    def put_blank(self, place: int, value: float) -> None:
        """Fills a slice that has one value, and so has nothing to upscale."""
        stacked(self.array, self.axis)[:, :, place] = value
        self._residuals.append((0.0, 0.0, 0.0, abs(float(self.normalizer.normalize(np.asarray(value))))))

    def note_degradation(self, names: tuple[str, ...]) -> None:
        """Collects how slices were taken to be degraded."""
        self.degraded_by = tuple(dict.fromkeys((*self.degraded_by, *names)))

    def note_residual(self, lr: np.ndarray, written: np.ndarray, residual: tuple[float, float]) -> None:
        """Adds the residual of a slice, (before, after); see `Residual`."""
        lr, written = self.normalizer.normalize(lr), self.normalizer.normalize(written)
        kept = consistency_residual(written, lr, self.resolver.degradation)
        self._residuals.append((*residual, kept, rms(lr)))

    def finish(self) -> UpscaledVolume:
        """What came out."""
        info, name = self.resolver.info, self.resolver.name
        text = f"keras-mrisr {__version__}: x{info.scale_text} super-resolution by {name}"
        volume = self.volume.upscaled(self.array, self.factors, text)
        unit = self.normalizer.high - self.normalizer.low
        uncertainty = residual = uncertain = None
        if self.uncertainty:
            uncertainty = self.volume.upscaled(self.deviation, self.factors, text, "standard deviation")
        if self._deviations:
            place = max(self._deviations, key=self._deviations.__getitem__)
            share = 100 * self._deviations[place] / unit
            uncertain = f"in slice {place} of the result ({share:.2g} % of the range of values on average)"
        if self.consistency:
            residual = Residual(*(unit * one for one in rms_of_columns(self._residuals)))
        relative = None if residual is None else residual.to_dict()["relative_written"]
        verdict = Verdict(None, self.mismatches, relative, uncertain, self.degraded_by)
        return UpscaledVolume(volume, uncertainty, residual, verdict)
