"""The plain interpolators that every network is compared with, and LR pictures are shown by."""

import numpy as np
from PIL import Image

from keras_mrisr.errors import InputError

METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def upscale_image(lr, scale, method="bicubic"):
    """Enlarges a slice with Pillow's resampling; the pixel grids stay aligned by their outer edges.

    Args:
        lr: Array (H, W, C), uint8, uint16 or float32.
        scale: Integer factor.
        method: "nearest", "bicubic" (Keys, a = -0.5) or "lanczos" (3 lobes).

    Returns:
        Array (H * scale, W * scale, C) of the same dtype; integers are rounded and clipped.

    Raises:
        InputError: Unknown method.
    """
    if method not in METHODS:
        raise InputError(f"Unknown interpolation {method!r}. Known: {', '.join(METHODS)}.")
    size = (lr.shape[1] * scale, lr.shape[0] * scale)
    # Pillow resamples 8-bit and float planes; 16-bit values are exact in float32.
    plane_type = np.uint8 if lr.dtype == np.uint8 else np.float32
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, METHODS[method]))
        for plane in np.moveaxis(lr.astype(plane_type), -1, 0)
    ]
    image = np.stack(planes, axis=-1)
    if np.issubdtype(lr.dtype, np.integer):
        image = np.clip(np.rint(image), 0, np.iinfo(lr.dtype).max)
    return image.astype(lr.dtype)
