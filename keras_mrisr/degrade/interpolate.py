"""The plain interpolators that every network is compared with, and LR pictures are shown by."""

import numpy as np
from PIL import Image

from keras_mrisr.degrade.kspace import zero_fill_matrix
from keras_mrisr.errors import ConfigError
from keras_mrisr.volumes.stored_values import rounded

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
METHODS = (*_PILLOW, "zero-filled")


def interpolate(lr: np.ndarray, scale: int, method: str = "bicubic") -> np.ndarray:
    """Upscales a slice with Pillow's resampling or zeros in k-space; the outer edges of the grids agree.

    Args:
        lr: Array (H, W, C), uint8, uint16 or float32.
        scale: Integer factor.
        method: "nearest", "bicubic" (Keys, a = -0.5), "lanczos" (3 lobes), or "zero-filled": zeros
            around the spectrum, which a scanner's own interpolation does; the opposite edges of the
            slice touch, as for `KSpaceCrop`, which takes the result back to `lr`.

    Returns:
        Array (H * scale, W * scale, C) of the same dtype; integers are rounded and clipped.

    Raises:
        ConfigError: Unknown method.
    """
    if method not in METHODS:
        raise ConfigError(f"Unknown interpolation {method!r}. Known: {', '.join(METHODS)}.")
    image = _zero_fill(lr, scale) if method == "zero-filled" else _resize(lr, scale, _PILLOW[method])
    return rounded(image, lr.dtype)


def _resize(lr: np.ndarray, scale: int, resampling: Image.Resampling) -> np.ndarray:
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    # Pillow resamples 8-bit and float planes; 16-bit values are exact in float32.
    plane_type = np.uint8 if lr.dtype == np.uint8 else np.float32
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, resampling))
        for plane in np.moveaxis(lr.astype(plane_type), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def _zero_fill(lr: np.ndarray, scale: int) -> np.ndarray:
    rows, columns = (zero_fill_matrix(size, scale) for size in lr.shape[:2])
    return np.einsum("ih,hwc,jw->ijc", rows, lr, columns, optimize=True)
