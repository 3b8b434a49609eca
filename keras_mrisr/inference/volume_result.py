"""What becomes of a volume in super-resolution."""

import dataclasses
import math

import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.errors import DataError
from keras_mrisr.inference.consistency import consistency_residual
from keras_mrisr.memory import available_memory, memory_text, resident_memory
from keras_mrisr.version import __version__
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.stored_values import like_type


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

    def to_dict(self):
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
    """

    volume: Volume
    uncertainty: Volume | None = None
    residual: Residual | None = None


def joined_channels(parts):
    """One `UpscaledVolume` of those of single channels, in their order."""

    def join(volumes):
        return dataclasses.replace(volumes[0], array=np.stack([one.array for one in volumes], axis=-1))

    first, residual = parts[0], None
    if first.residual is not None:
        values = [dataclasses.astuple(part.residual) for part in parts]
        residual = Residual(*np.sqrt(np.mean(np.square(values), axis=0)).tolist())
    uncertainty = None if first.uncertainty is None else join([part.uncertainty for part in parts])
    return UpscaledVolume(join([part.volume for part in parts]), uncertainty, residual)


def stacked(array, axis):
    """A view (A, B, S, C) of a volume's array, with the slices along S."""
    return np.moveaxis(array if array.ndim == 4 else array[..., np.newaxis], axis, 2)


def _check_room(name, needed, memory):
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
            f"result of {name} {memory_text(needed)}. Give --memory more than {memory_text(taken + needed)}."
        )


def array_factors(resolver, axis):
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
    """

    def __init__(self, volume, resolver, axis, uncertainty, consistency):
        self.volume = volume
        self.resolver = resolver
        self.axis = axis
        self.uncertainty = uncertainty
        self.consistency = consistency
        self.normalizer = volume_normalizer(volume.array)
        self._magnitude = volume.array.min() >= 0
        self.factors = array_factors(resolver, axis)
        self.array = self.deviation = None
        self._residuals = []

    def allocate(self, memory=None):
        """Takes the memory of the arrays, so that tiles are planned for what is left of `memory`.

        Raises:
            DataError: It is too little.
        """
        sizes = [size * factor for size, factor in zip(self.volume.shape, self.factors, strict=True)]
        shape = (*sizes, *self.volume.array.shape[3:])
        needed = math.prod(shape) * (self.volume.array.itemsize + 4 * self.uncertainty)
        _check_room(self.volume.name, needed, memory)
        self.array = np.empty(shape, self.volume.array.dtype)
        self.array.fill(0)  # Unlike numpy.zeros, this takes the memory now.
        if self.uncertainty:
            self.deviation = np.empty(shape, "float32")
            self.deviation.fill(0)

    def put(self, place, sr, deviation=None, background=None):
        """Takes an SR slice.

        Args:
            place: Its place in the stack.
            sr: Array (H, W, C), normalised.
            deviation: Its standard deviation, or None.
            background: Mask (H, W) of what stays zero.

        Returns:
            The slice as it is kept, in the units and type of the volume.
        """
        values = self.normalizer.restore(sr, "float64")
        if not self.consistency:
            values[background] = 0
            if self._magnitude:
                values = np.maximum(values, 0)
        if deviation is not None:
            unit = np.float32(self.normalizer.high - self.normalizer.low)
            deviation = deviation * unit
            if not self.consistency:
                deviation[background] = 0
            stacked(self.deviation, self.axis)[:, :, place] = deviation
        kept = like_type(values, self.array.dtype)
        if kept.dtype != self.array.dtype:  # The bright end needs a wider integer.
            self.array = self.array.astype(kept.dtype)
        stacked(self.array, self.axis)[:, :, place] = kept
        return kept

    def put_blank(self, place, value):
        """Fills a slice that has one value, and so has nothing to upscale."""
        stacked(self.array, self.axis)[:, :, place] = value
        self._residuals.append((0.0, 0.0, 0.0, abs(float(self.normalizer.normalize(value)))))

    def note_residual(self, lr, written, residual):
        """Adds the residual of a slice, (before, after); see `Residual`."""
        lr, written = self.normalizer.normalize(lr), self.normalizer.normalize(written)
        kept = consistency_residual(written, lr, self.resolver.degradation)
        self._residuals.append((*residual, kept, float(np.sqrt(np.mean(np.square(lr))))))

    def finish(self):
        """The `UpscaledVolume`."""
        info, name = self.resolver.info, self.resolver.name
        text = f"keras-mrisr {__version__}: x{info.scale_text} super-resolution by {name}"
        volume = self.volume.upscaled(self.array, self.factors, text)
        uncertainty = residual = None
        if self.uncertainty:
            uncertainty = self.volume.upscaled(self.deviation, self.factors, text, "standard deviation")
        if self.consistency:
            unit = self.normalizer.high - self.normalizer.low
            residual = Residual(*(np.sqrt(np.mean(np.square(self._residuals), axis=0)) * unit).tolist())
        return UpscaledVolume(volume, uncertainty, residual)
