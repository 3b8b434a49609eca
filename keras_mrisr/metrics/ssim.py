"""Structural similarity (Wang et al. 2004, "Image quality assessment", eq. 13), per image."""

import math
from typing import Any

import keras
from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.metrics.filters import symmetric_filter
from keras_mrisr.metrics.finite_mean import FiniteImageMean
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, check_data_range, masked_mean
from keras_mrisr.types import Tensor

WINDOW = 11
SIGMA = 1.5
BORDER = (WINDOW - 1) // 2
_K1, _K2 = 0.01, 0.03


def ssim(hr: Tensor, sr: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """SSIM of every image of a batch: the mean of its SSIM map over pixels and channels.

    Equal to `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, channel_axis=-1)`: to 1e-7 for float64 input, to 1e-4 in float32.

    Args:
        hr: Originals (N, H, W, C), any real type, at least 11 x 11 pixels.
        sr: Reconstructions, same shape and range.
        data_range: Distance between the smallest and the largest possible value: 1.0 for images in
            [0, 1], 255 for 8-bit ones. It is never guessed.
        mask: (N, H, W), bool or weights. The map is averaged inside it; each value of the map still
            sees its whole 11 x 11 window. None for all.

    Returns:
        Tensor (N,): 1 for equal images, `nan` where no pixel of the mask lies inside the map.

    Raises:
        ConfigError: Shapes differ, the images are smaller than the window, or `data_range` is no
            positive number.
    """
    values = ssim_map(hr, sr, data_range)
    if mask is not None:
        mask = as_mask(mask, as_pair(hr, sr)[0])
        mask = mask[:, BORDER:-BORDER, BORDER:-BORDER]
    return masked_mean(values, mask)


def ssim_map(hr: Tensor, sr: Tensor, data_range: float) -> Tensor:
    """SSIM of every pixel and channel whose whole window lies inside the image.

    Args:
        hr: Originals (N, H, W, C).
        sr: Reconstructions, same shape and range.
        data_range: As in `ssim`.

    Returns:
        Tensor (N, H - 10, W - 10, C): the first value belongs to pixel (5, 5).

    Raises:
        ConfigError: As in `ssim`.
    """
    luminance, structure = ssim_factors(hr, sr, data_range)
    return luminance * structure


def ssim_factors(hr: Tensor, sr: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """The two factors of `ssim_map`: luminance, and contrast with structure (MS-SSIM's l and cs).

    Args:
        hr: Originals (N, H, W, C).
        sr: Reconstructions, same shape and range.
        data_range: As in `ssim`.

    Returns:
        Two tensors (N, H - 10, W - 10, C).

    Raises:
        ConfigError: As in `ssim`.
    """
    check_data_range(data_range)
    hr, sr = as_pair(hr, sr)
    if any(size is not None and size < WINDOW for size in hr.shape[1:3]):
        raise ConfigError(
            f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels. Received: {hr.shape[1]}x{hr.shape[2]}"
        )
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    # The two variances only appear as a sum, so their second moments are filtered together; and all four
    # moments are filtered as one batch, which saves three quarters of the small operations.
    moments = ops.concatenate([hr, sr, ops.square(hr) + ops.square(sr), hr * sr], axis=0)
    mean_hr, mean_sr, second, product = ops.split(_window_mean(moments), 4, axis=0)
    both = mean_hr * mean_sr
    squares = ops.square(mean_hr) + ops.square(mean_sr)
    variances, covariance = second - squares, product - both
    return (2 * both + c1) / (squares + c1), (2 * covariance + c2) / (variances + c2)


def _window_mean(x: Tensor) -> Tensor:
    """Gaussian-weighted mean over 11 x 11 windows, (N, H, W, C) -> (N, H - 10, W - 10, C)."""
    weights = [math.exp(-0.5 * (i / SIGMA) ** 2) for i in range(BORDER + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    taps = [weight / total for weight in weights]
    return symmetric_filter(symmetric_filter(x, taps, 1), taps, 2)


@keras.saving.register_keras_serializable(package="keras_mrisr")
class SSIM(FiniteImageMean):
    """Mean SSIM per image, for `model.compile(metrics=[SSIM(data_range=1.0)])`."""

    def __init__(self, data_range: float = 1.0, name: str = "ssim", dtype: Any = None) -> None:
        super().__init__(data_range=data_range, name=name, dtype=dtype)

    def per_image(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """SSIM of every image, shape (N,)."""
        return ssim(y_true, y_pred, self.data_range)
