"""How much the power of images by spatial frequency differs, as a loss: too smooth and too rough alike."""

import functools

import numpy as np
from keras import ops

from keras_mrisr.checks import check_counts
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor

# Power of noise of a quarter of a grey level of 255, below which nothing is asked for.
_FLOOR = (0.25 / 255) ** 2


def spectrum_loss(hr: Tensor, sr: Tensor, bands: int = 16) -> Tensor:
    """Mean over channels and rings of the spectrum of |10 log10(power of SR / power of HR)|.

    Power is taken over the whole batch, and of each channel for itself: what is asked for is as much texture
    as there is in HR, wherever it is (Durall et al. 2020, "Watch your up-convolution: CNN based generative
    deep neural networks are failing to reproduce spectral distributions", with rings in dB). Patches are
    windowed by Hann, since they end within tissue. It is the loss beside `metrics.spectrum_error`.

    Args:
        hr: Originals (N, H, W, C), nominally in [0, 1]; H and W are known. No gradient flows into them.
        sr: Reconstructions, same shape.
        bands: Rings of equal width from frequency 0 to the Nyquist frequency; those without a frequency, as
            small images have them, count nothing.

    Returns:
        Scalar tensor, decibels, float32.

    Raises:
        ConfigError: No batches of images of one shape, or no band.
    """
    check_counts(bands=bands)
    size = tuple(hr.shape)[1:]
    # Within a graph the size of what a network made may be known only when it runs.
    pairs = zip(size, tuple(sr.shape)[1:], strict=False)
    if len(size) != 3 or len(sr.shape) != 4 or None in size or any(b not in (None, a) for a, b in pairs):
        raise ConfigError(
            "The loss of the spectrum is of two batches (N, H, W, C) of one known size. "
            f"Received: {tuple(hr.shape)} and {tuple(sr.shape)}"
        )
    window, rings = map(ops.convert_to_tensor, _window_and_rings(*size[:2], bands))
    wanted, found = (_power(images, window, rings) for images in (ops.stop_gradient(hr), sr))
    ratio = ops.log(found + _FLOOR) - ops.log(wanted + _FLOOR)
    return ops.mean(ops.abs(ratio)) * (10 / np.log(10))


def _power(images: Tensor, window: Tensor, rings: Tensor) -> Tensor:
    """Mean power of a batch in each channel and ring, (C, bands): that of white noise is its variance."""
    planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
    planes = (planes - ops.mean(planes, axis=(2, 3), keepdims=True)) * window
    real, imaginary = ops.fft2((planes, ops.zeros_like(planes)))
    power = ops.mean(ops.square(real) + ops.square(imaginary), axis=0)
    return ops.matmul(ops.reshape(power, (power.shape[0], -1)), rings)


@functools.lru_cache(maxsize=8)
def _window_and_rings(height: int, width: int, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A Hann window (H, W) of mean square 1, and the weights (H W, bands) that average each ring."""
    window = np.outer(*(np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in (height, width)))
    window /= np.sqrt(np.mean(window**2))
    radius = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)).ravel() * 2 * bands
    inside = np.floor(radius)[:, np.newaxis] == np.arange(bands)
    inside = inside[:, inside.any(axis=0)]
    rings = inside / inside.sum(axis=0) / (height * width)
    return window.astype("float32"), rings.astype("float32")
