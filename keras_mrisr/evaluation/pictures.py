"""Pictures inside a page: planes and error maps as data URIs, outlines as paths."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from keras_mrisr.volumes.stored_values import rounded

_LARGEST = 512  # Of a side, in pixels, where pictures are reduced.


class Encoder:
    """Turns arrays into data URIs.

    Args:
        small: Reduce pictures to 512 pixels and compress them with losses (WebP); else PNG, exact.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small

    def plane(self, values: np.ndarray, exact: bool = False) -> str:
        """A grey picture (H, W) or colours (H, W, 3), float in [0, 1]."""
        return self._encode(Image.fromarray(rounded(values * 255, np.uint8)), exact)

    def error(self, values: np.ndarray, peak: float) -> str:
        """Absolute errors (H, W) in the colours of `palette`, `peak` being the brightest."""
        indices = rounded(values / peak * 255, np.uint8)
        image = Image.fromarray(indices)
        image.putpalette(_colours().ravel().tolist())
        return self._encode(image.convert("RGB") if self.small else image)

    def _encode(self, image: Image.Image, exact: bool = False) -> str:
        buffer = io.BytesIO()
        if self.small and not exact:
            while max(image.size) > _LARGEST:
                image = image.reduce(2)
            image.save(buffer, "WEBP", quality=80)
            kind = "webp"
        else:
            image.save(buffer, "PNG", optimize=True)
            kind = "png"
        return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def palette(steps: int = 12) -> list[str]:
    """The colours of error maps from none to the peak, as CSS."""
    colours = _colours()[np.linspace(0, 255, steps).astype(int)]
    return [f"rgb({red}, {green}, {blue})" for red, green, blue in colours]


def outline(mask: np.ndarray) -> str:
    """The border of a mask (H, W) as an SVG path in pixels; empty for an empty mask."""
    from contourpy import contour_generator

    # With a margin, so that a mask at the edge is closed too; pixel centres lie at halves.
    padded = np.pad(mask.astype(float), 1)
    lines: Any = contour_generator(z=padded).lines(0.5)
    return "".join("M" + "L".join(f"{x - 0.5:.1f} {y - 0.5:.1f}" for x, y in line) + "Z" for line in lines)


def _colours() -> np.ndarray:
    from matplotlib import colormaps

    return rounded(colormaps["inferno"](np.arange(256))[:, :3] * 255, np.uint8)
