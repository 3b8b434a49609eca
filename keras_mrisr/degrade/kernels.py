"""One-dimensional kernels of the degradations, as NumPy arrays."""

import math

import numpy as np


def gaussian_kernel(sigma: float, size: int | None = None) -> np.ndarray:
    """Sampled Gaussian, normalised to a sum of 1.

    Args:
        sigma: Standard deviation in pixels; 0 gives the identity `[1.]`.
        size: Odd number of taps; by default 2 * ceil(4 * sigma) + 1, which loses under 1e-4.

    Returns:
        Array of shape (size,), float64.
    """
    if sigma == 0:
        return np.ones(1)
    radius = math.ceil(4 * sigma) if size is None else (size - 1) // 2
    x = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    return kernel / kernel.sum()


def pillow_box_kernels(sigma: float, passes: int = 3) -> list[np.ndarray]:
    """The kernels that `PIL.ImageFilter.GaussianBlur(radius=sigma)` applies along each axis, in order.

    Pillow approximates the Gaussian by `passes` extended box filters of one fractional radius (Gwosdek
    et al. 2011, "Theoretical foundations of Gaussian convolution by extended box filtering", eq. 10-12).
    It repeats the edge pixel again for each, so that near the border they are not one longer filter.

    Args:
        sigma: Standard deviation of all passes together in pixels (Pillow calls it the radius).
        passes: Number of box filters; Pillow uses 3.

    Returns:
        List of `passes` equal arrays of odd length, float64, sum 1; empty where sigma is 0.
    """
    if sigma == 0:
        return []
    variance = sigma * sigma / passes
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.ones(2 * whole + 3)
    box[[0, -1]] = part
    return [box / box.sum()] * passes


def bicubic_kernel(scale: int, antialias: bool = True, a: float = -0.5) -> tuple[np.ndarray, int]:
    """Taps of Keys' bicubic kernel at the centre of every low-resolution pixel.

    The centre of a low-resolution pixel lies in the middle of its `scale` high-resolution pixels, so
    that one set of taps with an even or odd length serves all pixels (Keys 1981, eq. 4).

    Args:
        scale: Integer factor of the downsampling.
        antialias: Stretch the kernel by `scale` (Pillow, MATLAB); without it the four nearest pixels
            are used (OpenCV, PyTorch's default).
        a: Parameter of the kernel; Pillow and MATLAB have -0.5, OpenCV and PyTorch -0.75.

    Returns:
        (taps, first): float64 array with a sum of 1, and the offset of its first tap from the first
        high-resolution pixel of the low-resolution one (0 or negative).
    """
    stretch = scale if antialias else 1
    centre = (scale - 1) / 2
    first = math.floor(centre - 2 * stretch) + 1
    last = math.ceil(centre + 2 * stretch) - 1
    taps = keys_kernel((np.arange(first, last + 1) - centre) / stretch, a)
    return taps / taps.sum(), first


def keys_kernel(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' cubic convolution kernel (1981, eq. 4) at `x`, distances in pixels; 0 from 2 on."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
