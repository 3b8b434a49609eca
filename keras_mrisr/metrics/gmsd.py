"""Gradient magnitude similarity (Xue et al. 2014), per image."""

from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.metrics.filters import halve
from keras_mrisr.metrics.finite_mean import FiniteImageMean
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, channel_means, check_data_range
from keras_mrisr.types import Tensor

# Xue et al., section III-B: 170 for grey levels of 0..255.
_CONSTANT = 170 / 255**2


def gmsd(hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """GMSD of every image of a batch: the standard deviation of its GMS map (eq. 6); smaller is better.

    Equal to `piq.gmsd` for one channel and sizes that are even: images are halved by 2 x 2 means first,
    gradients are Prewitt's with zeros outside the image, and the deviation is over all pixels (n).
    Several channels are compared each for itself and averaged.

    Args:
        hr: Originals (N, H, W, C), any real type.
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value: 1.0 for images in
            [0, 1], 255 for 8-bit ones. It is never guessed.
        mask: (N, H, W), bool or weights, halved with the images; None for all.

    Returns:
        Tensor (N,): 0 for equal images, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes differ, images are under 2 pixels, or `data_range` is no positive number.
    """
    values, mask = _map_and_mask(hr, sr, data_range, mask)
    return gmsd_of_map(values, mask)


def gms(hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """Mean gradient magnitude similarity of every image, 1 for equal images; arguments as in `gmsd`."""
    values, mask = _map_and_mask(hr, sr, data_range, mask)
    return ops.mean(channel_means(values, mask), axis=-1)


def gms_map(hr: Tensor, sr: Tensor, data_range: float) -> Tensor:
    """Gradient magnitude similarity of every pixel (eq. 4): (N, H, W, C) -> (N, H // 2, W // 2, C)."""
    check_data_range(data_range)
    hr, sr = as_pair(hr, sr)
    if any(size is not None and size < 2 for size in hr.shape[1:3]):
        raise ConfigError(f"GMSD needs images of 2x2 pixels or more. Received: {hr.shape[1]}x{hr.shape[2]}")
    one, two = _gradient(halve(hr)), _gradient(halve(sr))
    constant = _CONSTANT * data_range**2
    # Gradients are given squared, for only their product needs a root.
    return (2 * ops.sqrt(one * two) + constant) / (one + two + constant)


def gmsd_of_map(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """GMSD out of a `gms_map` and a mask of its size, or None: tensor (N,)."""
    mean = channel_means(values, mask)
    variance = channel_means(ops.square(values - mean[:, None, None]), mask)
    return ops.mean(ops.sqrt(variance), axis=-1)


def _map_and_mask(
    hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    values = gms_map(hr, sr, data_range)
    return values, None if mask is None else halve(as_mask(mask, as_pair(hr, sr)[0]))


def _gradient(x: Tensor) -> Tensor:
    """Squared magnitude of Prewitt's gradient of (N, H, W, C)."""
    x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = (x[:, :-2] + x[:, 1:-1] + x[:, 2:]) / 3
    columns = (x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]) / 3
    across = rows[:, :, 2:] - rows[:, :, :-2]
    down = columns[:, 2:] - columns[:, :-2]
    return ops.square(across) + ops.square(down)


@keras.saving.register_keras_serializable(package="keras_mrisr")
class GMSD(FiniteImageMean):
    """Mean GMSD per image, for `model.compile(metrics=[GMSD(data_range=1.0)])`."""

    def __init__(self, data_range: float = 1.0, name: str = "gmsd", dtype: Any = None) -> None:
        super().__init__(data_range=data_range, name=name, dtype=dtype)

    def per_image(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """GMSD of every image, shape (N,)."""
        return gmsd(y_true, y_pred, self.data_range)
