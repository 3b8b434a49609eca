"""Batches of patches with their masks, augmented."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.errors import DataError
from keras_mrisr.segmentation.masked import MaskedStack, at_peaks

# Buda et al. 2019 rotate by up to 15 degrees and scale by up to 5 %, and mirror.
ANGLE = 15.0
SCALE = 0.1
GAIN = 0.3  # Of each channel: e**-0.3 to e**0.3.


class MaskedPatches(ResumableBatches):
    """Batches of patches for `model.fit`, the same ones for the same seed.

    Args:
        stacks: List of `MaskedStack`.
        patch_size: Edge of the patches in pixels. What lies beyond a slice is 0.
        batch_size: Patches a batch.
        steps: Batches an epoch.
        lesion_share: Share of the patches that are drawn around a lesion; the others are from any slice.
        augment: Mirror half of them, turn by up to 15 degrees, scale by up to 10 %, and change the
            brightness of each channel by up to a third.
        seed: Seed of everything that is random.

    Yields:
        (image, mask): float32, (N, size, size, C) nominally in [0, 1], and (N, size, size, 1) of 0 and 1.

    Raises:
        DataError: There are no slices, or none with a lesion.
    """

    def __init__(
        self,
        stacks: Sequence[MaskedStack],
        patch_size: int = 160,
        batch_size: int = 8,
        steps: int = 250,
        lesion_share: float = 0.5,
        augment: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, steps, seed)
        self.patch_size = patch_size
        self.lesion_share = lesion_share
        self.augment = augment
        self.slices = [
            (image, mask, stack.peaks)
            for stack in stacks
            for image, mask in zip(stack.images, stack.masks, strict=True)
        ]
        self.lesions = [i for i, (_, mask, _) in enumerate(self.slices) if mask.any()]
        if not self.lesions:
            raise DataError("No slice shows a lesion: there is nothing to learn. Check the masks.")

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        around_lesion = rng.random() < self.lesion_share
        number = rng.choice(self.lesions) if around_lesion else rng.integers(len(self.slices))
        image, mask, peaks = self.slices[number]
        centre = self._centre(mask, around_lesion, rng)
        image = at_peaks(image, peaks)
        if not self.augment:
            return patch(image, mask, self.patch_size, centre)
        turn = (
            np.deg2rad(rng.uniform(-ANGLE, ANGLE)),
            np.exp(rng.uniform(-SCALE, SCALE)),
            bool(rng.integers(2)),
        )
        image, mask = patch(image, mask, self.patch_size, centre, *turn)
        return image * np.exp(rng.uniform(-GAIN, GAIN, image.shape[-1])).astype("float32"), mask

    def _centre(self, mask: np.ndarray, around_lesion: bool, rng: np.random.Generator) -> np.ndarray:
        """The middle (y, x) of a patch that lies in the slice where it can, and shows some lesion."""
        half = self.patch_size / 2
        lowest = [min(half, edge / 2) for edge in mask.shape]
        highest = [max(edge - half, edge / 2) for edge in mask.shape]
        if around_lesion:
            places = np.argwhere(mask)
            # Anywhere in the patch, but for its border.
            centre = places[rng.integers(len(places))] + rng.uniform(-0.4, 0.4, 2) * self.patch_size
        else:
            centre = rng.uniform(lowest, highest)
        return np.rint(np.clip(centre, lowest, highest))


def patch(
    image: np.ndarray,
    mask: np.ndarray,
    size: int,
    centre: Sequence[float] | np.ndarray,
    angle: float = 0.0,
    scale: float = 1.0,
    mirror: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a square out of a slice, turned and scaled about its middle.

    Args:
        image: Array (H, W, C), float32.
        mask: Array (H, W), bool.
        size: Edge of the square in pixels.
        centre: (y, x): the corner between pixels that becomes the middle of the square.
        angle: In radians.
        scale: How much larger things become.
        mirror: Swap left and right.

    Returns:
        (image, mask): float32, (size, size, C) and (size, size, 1); 0 beyond the slice.
    """
    y, x = centre
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    across, down = (-cos, sin) if mirror else (cos, -sin)
    half = size / 2
    # Pillow's map from places in the square to places in the slice: x' = a x + b y + c.
    affine = (across, sin, x - half * (across + sin), down, cos, y - half * (down + cos))
    straight = angle == 0 and scale == 1

    def cut(plane: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        source = Image.fromarray(np.ascontiguousarray(plane, dtype="float32"))
        return np.asarray(source.transform((size, size), Image.Transform.AFFINE, affine, resample))

    # Bicubic, which blurs least: the U-Net should learn sharp slices.
    smooth = Image.Resampling.NEAREST if straight else Image.Resampling.BICUBIC
    planes = [cut(image[..., channel], smooth) for channel in range(image.shape[-1])]
    return np.stack(planes, axis=-1), cut(mask, Image.Resampling.NEAREST)[..., np.newaxis]
