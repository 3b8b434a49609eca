"""High-frequency error norm (Ravishankar and Bresler 2011, section IV), per image."""

from typing import Any

import numpy as np
from keras import ops

from keras_mrisr.metrics.filters import mirror, symmetric_filter
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, masked_mean, root_ratio
from keras_mrisr.types import Tensor

SIGMA = 1.5
SIZE = 15
_RADIUS = SIZE // 2


def hfen(hr: Tensor, sr: Tensor, mask: Tensor | None = None) -> Tensor:
    """|LoG(sr - hr)| / |LoG(hr)| of every image of a batch, with Euclidean norms over pixels and channels.

    LoG is the rotationally symmetric Laplacian of a Gaussian of Ravishankar and Bresler: 15 x 15 taps,
    sigma 1.5 pixels, sum 0 (MATLAB's `fspecial('log', 15, 1.5)`); images are mirrored at their edges.
    The paper's norm is not divided by anything, which makes it depend on size and brightness; divided
    by that of the original, as most later work does, it has no unit and no data range.

    Args:
        hr: Originals (N, H, W, C), any real type, at least 7 x 7 pixels.
        sr: Reconstructions, same shape and range.
        mask: (N, H, W), bool or weights. The filtered images are compared inside it. None for all.

    Returns:
        Tensor (N,): 0 for equal images, `nan` where the mask is empty or both are without detail, `inf`
        where only the original is.

    Raises:
        ConfigError: Shapes differ.
    """
    hr, sr = as_pair(hr, sr)
    mask = None if mask is None else as_mask(mask, hr)
    return hfen_of_maps(laplacian_of_gaussian(sr - hr), laplacian_of_gaussian(hr), mask)


def hfen_of_maps(error: Tensor, original: Tensor, mask: Tensor | None = None) -> Tensor:
    """HFEN out of the filtered difference and the filtered original (N, H, W, C): tensor (N,)."""
    return root_ratio(masked_mean(ops.square(error), mask), masked_mean(ops.square(original), mask))


def laplacian_of_gaussian(x: Tensor) -> Tensor:
    """Filters (N, H, W, C) with the kernel of HFEN; the shape stays."""
    smooth, curved, offset = _factors()
    x = mirror(x, _RADIUS)
    along = symmetric_filter(symmetric_filter(x, smooth, 1), curved, 2)
    across = symmetric_filter(symmetric_filter(x, curved, 1), smooth, 2)
    ones = [1.0] * (_RADIUS + 1)
    return along + across - offset * symmetric_filter(symmetric_filter(x, ones, 1), ones, 2)


def _factors() -> Any:
    """The kernel as smooth x curved + curved x smooth - offset: taps from the centre outwards."""
    places = np.arange(-_RADIUS, _RADIUS + 1)
    smooth = np.exp(-(places**2) / (2 * SIGMA**2))
    smooth /= smooth.sum()
    curved = smooth * (places**2 - SIGMA**2) / SIGMA**4
    # The sampled kernel does not quite sum to 0: what is left is taken off every tap.
    offset = 2 * smooth.sum() * curved.sum() / SIZE**2
    return smooth[_RADIUS:].tolist(), curved[_RADIUS:].tolist(), float(offset)
