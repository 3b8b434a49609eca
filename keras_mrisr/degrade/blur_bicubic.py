"""Gaussian blur, then bicubic downsampling: the paper's degradation and the plain bicubic one."""

from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from keras_mrisr.checks import check_counts, check_flags, is_number
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.kernels import bicubic_kernel, gaussian_kernel, pillow_box_kernels
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor


class BlurBicubic(Degradation):
    """Gaussian blur and bicubic downsampling by an integer factor.

    With the default arguments the result agrees with Pillow's `GaussianBlur(sigma)` and
    `resize(BICUBIC)` within the rounding of its 8-bit intermediate images. `degrade` on 8-bit
    slices calls Pillow itself when the parameters are Pillow's.

    Args:
        scale: Integer factor, 1 or more.
        sigma: Standard deviation of the blur in HR pixels; 0 for none.
        kernel: "pillow" for Pillow's three box filters, "gaussian" for a sampled Gaussian.
        kernel_size: Odd number of taps of the sampled Gaussian; by default 2 * ceil(4 * sigma) + 1.
        antialias: Stretch the bicubic kernel by the scale.
        round_8bit: Round the result to multiples of 1/255 (for input in [0, 1]); the gradient passes
            straight through.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: int
    linear = True

    def __init__(
        self,
        scale: int,
        sigma: float = 2.0,
        kernel: str = "pillow",
        kernel_size: int | None = None,
        antialias: bool = True,
        round_8bit: bool = False,
        name: str = "paper",
    ) -> None:
        check_counts(scale=scale)
        _check_blur(sigma, kernel, kernel_size)
        check_flags(antialias=antialias, round_8bit=round_8bit)
        self.name = name
        self.scale = scale
        self.sigma = float(sigma)
        self.kernel = kernel
        self.kernel_size = kernel_size
        self.antialias = antialias
        self.round_8bit = round_8bit
        pillow = kernel == "pillow"
        self._blurs = pillow_box_kernels(self.sigma) if pillow else [gaussian_kernel(self.sigma, kernel_size)]
        self._bicubic: np.ndarray
        self._bicubic, self._first = bicubic_kernel(scale, antialias) if scale > 1 else (np.ones(1), 0)

    @property
    def smallest_size(self) -> tuple[int, ...]:
        blur = 1 + sum(len(kernel) - 1 for kernel in self._blurs)
        return (max(blur, len(self._bicubic)),) * 2

    def get_config(self) -> dict[str, Any]:
        return {
            "sigma": self.sigma,
            "kernel": self.kernel,
            "kernel_size": self.kernel_size,
            "antialias": self.antialias,
            "round_8bit": self.round_8bit,
        }

    def __call__(self, hr: Tensor) -> Tensor:
        # Imported here, so that `axis_matrix` needs no Keras.
        from keras import ops

        x = ops.convert_to_tensor(hr)
        for axis in (1, 2):
            x = self._degrade_axis(x, axis)
        if self.round_8bit:
            rounded = ops.round(ops.clip(x, 0.0, 1.0) * 255.0) / 255.0
            x = x + ops.stop_gradient(rounded - x)
        return x

    def axis_matrix(self, size: int) -> np.ndarray:
        matrix = np.eye(size)
        for kernel in self._blurs:
            radius = len(kernel) // 2
            places = np.arange(size)[:, np.newaxis] + np.arange(-radius, radius + 1)
            matrix = np.einsum("k,nkm->nm", kernel, matrix[np.clip(places, 0, size - 1)])
        first = np.arange(size // self.scale)[:, np.newaxis] * self.scale + self._first
        places = first + np.arange(len(self._bicubic))
        # Outside pixels weigh nothing, as in Pillow.
        taps = np.where((places >= 0) & (places < size), self._bicubic, 0)
        taps = taps / taps.sum(axis=1, keepdims=True)
        return np.einsum("nk,nkm->nm", taps, matrix[np.clip(places, 0, size - 1)])

    def _degrade_axis(self, x: Tensor, axis: int) -> Tensor:
        from keras_mrisr.degrade.axis_filters import blur_axis, downsample_axis

        for kernel in self._blurs:
            x = blur_axis(x, kernel, axis)
        return downsample_axis(x, self._bicubic, self._first, self.scale, axis)

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        if hr.dtype != np.uint8 or self.kernel != "pillow" or not self.antialias:
            return super()._on_host(hr)
        size = (hr.shape[1] // self.scale, hr.shape[0] // self.scale)
        planes = []
        for channel in np.moveaxis(hr, -1, 0):
            image = Image.fromarray(np.ascontiguousarray(channel))
            if self.sigma:
                image = image.filter(ImageFilter.GaussianBlur(self.sigma))
            planes.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
        return np.stack(planes, axis=-1)


def _check_blur(sigma: object, kernel: object, kernel_size: object) -> None:
    if not is_number(sigma) or sigma < 0:  # type: ignore[operator]
        raise ConfigError(f"sigma must be 0 or more, in HR pixels. Received: sigma={sigma!r}")
    if kernel not in ("pillow", "gaussian"):
        raise ConfigError(f"kernel must be 'pillow' or 'gaussian'. Received: kernel={kernel!r}")
    odd = isinstance(kernel_size, int) and kernel_size >= 1 and kernel_size % 2 == 1
    if kernel_size is not None and (kernel != "gaussian" or not odd):
        raise ConfigError(
            "kernel_size must be odd and belongs to kernel='gaussian'. "
            f"Received: kernel_size={kernel_size!r}, kernel={kernel!r}"
        )
