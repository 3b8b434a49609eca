"""What the metrics share: checked pairs of images, and means inside a mask."""

from keras import ops

from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


def as_pair(hr: Tensor, sr: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two (N, H, W, C) tensors of one float type, or raises ConfigError.

    float64 stays float64 where the backend has it; everything else becomes float32, so that integers
    don't wrap and half precision doesn't decide the result.
    """
    hr, sr = ops.convert_to_tensor(hr), ops.convert_to_tensor(sr)
    if len(hr.shape) != 4 or len(sr.shape) != 4 or not _compatible(hr.shape, sr.shape):
        raise ConfigError(
            f"Two batches (N, H, W, C) of one shape are compared. Received: hr={tuple(hr.shape)}, "
            f"sr={tuple(sr.shape)}"
        )
    types = {str(ops.dtype(hr)), str(ops.dtype(sr))}
    dtype = "float64" if types == {"float64"} else "float32"
    return ops.cast(hr, dtype), ops.cast(sr, dtype)


def as_mask(mask: Tensor, like: Tensor) -> Tensor:
    """Returns a mask (N, H, W) as weights of the type of the (N, H, W, C) tensor `like`."""
    mask = ops.convert_to_tensor(mask)
    if len(mask.shape) != 3 or not _compatible(mask.shape, like.shape[:3]):
        raise ConfigError(
            f"The mask must be (N, H, W) = {tuple(like.shape[:3])}. Received: {tuple(mask.shape)}"
        )
    return ops.cast(mask, like.dtype)


def check_data_range(data_range: object) -> None:
    """Raises ConfigError unless `data_range` is a positive number."""
    if not (isinstance(data_range, (int, float)) and 0 < data_range < float("inf")):
        raise ConfigError(
            "data_range must be a positive number: 1.0 for images in [0, 1], 255 for 8-bit ones. "
            f"Received: data_range={data_range!r}"
        )


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of (N, H, W, C) over all but the first axis, weighted by `mask` (N, H, W).

    Returns:
        Tensor (N,); nan where the mask is empty.
    """
    return ops.mean(channel_means(values, mask), axis=-1)


def channel_means(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """`masked_mean` of every channel: tensor (N, C)."""
    if mask is None:
        return ops.mean(values, axis=(1, 2))
    total = ops.sum(values * mask[..., None], axis=(1, 2))
    weight = ops.sum(mask, axis=(1, 2))[:, None]
    # Divided by one first: 0 / 0 would warn in some backends, and nan has no gradient to give.
    mean = total / ops.where(weight > 0, weight, ops.ones_like(weight))
    return ops.where(weight > 0, mean, ops.full_like(mean, float("nan")))


def root_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """sqrt(numerator / denominator) of two (N,) tensors; inf over 0, and nan where both are 0."""
    known = denominator > 0
    root = ops.sqrt(numerator / ops.where(known, denominator, ops.ones_like(denominator)))
    undefined = ops.where(numerator > 0, ops.full_like(root, float("inf")), ops.full_like(root, float("nan")))
    return ops.where(known, root, undefined)


def _compatible(one: Tensor, other: Tensor) -> bool:
    # A dimension that is only known at run time (None) fits everything.
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))
