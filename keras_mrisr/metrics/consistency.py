"""Whether a reconstruction, degraded again, gives back the slice that it was made from."""

from keras import ops

from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.metrics.image_pairs import as_mask, as_pair, check_data_range, masked_mean
from keras_mrisr.types import Tensor


def consistency(
    lr: Tensor, sr: Tensor, degradation: Degradation, data_range: float, mask: Tensor | None = None
) -> Tensor:
    """Root mean square of degrade(SR) - LR of every image, in grey levels of 0..255.

    Args:
        lr: What the reconstructions were made from, (N, h, w, C).
        sr: Reconstructions (N, h * scale, w * scale, C), same range.
        degradation: A `Degradation` that is `fixed`.
        data_range: Distance between the smallest and the largest possible value: 1.0 for images in
            [0, 1], 255 for 8-bit ones. It is never guessed.
        mask: (N, h, w) on the LR grid, bool or weights; None for all.

    Returns:
        Tensor (N,): 0 where nothing was made up, `nan` where the mask is empty.

    Raises:
        ConfigError: Shapes don't fit, the degradation differs from image to image, or `data_range` is no
            positive number.
    """
    check_data_range(data_range)
    degradation.require_fixed()
    again = degradation(ops.cast(sr, "float32") / data_range)
    if again.shape != ops.shape(lr):
        raise ConfigError(
            "The degraded reconstruction and LR differ in shape: is the degradation of another scale? "
            f"Received: degraded={tuple(again.shape)}, lr={tuple(ops.shape(lr))}"
        )
    return rms_difference(lr, again * data_range, data_range, mask)


def rms_difference(one: Tensor, two: Tensor, data_range: float, mask: Tensor | None = None) -> Tensor:
    """Root mean square difference of every pair of images (N, H, W, C), in grey levels of 0..255: (N,)."""
    check_data_range(data_range)
    one, two = as_pair(one, two)
    mask = None if mask is None else as_mask(mask, one)
    return (255 / data_range) * ops.sqrt(masked_mean(ops.square(one - two), mask))
