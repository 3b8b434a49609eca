"""What every degradation promises."""

import abc

import numpy as np

from keras_mrisr.errors import ConfigError
from keras_mrisr.volumes.stored_values import rounded


class Degradation(abc.ABC):
    """Turns high-resolution (HR) slices into low-resolution (LR) ones; the grids stay aligned.

    Subclasses set `name` and `scale`, and implement `__call__` and `get_config`; those that are linear
    and work along the axes one after the other also implement `axis_matrix`.

    Attributes:
        name: What it is called in messages and in `model.json`.
        scale: Integer factor between HR and LR.
        magnitude: Whether it ends with the absolute value.
    """

    name: str
    scale: int
    magnitude: bool = False

    @abc.abstractmethod
    def __call__(self, hr):
        """Degrades a batch on the device; differentiable.

        Args:
            hr: Tensor (N, H, W, C), float, nominally in [0, 1]; H and W multiples of `scale`.

        Returns:
            Tensor (N, H / scale, W / scale, C) of the same dtype.
        """

    @abc.abstractmethod
    def get_config(self):
        """The arguments that make this object again, as plain values."""

    def axis_matrix(self, size):
        """The degradation along one axis of `size` HR pixels, for what must be undone exactly.

        Every channel of a slice X becomes `M_rows X M_columns^T`, but for rounding and absolute values.

        Returns:
            Array (size / scale, size), float64; to be treated as read-only.

        Raises:
            ConfigError: The degradation is not of this form.
        """
        raise ConfigError(
            f"The degradation {self.name!r} has no matrix along an axis: leave out --consistency with it."
        )

    @property
    def smallest_size(self):
        """The smallest height and width, in HR pixels, that can be degraded."""
        return self.scale

    def of_slice(self, hr):
        """The degradation of this one slice (H, W, C): itself, but where each slice has one of its own."""
        return self

    def degrade_image(self, hr):
        """Degrades one whole slice on the host.

        Args:
            hr: Array (H, W, C), uint8, uint16 or float32; H and W multiples of `scale`.

        Returns:
            Array (H / scale, W / scale, C) of the same dtype; integers are rounded and clipped.

        Raises:
            ConfigError: The slice is too small or its size is no multiple of the scale.
        """
        from keras import ops

        self.check_size(hr.shape)
        # `__call__` is promised [0, 1]: rounding or noise would mean something else on 0..65535.
        top = np.float32(np.iinfo(hr.dtype).max if np.issubdtype(hr.dtype, np.integer) else 1)
        x = hr[np.newaxis].astype("float32") / top
        lr = ops.convert_to_numpy(self(ops.convert_to_tensor(x)))[0]
        return rounded(lr * top, hr.dtype)

    def check_size(self, shape, original=None):
        """Raises ConfigError unless `shape` (H, W, ...) can be degraded.

        Args:
            shape: Of the slice.
            original: Of the slice before it was cropped to a multiple of the scale, for the message.
        """
        height, width = shape[:2]
        if min(height, width) < self.smallest_size:
            given = "x".join(map(str, (original or shape)[:2]))
            least = -(-self.smallest_size // self.scale) * self.scale
            raise ConfigError(
                f"A slice of {given} is too small for the degradation {self.name!r} at scale {self.scale}: "
                f"it needs at least {least}x{least} pixels. Leave such slices out, or choose another "
                "degradation."
            )
        if height % self.scale or width % self.scale:
            raise ConfigError(
                f"A slice of {height}x{width} cannot be divided by the scale {self.scale}: "
                "crop or pad it to a multiple."
            )

    def to_dict(self):
        """Name and arguments, as stored in `model.json`; `get_degradation(**d)` makes it again."""
        return {"name": self.name, "scale": self.scale, **self.get_config()}

    def __repr__(self):
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_dict().items())
        return f"{type(self).__name__}({arguments})"
