"""What every degradation promises."""

import abc

import numpy as np

from keras_mrisr.errors import InputError


class Degradation(abc.ABC):
    """Turns high-resolution (HR) slices into low-resolution (LR) ones; the grids stay aligned.

    Subclasses set `name` and `scale`, and implement `__call__` and `get_config`.
    """

    name: str
    scale: int

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

    @property
    def smallest_size(self):
        """The smallest height and width, in HR pixels, that can be degraded."""
        return self.scale

    def degrade_image(self, hr):
        """Degrades one whole slice on the host.

        Args:
            hr: Array (H, W, C), uint8, uint16 or float32; H and W multiples of `scale`.

        Returns:
            Array (H / scale, W / scale, C) of the same dtype; integers are rounded and clipped.

        Raises:
            InputError: The slice is too small or its size is no multiple of the scale.
        """
        from keras import ops

        self.check_size(hr.shape)
        # `__call__` is promised [0, 1]: rounding or noise would mean something else on 0..65535.
        top = np.iinfo(hr.dtype).max if np.issubdtype(hr.dtype, np.integer) else None
        x = hr[np.newaxis].astype("float32") / np.float32(top or 1)
        lr = ops.convert_to_numpy(self(ops.convert_to_tensor(x)))[0]
        if top is not None:
            lr = np.clip(np.rint(lr * np.float32(top)), 0, top)
        return lr.astype(hr.dtype)

    def check_size(self, shape):
        """Raises InputError unless `shape` (H, W, ...) can be degraded."""
        height, width = shape[:2]
        if min(height, width) < self.smallest_size:
            raise InputError(
                f"A slice of {height}x{width} is too small for the degradation {self.name!r} at scale "
                f"{self.scale}: it needs at least {self.smallest_size}x{self.smallest_size} pixels."
            )
        if height % self.scale or width % self.scale:
            raise InputError(
                f"A slice of {height}x{width} cannot be divided by the scale {self.scale}: "
                "crop or pad it to a multiple."
            )

    def to_dict(self):
        """Name and arguments, as stored in `model.json`; `get_degradation(**d)` makes it again."""
        return {"name": self.name, "scale": self.scale, **self.get_config()}

    def __repr__(self):
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_dict().items())
        return f"{type(self).__name__}({arguments})"
