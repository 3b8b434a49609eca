"""What every degradation promises."""

import abc
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import ConfigError
from keras_mrisr.factors import factors_of, scale_text
from keras_mrisr.types import Tensor
from keras_mrisr.volumes.stored_values import rounded


class Degradation(abc.ABC):
    """Turns high-resolution (HR) images into low-resolution (LR) ones; the grids stay aligned.

    Images are slices (H, W, C) or volumes (X, Y, Z, C), as `dimensions` says: every axis but that of the
    channels has a factor. Subclasses set `name` and `scale`, and implement `__call__` and `get_config`;
    those that are linear and work along the axes one after the other also implement `axis_matrix`.

    Attributes:
        name: What it is called in messages and in `model.json`.
        scale: Integer factor between HR and LR; one for each axis of volumes.
        dimensions: 2 for slices, 3 for volumes.
        linear: Whether it has an `axis_matrix`.
        magnitude: Whether it ends with the absolute value.
        fixed: Whether all images are degraded alike. Only then can what a network made of LR be degraded
            again, to compare it with LR.
        measured: Whether LR was measured, and comes from files: then nothing else can be degraded.
    """

    name: str
    scale: int | tuple[int, ...]
    dimensions: int = 2
    linear: bool = False
    magnitude: bool = False
    fixed: bool = True
    measured: bool = False

    @property
    def factors(self) -> tuple[int, ...]:
        """The factor of each axis: (f, f) of slices, (fx, fy, fz) of volumes."""
        return factors_of(self.scale)

    @abc.abstractmethod
    def __call__(self, hr: Tensor) -> Tensor:
        """Degrades a batch on the device; differentiable.

        Args:
            hr: Tensor (N, H, W, C) or (N, X, Y, Z, C), float, nominally in [0, 1]; sizes are multiples of
                the factors.

        Returns:
            Tensor of the same dtype, its sizes divided by the factors.
        """

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments that make this object again, as plain values."""

    def axis_matrix(self, size: int) -> np.ndarray:
        """The degradation along one axis of `size` HR pixels, for what must be undone exactly.

        Every channel of a slice X becomes `M_rows X M_columns^T`, but for rounding and absolute values.

        Returns:
            Array (size / scale, size), float64; to be treated as read-only.

        Raises:
            ConfigError: The degradation is not of this form.
        """
        raise ConfigError(
            f"The degradation {self.name!r} has no matrix along an axis: leave out `consistency` with it."
        )

    @property
    def smallest_size(self) -> tuple[int, ...]:
        """The smallest size of each axis, in HR pixels, that can be degraded."""
        return self.factors

    def require_fixed(self) -> None:
        """Raises ConfigError where images are not all degraded alike, so that SR cannot be degraded again."""
        if not self.fixed:
            raise ConfigError(
                f"The degradation {self.name!r} differs from image to image, so that nothing can be degraded "
                "again to compare it with LR: leave out what asks for that (such as "
                "adversarial.consistency_weight), or choose paper or bicubic."
            )

    def of_slice(self, hr: np.ndarray) -> "Degradation":
        """The degradation of this one slice (H, W, C): itself, but where each slice has one of its own."""
        return self

    def degrade(self, hr: np.ndarray) -> np.ndarray:
        """Degrades one whole image on the host.

        Args:
            hr: Array (H, W, C) or (X, Y, Z, C), uint8, uint16 or float32; sizes are multiples of the factors.

        Returns:
            Array of the same dtype, its sizes divided by the factors; integers are rounded and clipped.

        Raises:
            ConfigError: The image is too small, of another number of axes, or its size is no multiple of the
                factors.
        """
        self.check_size(hr.shape)
        return self._on_host(hr)

    def lr_of(self, hr: np.ndarray, name: str) -> np.ndarray:
        """LR of an image of a data set, whose path in its folder is `name`: here `degrade(hr)`."""
        return self.degrade(hr)

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        """`degrade` of an image whose size is known to fit; here by `__call__`."""
        from keras import ops

        # `__call__` is promised [0, 1]: rounding or noise would mean something else on 0..65535.
        top = np.float32(np.iinfo(hr.dtype).max if np.issubdtype(hr.dtype, np.integer) else 1)
        x = hr[np.newaxis].astype("float32") / top
        lr = ops.convert_to_numpy(self(ops.convert_to_tensor(x)))[0]
        return rounded(lr * top, hr.dtype)

    def degrade_image(self, hr: np.ndarray) -> np.ndarray:
        """The old name of `degrade`, for one release."""
        warnings.warn("degrade_image is now degrade.", DeprecationWarning, stacklevel=2)
        return self.degrade(hr)

    def degrade_volume(self, hr: np.ndarray) -> np.ndarray:
        """The old name of `degrade`, for one release."""
        warnings.warn("degrade_volume is now degrade.", DeprecationWarning, stacklevel=2)
        return self.degrade(hr)

    def check_size(self, shape: Sequence[int], original: Sequence[int] | None = None) -> None:
        """Raises ConfigError unless an image of `shape` (H, W, C) or (X, Y, Z, C) can be degraded.

        Args:
            shape: Shape of the image.
            original: Shape before it was cropped to multiples of the factors, for the message.
        """
        kind, other, pixels = ("slice", "volume", "pixels") if self.dimensions == 2 else _VOLUME
        if len(shape) != self.dimensions + 1:
            raise ConfigError(
                f"The degradation {self.name!r} is for {kind}s, not for {other}s. "
                f"Received: an array of shape {tuple(shape)}"
            )
        sizes = shape[:-1]
        if any(size < least for size, least in zip(sizes, self.smallest_size, strict=True)):
            pairs = zip(self.smallest_size, self.factors, strict=True)
            least = "x".join(str(-(-size // factor) * factor) for size, factor in pairs)
            given = "x".join(map(str, (original or shape)[:-1]))
            raise ConfigError(
                f"A {kind} of {given} is too small for the degradation {self.name!r} at scale "
                f"{scale_text(self.scale)}: it needs at least {least} {pixels}. Leave such {kind}s out, or "
                "choose another degradation."
            )
        if any(size % factor for size, factor in zip(sizes, self.factors, strict=True)):
            raise ConfigError(
                f"A {kind} of {'x'.join(map(str, sizes))} cannot be divided by the scale "
                f"{scale_text(self.scale)}: crop or pad it to a multiple."
            )

    def to_dict(self) -> dict[str, Any]:
        """Name and arguments, as stored in `model.json`; `get_degradation(**d)` makes it again."""
        return {"name": self.name, "scale": self.scale, **self.get_config()}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_dict().items())
        return f"{type(self).__name__}({arguments})"


_VOLUME = ("volume", "slice", "voxels")
