"""Images for the classifier: augmented crops to learn from, whole slices to be scored on."""

from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.finetune.labels import UNKNOWN, LabelledSlice
from keras_mrisr.models.features import network_input

GAIN = 0.2  # Brightness from e**-0.2 to e**0.2.
LESION_SHARE = 0.5  # A crop with less of the slice's tumour, but some, is neither with nor without one.


class LabelledBatches(ResumableBatches):
    """Batches of images with their labels for `model.fit`, the same ones for the same seed.

    A slice of several channels gives two images: all its channels together, and one of them as a grey
    image, of which the sequence is asked.

    Args:
        slices: List of `LabelledSlice`.
        labels: Of "tumour" and "sequence".
        image_size: Edge of the images in pixels.
        batch_size: Slices a batch.
        steps: Batches an epoch.
        smallest_crop: Smallest edge of a crop as a share of the slice's.
        augment: Random flips and quarter turns, and brightness.
        seed: Seed of everything that is random.

    Yields:
        (images, labels, weights): images as `network_input` makes them; dictionaries from label to an
        array, "tumour" (N, 1) float32 and "sequence" (N,) int32, and to weights (N,), which are 0 where the
        label is not known and bring tumour and no tumour to the same total.
    """

    def __init__(
        self,
        slices: Sequence[LabelledSlice],
        labels: Collection[str],
        image_size: int,
        batch_size: int,
        steps: int,
        smallest_crop: float = 1.0,
        augment: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, steps, seed)
        self.slices = slices
        self.labels = tuple(labels)
        self.image_size = image_size
        self.smallest_crop = smallest_crop
        self.augment = augment
        positive = float(np.mean([each.tumour == 1 for each in slices]))
        # Indexed by the label; the last one is for UNKNOWN.
        even = (0.5 / (1 - positive), 0.5 / positive) if 0 < positive < 1 else (1.0, 1.0)
        self._tumour_weights = np.array([*even, 0.0], "float32")

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        drawn = [one for rng in self.of_samples(index) for one in self._images(rng)]
        images, tumour, sequence = map(np.stack, zip(*drawn, strict=True))
        labels = {
            "tumour": np.maximum(tumour, 0).astype("float32")[:, np.newaxis],
            "sequence": np.maximum(sequence, 0).astype("int32"),
        }
        weights = {
            "tumour": self._tumour_weights[tumour],
            "sequence": (sequence != UNKNOWN).astype("float32"),
        }
        labels, weights = ({key: part[key] for key in self.labels} for part in (labels, weights))
        return as_input(images), labels, weights

    def _images(self, rng: np.random.Generator) -> list[tuple[Any, ...]]:
        each = self.slices[int(rng.integers(len(self.slices)))]
        edge = max(each.image.shape[:2])
        crop = max(1, round(edge * rng.uniform(self.smallest_crop, 1)))
        corner = rng.integers(edge - crop + 1, size=2)
        image, tumour = cut(each, self.image_size, crop, corner)
        if self.augment:
            image = np.rot90(image, int(rng.integers(4)))
            image = image[:, ::-1] if rng.integers(2) else image
            image = image * np.float32(np.exp(rng.uniform(-GAIN, GAIN)))
        return [(three_channels(image), tumour, UNKNOWN), *self._grey(each, image, tumour, rng)]

    def _grey(
        self, each: LabelledSlice, image: np.ndarray, tumour: int, rng: np.random.Generator
    ) -> list[tuple[Any, ...]]:
        channels = image.shape[-1]
        if channels == 1:
            return []
        channel = int(rng.integers(channels))
        grey = image[..., channel : channel + 1]
        sequence = each.sequences[channel] if grey.min() < grey.max() else UNKNOWN
        return [(three_channels(grey), tumour, sequence)]


def whole_slice(each: LabelledSlice, size: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """All images of a slice, without augmentation.

    Args:
        each: A `LabelledSlice` with C channels.
        size: Edge of the images in pixels.

    Returns:
        (images, sequences): array (1 + C, size, size, 3), or (1, size, size, 3) for one channel, for
        `as_input`: all channels together, then each as a grey image; and their sequences, the first
        UNKNOWN.
    """
    image, _ = cut(each, size, max(each.image.shape[:2]), (0, 0))
    channels = image.shape[-1]
    greys = [image[..., c : c + 1] for c in range(channels)] if channels > 1 else []
    sequences = (UNKNOWN, *(each.sequences if channels > 1 else ()))
    return np.stack([three_channels(part) for part in (image, *greys)]), sequences


def as_input(images: np.ndarray) -> np.ndarray:
    """`network_input` of images (N, H, W, 3) in [0, 1] as an array."""
    return np.asarray(keras.ops.convert_to_numpy(network_input(images)))


def three_channels(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) with three channels, as `network_input` would repeat them."""
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def cut(each: LabelledSlice, size: int, crop: int, corner: Any) -> tuple[np.ndarray, int]:
    """Cuts a square out of a slice, which is made square by zeros around it, and brings it to a size.

    Args:
        each: A `LabelledSlice`.
        size: Edge of the result in pixels.
        crop: Edge of the square in the slice.
        corner: (y, x) of its first pixel in the slice made square.

    Returns:
        (image, tumour): array (size, size, C), float32, nominally in [0, 1], shrunk with antialiasing; and
        1, 0, or UNKNOWN where less than half of the slice's tumour is in the square, but some.
    """
    image = _square(each.normalizer.normalize(each.image))
    y, x = corner
    box = (int(x), int(y), int(x) + crop, int(y) + crop)
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(image[..., c])).resize(
                (size, size), Image.Resampling.BILINEAR, box=box
            )
        )
        for c in range(image.shape[-1])
    ]
    if each.mask is None or each.tumour != 1:
        return np.stack(planes, axis=-1), each.tumour
    inside = _square(each.mask)[y : y + crop, x : x + crop].sum()
    tumour = 0 if not inside else 1 if inside >= LESION_SHARE * each.mask.sum() else UNKNOWN
    return np.stack(planes, axis=-1), tumour


def _square(array: np.ndarray) -> np.ndarray:
    """(H, W, ...) with zeros around it up to the larger of H and W."""
    missing = [max(array.shape[:2]) - edge for edge in array.shape[:2]]
    padding = [(gap // 2, gap - gap // 2) for gap in missing] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, padding) if any(missing) else array
