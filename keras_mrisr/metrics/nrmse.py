"""Root mean squared error relative to the original, per image."""

from keras import ops

from keras_mrisr.metrics.image_pairs import as_mask, as_pair, masked_mean, root_ratio
from keras_mrisr.types import Tensor


def nrmse(hr: Tensor, sr: Tensor, mask: Tensor | None = None) -> Tensor:
    """|hr - sr| / |hr| of every image of a batch, with Euclidean norms over pixels and channels.

    Equal to `skimage.metrics.normalized_root_mse(normalization="euclidean")`. It is relative to the image
    itself, so it has no data range: brightness multiplied in both images cancels.

    Args:
        hr: Originals (N, H, W, C), any real type.
        sr: Reconstructions, same shape and range.
        mask: (N, H, W), bool or weights; only these pixels count. None for all.

    Returns:
        Tensor (N,): 0 for equal images, `nan` where the mask is empty or both images are 0, `inf`
        where only the original is 0.

    Raises:
        ConfigError: Shapes differ.
    """
    hr, sr = as_pair(hr, sr)
    mask = None if mask is None else as_mask(mask, hr)
    return root_ratio(masked_mean(ops.square(hr - sr), mask), masked_mean(ops.square(hr), mask))
