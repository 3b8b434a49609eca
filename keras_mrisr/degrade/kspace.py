"""Central crop of k-space: what a scanner measures when it measures fewer frequencies."""

import functools
import math
from typing import Any

import numpy as np

from keras_mrisr.checks import check_counts, check_flags, is_number
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor

WINDOWS = ("none", "hamming", "hann", "tukey", "kaiser", "fermi")
# The shape parameter `alpha` of those that have one: what it is without being given, and the most.
_ALPHA = {"tukey": (0.5, 1.0), "kaiser": (4.0, 20.0), "fermi": (0.05, 0.5)}


class KSpaceCrop(Degradation):
    """Keeps the central 1 / scale of k-space along both axes, aligned with the centres of the pixels.

    The slice is limited to the frequencies |k| <= n / 2 (n LR pixels along an axis), weighted by the
    window, and sampled at the centres of the LR pixels. Cropping the spectrum alone would sample at the
    first of each `scale` HR pixels instead; the ramp exp(2 pi i f (scale - 1) / 2), f in cycles per HR
    pixel, moves that to the middle. For even n the two frequencies +-n / 2 fall on one LR frequency:
    both are kept and add up, as in `scipy.signal.resample`, so that a real image stays real and the
    operator commutes with flips. The mean intensity stays, and edges ring (Gibbs) unless a window damps it.
    The slice counts as periodic, as a scanner's field of view does; of a patch, opposite borders that have
    nothing to do with each other touch, so that whole slices should be degraded.

    All this is one real matrix along each axis, and is computed so. Complex data can therefore be given
    as real and imaginary parts in two channels with `magnitude=False`; `degrade` also takes
    complex arrays, and gives complex ones.

    Args:
        scale: Integer factor, 1 or more.
        window: "none", or with u = |k| / (n / 2) along each axis "hamming" (0.54 + 0.46 cos(pi u)), "hann"
            (0.5 + 0.5 cos(pi u)), "tukey" (1 up to u = 1 - alpha, then down to 0 as a cosine), "kaiser"
            (I0(alpha sqrt(1 - u^2)) / I0(alpha)) or "fermi" (1 / (1 + exp((u - 1 + 4 alpha) / alpha)), which
            is 0.98 in the end of its plateau and 0.02 at u = 1; Bernstein, King and Zhou 2004, "Handbook of
            MRI pulse sequences", section 13.1).
        alpha: Shape of the window: of "tukey" the share of the band that it tapers, over 0 and up to 1, by
            default 0.5; of "kaiser" up to 20, by default 4; of "fermi" the width of its flank, up to 0.5, by
            default 0.05.
        magnitude: Return absolute values, as magnitude images are; False for signed or complex data.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: int
    linear = True

    def __init__(
        self,
        scale: int,
        window: str = "none",
        alpha: float | None = None,
        magnitude: bool = True,
        name: str = "kspace",
    ) -> None:
        check_counts(scale=scale)
        if window not in WINDOWS:
            raise ConfigError(f"window must be one of {', '.join(WINDOWS)}. Received: window={window!r}")
        most = _ALPHA.get(window, (0.0, 0.0))[1]
        if alpha is not None and not (is_number(alpha) and 0 < alpha <= most):
            ranges = ", ".join(f"{top:g} of {name}" for name, (_, top) in _ALPHA.items())
            raise ConfigError(
                f"alpha must be over 0 and up to {ranges}; other windows have none. "
                f"Received: alpha={alpha!r}, window={window!r}"
            )
        check_flags(magnitude=magnitude)
        self.name = name
        self.scale = scale
        self.window = window
        self.alpha = alpha
        self.magnitude = magnitude

    def get_config(self) -> dict[str, Any]:
        return {"window": self.window, "alpha": self.alpha, "magnitude": self.magnitude}

    def axis_matrix(self, size: int) -> np.ndarray:
        return _crop_matrix(size, self.scale, self.window, self.alpha)

    def __call__(self, hr: Tensor) -> Tensor:
        # Imported here, so that `axis_matrix` needs no Keras.
        from keras import ops

        x = ops.convert_to_tensor(hr)
        for axis, product in ((1, "ih,nhwc->niwc"), (2, "jw,nhwc->nhjc")):
            size = ops.shape(x)[axis]
            if isinstance(size, int):
                matrix = self.axis_matrix(size)
            else:  # A graph for any size.
                matrix = _matrix(size // self.scale, self.scale, self.window, self.alpha, ops)
            x = ops.einsum(product, ops.cast(matrix, x.dtype), x)
        return ops.abs(x) if self.magnitude else x

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        if not np.iscomplexobj(hr):
            return super()._on_host(hr)
        rows, columns = (self.axis_matrix(size) for size in hr.shape[:2])
        return np.einsum("ih,hwc,jw->ijc", rows, hr, columns, optimize=True).astype(hr.dtype)


def zero_fill_matrix(count: int, scale: int) -> np.ndarray:
    """Interpolation of `count` pixels by zeros around their spectrum, between the centres of the pixels.

    The right inverse of the crop without a window, and the one of the least energy: A Z = 1, and Z A is
    the projection onto the central k-space.

    Returns:
        Array (count * scale, count), float64; to be treated as read-only.
    """
    return _zero_fill_matrix(count, scale)


@functools.lru_cache(maxsize=16)
def _zero_fill_matrix(count: int, scale: int) -> np.ndarray:
    return scale * _matrix(count, scale, "none", None, np, nyquist=1).T


@functools.lru_cache(maxsize=16)
def _crop_matrix(size: int, scale: int, window: str, alpha: float | None) -> np.ndarray:
    return _matrix(size // scale, scale, window, alpha, np)


def _matrix(
    count: Any, scale: int, window: str, alpha: float | None, xp: Any, nyquist: float | None = None
) -> Tensor:
    """The crop along one axis, (count, count * scale).

    Between pixels x_j, at j + 1/2, and a place t, both in HR pixels, the sum over the band is
    1/N sum_k W_k exp(2 pi i k (t - j - 1/2) / N) = 1/N (W_0 + 2 sum_(k > 0) W_k cos(...)).

    Args:
        count: LR pixels; an integer, or a scalar tensor.
        scale: HR pixels in one.
        window: See `KSpaceCrop`.
        alpha: See `KSpaceCrop`.
        xp: `numpy` (float64), or `keras.ops` (float32).
        nyquist: Weight of k = count / 2: 2 (both of +-k) by default; at scale 1 they are one.
    """
    if nyquist is None:
        nyquist = 2 if scale > 1 else 1
    size = count * scale
    k = xp.arange(count // 2 + 1)
    weight = xp.where(xp.equal(k, 0), 1.0, xp.where(xp.equal(2 * k, count), float(nyquist), 2.0))
    weight = weight * window_weights(xp.divide(2 * k, count), window, alpha, xp)

    def waves(places: Tensor) -> tuple[Tensor, Tensor]:
        # Places in half HR pixels, so that angles are reduced to one turn in whole numbers: in float32
        # the cosine of k t itself would lose digits.
        turns = xp.divide(xp.mod(xp.expand_dims(places, 1) * k, 2 * size), 2 * size)
        angle = 2 * math.pi * turns
        return xp.cos(angle), xp.sin(angle)

    lr_cos, lr_sin = waves(scale * (2 * xp.arange(count) + 1))
    hr_cos, hr_sin = waves(2 * xp.arange(size) + 1)
    weight = xp.divide(weight, size)
    cosines = xp.matmul(lr_cos * weight, xp.transpose(hr_cos))
    return cosines + xp.matmul(lr_sin * weight, xp.transpose(hr_sin))


def window_weights(u: Tensor, window: str, alpha: float | None, xp: Any = np) -> Tensor:
    """Weights of the frequencies u, from 0 to 1 at the edge of the measured k-space; see `KSpaceCrop`."""
    alpha = _ALPHA.get(window, (0.0,))[0] if alpha is None else alpha
    if window == "hamming":
        return 0.54 + 0.46 * xp.cos(math.pi * u)
    if window == "hann":
        return 0.5 + 0.5 * xp.cos(math.pi * u)
    if window == "tukey":
        taper = 0.5 + 0.5 * xp.cos(math.pi * (u - (1 - alpha)) / alpha)
        return xp.where(u <= 1 - alpha, 1.0, taper)
    if window == "kaiser":
        return _bessel_i0(alpha * alpha * xp.maximum(1 - u * u, 0.0)) / _bessel_i0(alpha * alpha)
    if window == "fermi":
        return 1 / (1 + xp.exp((u - 1 + 4 * alpha) / alpha))
    return 1.0


def _bessel_i0(squared: Tensor) -> Tensor:
    """The modified Bessel function I0 of the root of a number up to 400, by its power series."""
    term = total = squared * 0 + 1.0
    for i in range(1, 40):
        term = term * squared / (4 * i * i)
        total = total + term
    return total
