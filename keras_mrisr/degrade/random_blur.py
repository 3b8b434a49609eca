"""A blur that differs from slice to slice: for models that must not depend on how sharp a scan is."""

import zlib
from typing import Any

import numpy as np

from keras_mrisr.checks import is_number
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


class RandomBlur(Degradation):
    """Gaussian blur of a radius of the slice's own, then bicubic downsampling by an integer factor.

    The radius is uniform between two bounds and follows from the pixels of the slice, so that a slice has
    the same LR wherever it is degraded, and the models that are compared on it get the same. With (0, 2)
    it reaches from the degradation `bicubic` to `paper`.

    What blurred an image cannot be told from the LR or SR image: losses and projections that degrade SR again
    need a degradation that is `fixed`.

    Args:
        scale: Integer factor, 1 or more.
        smallest_sigma: Lower bound of the standard deviation of the blur, in HR pixels.
        largest_sigma: Upper bound.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: int
    fixed = False

    def __init__(
        self,
        scale: int,
        smallest_sigma: float = 0.0,
        largest_sigma: float = 2.0,
        name: str = "random-blur",
    ) -> None:
        numbers = is_number(smallest_sigma) and is_number(largest_sigma)
        if not numbers or not 0 <= smallest_sigma <= largest_sigma:
            raise ConfigError(
                "smallest_sigma and largest_sigma must be 0 or more, and in this order. "
                f"Received: smallest_sigma={smallest_sigma!r}, largest_sigma={largest_sigma!r}"
            )
        self.name = name
        self.scale = scale
        self.smallest_sigma = float(smallest_sigma)
        self.largest_sigma = float(largest_sigma)
        self._widest = BlurBicubic(scale, self.largest_sigma, name=name)

    @property
    def smallest_size(self) -> tuple[int, ...]:
        return self._widest.smallest_size

    def get_config(self) -> dict[str, Any]:
        return {"smallest_sigma": self.smallest_sigma, "largest_sigma": self.largest_sigma}

    def __call__(self, hr: Tensor) -> Tensor:
        # Imported here, so that the other methods need no Keras.
        from keras import ops

        # A radius follows from pixels, which a graph does not have yet: this is for eager tensors.
        return ops.stack([self.of_slice(ops.convert_to_numpy(one))(one[np.newaxis])[0] for one in hr])

    def of_slice(self, hr: np.ndarray) -> BlurBicubic:
        """The `BlurBicubic` that degrades this slice, array (H, W, C)."""
        drawn = zlib.crc32(hr.tobytes()) / 0xFFFFFFFF
        sigma = self.smallest_sigma + drawn * (self.largest_sigma - self.smallest_sigma)
        return BlurBicubic(self.scale, sigma, name=self.name)

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        return self.of_slice(hr).degrade(hr)
