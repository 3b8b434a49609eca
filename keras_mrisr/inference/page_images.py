"""What a page holds of an image: pictures of 8 bits, and how they are shown."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.inference.page_volumes import difference_words
from keras_mrisr.inference.resample import resample_axis

_LEVELS = 255


def image_content(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """What the template of the page needs of an image (h, w, C) and its result (H, W, C).

    One channel is shown in grey and three in colours; of any other number their mean is shown.
    """
    before, after = (_shown(image) for image in (before, after))
    normalizer = normalizer_for(before)
    low, step = normalizer.low, (normalizer.high - normalizer.low) / _LEVELS
    difference = after.astype("float32")
    interpolated = before
    for axis in (0, 1):
        interpolated = resample_axis(interpolated, axis, after.shape[axis])
    difference = difference - interpolated
    difference = difference if difference.ndim == 2 else difference.mean(axis=-1)
    peak = float(np.percentile(np.abs(difference), 99.9)) or 1.0
    files = {
        "before": _png((before - np.float32(low)) / step),
        "after": _png((after - np.float32(low)) / step),
        "difference": _png(difference * (127 / peak) + 128),
    }
    data = {
        "kind": "image",
        "window": [low, normalizer.high],
        "range": [low, normalizer.high],
        "step": step,
        "plane": "",
        "overlays": [difference_words(peak)],
    }
    sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (before, after)]
    notes = [] if step == 1 else [f"Values from {low:.4g} to {normalizer.high:.4g} are shown in 256 steps."]
    axes = ["Left to right", "Top to bottom"]
    return {"data": data, "files": files, "facts": [("Pixels", *sizes)], "notes": notes, "axes": axes}


def _shown(image: np.ndarray) -> np.ndarray:
    if image.shape[-1] in (1, 3):
        return image[..., 0] if image.shape[-1] == 1 else image
    return image.mean(axis=-1, dtype="float32")


def _png(levels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.rint(levels), 0, _LEVELS).astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
