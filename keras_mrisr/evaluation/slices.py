"""The slices of an evaluation: originals, what they are degraded to, and masks."""

import collections
import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data import normalizer_for, read_image
from keras_mrisr.data.masks import read_mask
from keras_mrisr.data.neighbours import window
from keras_mrisr.data.slices import SliceDataset, SliceRecord, evenly_spaced
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.evaluation.scores import TISSUE, TUMOUR, WHOLE
from keras_mrisr.volumes.stored_values import rounded

SMALLEST = 11
"""The window of SSIM."""


@dataclasses.dataclass(frozen=True, eq=False)
class SliceImages:
    """One slice with what every method made of it.

    Attributes:
        record: The `SliceRecord`.
        hr: The original, uint8 (H, W, C).
        lr: What it was degraded to, uint8 (h, w, C).
        images: Method -> its image, uint8 (H, W, C).
        masks: Region -> bool (H, W), or None for the whole slice. Without a tumour there is no such region.
        groups: Name of a channel set -> slice of the channel axis.
    """

    record: SliceRecord
    hr: np.ndarray
    lr: np.ndarray
    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray | None]
    groups: dict[str, slice]


class SliceReader:
    """Reads slices as 8-bit images and degrades them.

    Args:
        dataset: The `SliceDataset`; neighbours of a slice are looked up in it.
        degradation: A `Degradation`.
        channels: Number of channels that every slice must have; None for whatever the first one has.
        taker: Who asks for them, for the message.
        noise_snr: Signal-to-noise ratio of Rician noise on LR (see `degrade.noise`), the same for a slice
            in every evaluation; None for none.
        read: Maps a record to its slice (H, W, C), in the file's type.
        stack: Maps a record to what its neighbours share with it.

    Attributes:
        dataset: The slices that can be asked for.
        cropped: Paths of slices that were cut to a multiple of the scale.
        converted: Paths of slices that were not 8 bit.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        degradation: Degradation,
        channels: int | None = None,
        taker: str = "the first slice",
        *,
        noise_snr: float | None = None,
        read: Callable[[SliceRecord], np.ndarray] | None = None,
        stack: Callable[[SliceRecord], Hashable] = lambda record: record.patient,
    ) -> None:
        self.dataset = dataset
        self.degradation = degradation
        self.stack = stack
        self._open = read or (lambda record: read_image(record.path))
        self._factor = degradation.factors[0]
        self._channels, self._taker = channels, taker
        self._noise_snr = noise_snr
        self.cropped: set[pathlib.Path] = set()
        self.converted: set[pathlib.Path] = set()
        stacks = collections.defaultdict(list)
        for record in dataset.slices:
            stacks[stack(record)].append(record)
        self._stacks = {key: sorted(each, key=lambda one: one.index) for key, each in stacks.items()}
        self._places = {r.path: place for stack in self._stacks.values() for place, r in enumerate(stack)}
        # A slice is asked for by its score, by its neighbours, and by every method.
        self._read = functools.lru_cache(maxsize=16)(self._read_all)

    def original(self, record: SliceRecord) -> np.ndarray:
        """The slice as it is in the file."""
        return self._read(record)[0]

    def hr(self, record: SliceRecord) -> np.ndarray:
        """The original, uint8 (H, W, C), cut to a multiple of the scale."""
        return self._read(record)[1]

    def lr(self, record: SliceRecord, neighbours: int = 0) -> np.ndarray:
        """What it was degraded to, uint8 (h, w, C), or with neighbours (h, w, (2 * neighbours + 1) * C)."""
        if not neighbours:
            return self._read(record)[2]
        stack = self._stacks[self.stack(record)]
        around = [stack[i] for i in window(self._places[record.path], len(stack), neighbours)]
        slices = [self._read(one)[2] for one in around]
        for one, lr in zip(around, slices, strict=True):
            if lr.shape != slices[neighbours].shape:
                raise DataError(
                    f"{one.path} and its neighbour {record.path.name} differ in size: a model that takes "
                    f"{neighbours} neighbours on each side needs stacks of one size."
                )
        return np.concatenate(slices, axis=-1)

    def masks(self, record: SliceRecord) -> dict[str, np.ndarray | None]:
        """Region -> bool (H, W), or None for the whole slice."""
        hr = self.hr(record)
        masks: dict[str, np.ndarray | None] = {WHOLE: None, TISSUE: tissue_mask(hr / np.float32(255))}
        tumour = self.tumour(record)
        if tumour is not None and tumour.any():
            masks[TUMOUR] = tumour
        return masks

    def tumour(self, record: SliceRecord) -> np.ndarray | None:
        """The slice's own mask, bool (H, W), or None without a mask file."""
        if record.mask is None:
            return None
        mask = read_mask(record, self.original(record).shape[:2])
        height, width = self.hr(record).shape[:2]
        return mask[:height, :width]

    def _read_all(self, record: SliceRecord) -> tuple[np.ndarray, np.ndarray, Any]:
        original = self._open(record)
        if self._channels is None:
            self._channels = original.shape[-1]
        if original.shape[-1] != self._channels:
            raise DataError(
                f"{record.path} has {original.shape[-1]} channels, but {self._taker} takes {self._channels}. "
                "Convert the images, or use a model for them."
            )
        if original.dtype != np.uint8:
            self.converted.add(record.path)
        height, width = (size - size % self._factor for size in original.shape[:2])
        hr = to_8bit(original, original)[:height, :width]
        if hr.shape != original.shape:
            self.cropped.add(record.path)
        if min(hr.shape[:2]) < SMALLEST:
            raise DataError(
                f"{record.path} is too small for SSIM ({_size(original)} pixels): "
                f"at least {SMALLEST}x{SMALLEST} are needed. Remove it."
            )
        try:
            return original, hr, self._degrade(hr, record, original)
        except MrisrError as error:
            raise DataError(f"{record.path}: {error}") from error

    def _degrade(self, hr: np.ndarray, record: SliceRecord, original: np.ndarray) -> Any:
        name = record.path.relative_to(self.dataset.root).as_posix()
        lr = to_8bit(self.degradation.lr_of(hr, name), original)
        if self._noise_snr is None:
            return lr
        from keras_mrisr.degrade.noise import rician_noise

        # By the slice's name, so that it has this noise whichever slices are evaluated besides.
        seed = zlib.crc32(f"{record.patient}/{record.path.name}".encode())
        return rician_noise(lr, self._noise_snr, np.random.default_rng(seed))


def to_8bit(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Brings an image to 8 bits by the range of the original `like`, both in the file's units."""
    if image.dtype == np.uint8:
        return image
    return rounded(normalizer_for(like).normalize(image) * 255, np.uint8)


def spread(records: Sequence[SliceRecord], limit: int | None) -> list[SliceRecord]:
    """At most `limit` of the records, evenly spread, in order."""
    return [records[place] for place in evenly_spaced(len(records), len(records) if limit is None else limit)]


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
