"""Power of images by spatial frequency, which an image that is too smooth lacks."""

import numpy as np

from keras_mrisr.checks import check, check_counts
from keras_mrisr.types import Tensor

BANDS = 16


def power_spectrum(images: Tensor, bands: int = BANDS) -> np.ndarray:
    """Mean power of every image in rings of equal width from frequency 0 to the Nyquist frequency.

    The corners of the spectrum, over the Nyquist frequency of the axes, are left out. There is no window: the
    border of a slice is air.

    Args:
        images: (N, H, W, C), any real type; power is the mean over channels.
        bands: Number of rings.

    Returns:
        Array (N, bands), |DFT|² / (H W), in squared units of the images; `nan` for a ring without a
        frequency, as small images have them.

    Raises:
        ConfigError: No batch of images, or no band.
    """
    check_counts(bands=bands)
    images = np.asarray(images, float)
    check(images.ndim == 4, "`images`", images.shape, "of shape (N, H, W, C)")
    height, width = images.shape[1:3]
    power = (np.abs(np.fft.fft2(images, axes=(1, 2))) ** 2).mean(axis=-1) / (height * width)
    radius = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)) / 0.5
    ring = np.minimum(np.floor(radius * bands), bands).astype(int)  # The last one holds the corners.
    ring[radius == 1] = bands - 1
    count = np.bincount(ring.ravel(), minlength=bands + 1)
    sums = np.stack([np.bincount(ring.ravel(), one.ravel(), bands + 1) for one in power])
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)[:, :bands]


def spectrum_error(hr: Tensor, sr: Tensor) -> np.ndarray:
    """Power of SR beside that of HR in dB, band by band.

    Args:
        hr: Powers of originals, (..., bands), such as the mean of `power_spectrum` over slices.
        sr: Those of the reconstructions, same shape.

    Returns:
        Array (..., bands): 0 where they are equal, negative where SR has too little; `nan` where HR has none.
    """
    hr, sr = np.asarray(hr, float), np.asarray(sr, float)
    known = hr > 0
    ratio = np.divide(sr, hr, out=np.full(np.broadcast(hr, sr).shape, np.nan), where=known)
    with np.errstate(divide="ignore"):  # An image without any power in a band: -inf dB.
        return 10 * np.log10(ratio)


def largest_error(error: Tensor, up_to: float = 1.0) -> float:
    """The largest absolute value of a `spectrum_error` (bands,) up to a share of the Nyquist frequency.

    Args:
        error: Array (bands,) in dB.
        up_to: Share of the Nyquist frequency, over 0 to 1; a band counts that ends there or before.

    Returns:
        Decibels; `nan` without a known band.

    Raises:
        ConfigError: `up_to` is out of range, or no band ends there.
    """
    error = np.asarray(error, float)
    check(0 < up_to <= 1, "`up_to`", up_to, "over 0, at most 1")
    count = int(np.floor(up_to * len(error) + 1e-9))
    check(count > 0, "`up_to`", up_to, f"at least 1/{len(error)}, the width of a band")
    values = np.abs(error[:count])
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else float("nan")
