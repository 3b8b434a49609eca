"""Multi-scale SSIM (Wang, Simoncelli and Bovik 2003, eq. 7), per image."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mrisr.metrics.filters import halve, mirror
from keras_mrisr.metrics.finite_mean import FiniteImageMean
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, channel_means
from keras_mrisr.metrics.ssim import BORDER, WINDOW, ssim_factors
from keras_mrisr.types import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al. 2003, section 3.2)."""


def ms_ssim(hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """MS-SSIM of every image of a batch.

    All five scales need 161 pixels (the 11-pixel window after four halvings, odd sizes rounded up), so 256
    pixels have them. A smaller image is compared on as many as fit it, `scale_weights` says which: 4 from
    81 pixels, 3 from 41, 2 from 21, and SSIM itself below. It equals `tf.image.ssim_multiscale` with the
    same weights.

    Args:
        hr: Originals (N, H, W, C), any real type, at least 11 x 11 pixels.
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value: 1.0 for images in
            [0, 1], 255 for 8-bit ones. It is never guessed.
        mask: (N, H, W), bool or weights, halved with the images; None for all. Inside a mask the images
            are mirrored at their edges at every scale, because the windows that lie wholly inside the
            coarsest 16 x 16 pixels of a slice would leave out all but its middle.

    Returns:
        Tensor (N,): 1 for equal images, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes differ, the images are smaller than the window, or `data_range` is no
            positive number.
    """
    hr, sr = as_pair(hr, sr)
    maps = ms_ssim_maps(hr, sr, data_range, padded=mask is not None)
    return ms_ssim_of_maps(maps, None if mask is None else as_mask(mask, hr))


def scale_weights(height: int | None, width: int | None) -> tuple[float, ...]:
    """The exponents for images of this size: the first ones of `WEIGHTS` that fit, brought to a sum of 1."""
    sizes = [size for size in (height, width) if size is not None]
    smallest = min(sizes) if sizes else WINDOW * 2 ** (len(WEIGHTS) - 1)
    count = 1
    # Odd sizes are rounded up when they are halved.
    while count < len(WEIGHTS) and -(-smallest // 2**count) >= WINDOW:
        count += 1
    return tuple(weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count])


def ms_ssim_maps(hr: Tensor, sr: Tensor, data_range: float, padded: bool = False) -> list[Tensor]:
    """The maps that `ms_ssim_of_maps` averages: what channels and masks can share.

    Args:
        hr: Originals (N, H, W, C).
        sr: Reconstructions, same shape and range.
        data_range: As in `ms_ssim`.
        padded: Mirror the images, so that the maps have the size of the images.

    Returns:
        List of (weight, map (N, h, w, C)), finest scale first: contrast and structure, at the coarsest
        SSIM.
    """
    hr, sr = as_pair(hr, sr)
    weights = scale_weights(*hr.shape[1:3])
    maps = []
    for place, weight in enumerate(weights):
        if place:
            hr, sr = halve(_even(hr)), halve(_even(sr))
        pair = (mirror(hr, BORDER), mirror(sr, BORDER)) if padded else (hr, sr)
        luminance, structure = ssim_factors(*pair, data_range)
        maps.append((weight, luminance * structure if place == len(weights) - 1 else structure))
    return maps


def ms_ssim_of_maps(maps: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
    """MS-SSIM out of `ms_ssim_maps`, padded ones where there is a mask (N, H, W): tensor (N,)."""
    product = 1.0
    for place, (weight, values) in enumerate(maps):
        if mask is not None and place:
            mask = halve(_even(mask))
        # A negative mean, of an image against its negative, has no real power.
        product = product * ops.power(ops.maximum(channel_means(values, mask), 0.0), weight)
    return ops.mean(product, axis=-1)


def _even(x: Tensor) -> Tensor:
    """Repeats the last row and column of (N, H, W, ...) where their number is odd, as `tf.image` does."""
    for axis in (1, 2):
        size = x.shape[axis]
        if size is not None and size % 2:
            last = x[:, -1:] if axis == 1 else x[:, :, -1:]
            x = ops.concatenate([x, last], axis=axis)
    return x


@keras.saving.register_keras_serializable(package="keras_mrisr")
class MultiScaleSSIM(FiniteImageMean):
    """Mean MS-SSIM per image, for `model.compile(metrics=[MultiScaleSSIM(data_range=1.0)])`."""

    def __init__(self, data_range: float = 1.0, name: str = "ms_ssim", dtype: Any = None) -> None:
        super().__init__(data_range=data_range, name=name, dtype=dtype)

    def per_image(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """MS-SSIM of every image, shape (N,)."""
        return ms_ssim(y_true, y_pred, self.data_range)
