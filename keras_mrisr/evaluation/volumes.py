"""Volumes in an evaluation of slices: NIfTI files as stacks of them, and models that upscale whole stacks."""

import dataclasses
import functools
from collections.abc import Hashable
from importlib import metadata
from typing import Any

import numpy as np

from keras_mrisr.checks import known
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.data.slices import SliceDataset, SliceRecord, SlicesOfVolumes
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.methods import Model, SliceMethod, Trained, Upscaler
from keras_mrisr.evaluation.slices import SliceReader
from keras_mrisr.types import Model as KerasModel, PathLike
from keras_mrisr.volumes.stored_values import rounded

# Order of scipy.ndimage's splines.
INTERPOLATIONS = {"nearest": 0, "linear": 1, "cubic": 3}


def make_model(
    name: str,
    model: Trained | PathLike | KerasModel | Upscaler,
    ensemble: bool = False,
    consistency: bool = False,
) -> Model:
    """The `Model` or `StackModel` of what `Trained.load` takes; arguments as for `Model`."""
    trained = model if isinstance(model, Trained) else Trained.load(model)
    kind = StackModel if trained.upscaler.info.dimensions == 3 else Model
    return kind(name, trained, ensemble, consistency)


def read_8bit(volumes: SlicesOfVolumes, record: SliceRecord) -> np.ndarray:
    """A slice of a volume, uint8 (H, W, C), by the robust range of its volume (see `data.normalize`)."""
    return rounded(volumes.normalizer(record).normalize(volumes.read(record)) * 255, np.uint8)


class StackReader(SliceReader):
    """Reads stacks of slices as 8-bit volumes and degrades each as a whole.

    Args:
        dataset: The `SliceDataset`; slices of one stack follow each other.
        degradation: A `Degradation` of volumes.
        **options: Those of `SliceReader`.

    Attributes:
        dataset: The slices that are left when each stack is cut to a multiple of the last factor.
        left_out: How many are not.
    """

    def __init__(
        self, dataset: SliceDataset, degradation: Degradation, *channels: Any, **options: Any
    ) -> None:
        if options.get("noise_snr") is not None:
            raise ConfigError("Noise at a given SNR is for models of slices: leave out `noise_snr`.")
        super().__init__(dataset, degradation, *channels, **options)
        factor = degradation.factors[2]
        self._stacks = {
            key: stack[: len(stack) // factor * factor]
            for key, stack in self._stacks.items()
            if len(stack) >= factor
        }
        kept = {record.path for stack in self._stacks.values() for record in stack}
        if not kept:
            raise DataError(f"{dataset.root} holds no stack of {factor} slices: nothing can be made thinner.")
        self.left_out = len(dataset.slices) - len(kept)
        self.dataset = dataclasses.replace(dataset, slices=tuple(r for r in dataset.slices if r.path in kept))
        self._volumes = functools.lru_cache(maxsize=1)(self._degraded)

    def lr(self, record: SliceRecord, neighbours: int = 0) -> np.ndarray:
        """The LR slice that the slice lies in, uint8 (h, w, C)."""
        return self.lr_volume(record)[:, :, self._places[record.path] // self.degradation.factors[2]]

    def lr_volume(self, record: SliceRecord) -> np.ndarray:
        """The stack of the slice, degraded: uint8 (X, Y, Z, C)."""
        return self._volumes(self.stack(record))

    def place(self, record: SliceRecord) -> int:
        """The number of the slice in its stack."""
        return self._places[record.path]

    def _degraded(self, key: Hashable) -> np.ndarray:
        slices = [self.hr(record) for record in self._stacks[key]]
        if any(hr.shape != slices[0].shape for hr in slices):
            raise DataError(
                f"{self._stacks[key][0].path.parent} holds slices of several sizes: a stack must be of one."
            )
        return self.degradation.degrade(np.stack(slices, axis=2))

    def _degrade(self, hr: np.ndarray, record: SliceRecord, original: np.ndarray) -> None:
        return None  # With the whole stack, in `lr_volume`.


class StackMethod(SliceMethod):
    """Gives slices out of an upscaled stack, which is kept until a slice of another one is asked for.

    `upscale` takes uint8 (X, Y, Z, C) to (X * fx, Y * fy, Z * fz, C).
    """

    _key: Hashable = None
    _upscaled: np.ndarray

    def __call__(self, record: SliceRecord, reader: Any) -> np.ndarray:
        """The upscaled slice, uint8 (H, W, C)."""
        key = reader.stack(record)
        if self._key is None or self._key != key:
            self._key, self._upscaled = key, self.upscale(reader.lr_volume(record))
        return self._upscaled[:, :, reader.place(record)]


class StackInterpolator(StackMethod):
    """Upscales LR stacks by splines along each axis (scipy.ndimage.zoom); outer edges of the grids agree."""

    def __init__(self, name: str, factors: tuple[int, ...]) -> None:
        known("interpolation of volumes", name, INTERPOLATIONS)
        self.name, self.factors, self.source = name, factors, f"scipy {metadata.version('scipy')}"

    def upscale(self, lr: np.ndarray) -> np.ndarray:
        from scipy import ndimage

        channels = [
            ndimage.zoom(
                lr[..., channel].astype("float32"), self.factors, order=INTERPOLATIONS[self.name],
                mode="nearest", grid_mode=True,
            )
            for channel in range(lr.shape[-1])
        ]  # fmt: skip
        return rounded(np.stack(channels, axis=-1), np.uint8)


class StackModel(StackMethod, Model):
    """Upscales LR stacks by a generator of volumes; arguments as for `Model`."""

    dimensions = 3

    def upscale(self, lr: np.ndarray) -> np.ndarray:
        normalizer = normalizer_for(lr)
        one = self.model.predict(normalizer.normalize(lr)[np.newaxis], **self.options)
        return normalizer.restore(one.sr[0], lr.dtype)
