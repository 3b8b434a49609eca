"""Noise of magnitude images."""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.errors import ConfigError
from keras_mrisr.volumes.stored_values import rounded

# As `evaluation.regions.tissue_mask`: brighter than this share of the 95th percentile is tissue.
_TISSUE = 0.2


def rician_noise(
    image: np.ndarray,
    snr: float,
    rng: np.random.Generator,
    signal: float | np.ndarray | None = None,
) -> np.ndarray:
    """Adds complex Gaussian noise and takes the magnitude again: the noise of a single receive coil.

    The result is sqrt((x + a)^2 + b^2) with normal a and b of standard deviation sigma = signal / snr
    (Gudbjartsson and Patz 1995, eq. 1): Rician in tissue and Rayleigh, with a mean of 1.25 sigma, in air.

    Args:
        image: Magnitude image (H, W, C), without negative values; uint8, uint16 or float.
        snr: Signal-to-noise ratio: mean intensity of the tissue over sigma, for each channel.
        rng: A `numpy.random.Generator`.
        signal: Mean intensity of the tissue, one number or one a channel; by default
            `tissue_signal(image)`. For a patch, give that of its slice.

    Returns:
        Array of the same shape and dtype; integers are rounded and clipped.

    Raises:
        ConfigError: A negative value, or a ratio that is not over 0.
    """
    if not snr > 0:
        raise ConfigError(f"The signal-to-noise ratio must be over 0. Received: {snr!r}")
    if image.min() < 0:
        raise ConfigError(
            "Rician noise is for magnitude images, and this one has negative values "
            f"(down to {image.min():g}): leave the noise out."
        )
    sigma = np.asarray(tissue_signal(image) if signal is None else signal, "float32") / np.float32(snr)
    real, imaginary = sigma * rng.standard_normal((2, *image.shape), dtype="float32")
    noisy = np.hypot(image + real, imaginary)
    return rounded(noisy, image.dtype)


class RicianNoise:
    """Noise of another strength for every patch: an augmentation.

    Args:
        snr: Signal-to-noise ratio as in `rician_noise`, or (low, high), between which it is drawn evenly.
    """

    def __init__(self, snr: float | Sequence[float]) -> None:
        self.low, self.high = snr if isinstance(snr, Sequence) else (snr, snr)

    def __call__(self, patch: np.ndarray, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Adds noise to a patch (h, w, C) of `image` (H, W, C), drawn from `rng`; float32, not rounded."""
        # A quarter of the pixels is enough to find the mean by.
        signal = tissue_signal(image[::2, ::2])
        return rician_noise(patch.astype("float32"), rng.uniform(self.low, self.high), rng, signal)


def tissue_signal(image: np.ndarray) -> np.ndarray:
    """Mean intensity of the tissue of each channel: pixels over 0.2 times the channel's 95th percentile.

    Args:
        image: Array (H, W, C).

    Returns:
        Array (C,), float32, in the units of the image; 0 for a black channel.
    """
    image = np.asarray(image, "float32")
    tissue = image > _TISSUE * np.percentile(image, 95, axis=(0, 1))
    return (image * tissue).sum(axis=(0, 1)) / np.maximum(tissue.sum(axis=(0, 1)), 1)
