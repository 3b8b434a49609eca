"""A trained U-Net as a function from the slices of a patient to masks."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.models.unet_storage import load_unet
from keras_mrisr.segmentation.lesions import largest_lesion
from keras_mrisr.segmentation.masked import at_peaks, peaks_of
from keras_mrisr.types import Model, PathLike


class Segmenter:
    """Finds lesions in the slices of a patient.

    Args:
        unet: `keras.Model` from (N, H, W, C) to logits (N, H, W, 1).
        info: Its `SegmenterInfo`.

    Examples:
        >>> masks = Segmenter.load("runs/unet")(slices)  # (Z, H, W, 3) uint8 -> (Z, H, W) bool
    """

    def __init__(self, unet: Model, info: Any) -> None:
        self.unet = unet
        self.info = info
        self.channels = info.channels

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Loads a model directory, or a `.keras` file in one.

        Raises:
            DataError: Nothing there, or it is broken or no U-Net.
        """
        unet, info = load_unet(path)
        # With XLA, which Keras turns on where there is a GPU, each new image size is compiled for itself.
        unet.jit_compile = False
        return cls(unet, info)

    def __call__(
        self, slices: Sequence[np.ndarray], threshold: float = 0.5, largest: bool = False
    ) -> list[np.ndarray]:
        """Segments the slices of one patient.

        Args:
            slices: Array (Z, H, W, C), or a list of (H, W, C) whose sizes may differ; uint8, uint16 or
                float. Their brightness is judged together (see `masked.peaks_of`), so give all slices of
                a patient at once: of a single slice little is known.
            threshold: Probability from which a pixel counts.
            largest: Keep only the largest connected lesion, as Buda et al. 2019 do.

        Returns:
            List of masks (H, W), bool.

        Raises:
            DataError: Wrong shapes or number of channels, or NaN or infinite values; or `largest` for
                slices of different sizes.
        """
        masks = [chance >= threshold for chance in self.probabilities(slices)]
        if not largest:
            return masks
        if any(mask.shape != masks[0].shape for mask in masks):
            raise DataError(
                "The largest lesion is one of a volume: its slices must be of one size. Received: "
                f"{sorted({mask.shape for mask in masks})}"
            )
        return list(largest_lesion(np.stack(masks)))

    def probabilities(self, slices: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As a call, but the probability of each pixel: list of arrays (H, W), float32."""
        slices = [np.asarray(image) for image in slices]
        if not slices:
            raise DataError("Expected the slices of a patient. Received: none")
        for image in slices:
            self.check_image(image)
        peaks = peaks_of(slices)
        return [self._probability(at_peaks(image, peaks)) for image in slices]

    def check_image(self, image: np.ndarray) -> None:
        """Raises DataError unless the U-Net can take the slice (H, W, C)."""
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(f"Expected slices (H, W, C). Received: shape {image.shape}")
        if image.shape[-1] != self.channels:
            raise DataError(
                f"The U-Net takes {self.channels} channel(s). Received an image of shape {image.shape}: use "
                "a U-Net that was trained on images like this."
            )
        if not np.isfinite(image).all():
            raise DataError("The image holds NaN or infinite values: replace them first.")

    def _probability(self, image):
        logits = np.asarray(self.unet.predict_on_batch(image[np.newaxis]), "float32")[0, ..., 0]
        return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
