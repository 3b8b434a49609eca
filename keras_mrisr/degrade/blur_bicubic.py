"""Gaussian blur, then bicubic downsampling: the paper's degradation and the plain bicubic one."""

import numpy as np
from keras import ops
from PIL import Image, ImageFilter

from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.kernels import bicubic_kernel, gaussian_kernel, pillow_box_kernels
from keras_mrisr.errors import InputError


class BlurBicubic(Degradation):
    """Gaussian blur and bicubic downsampling by an integer factor.

    With the default arguments the result agrees with Pillow's `GaussianBlur(sigma)` and
    `resize(BICUBIC)` within the rounding of its 8-bit intermediate images. `degrade_image` on 8-bit
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
        InputError: An argument is out of range.
    """

    def __init__(
        self,
        scale,
        sigma=2.0,
        kernel="pillow",
        kernel_size=None,
        antialias=True,
        round_8bit=False,
        name="paper",
    ):
        if not isinstance(scale, int) or scale < 1:
            raise InputError(f"scale must be an integer of 1 or more. Received: scale={scale!r}")
        if not sigma >= 0:
            raise InputError(f"sigma must be 0 or more, in HR pixels. Received: sigma={sigma!r}")
        if kernel not in ("pillow", "gaussian"):
            raise InputError(f"kernel must be 'pillow' or 'gaussian'. Received: kernel={kernel!r}")
        if kernel_size is not None and (kernel != "gaussian" or kernel_size < 1 or kernel_size % 2 == 0):
            raise InputError(
                "kernel_size must be odd and belongs to kernel='gaussian'. "
                f"Received: kernel_size={kernel_size!r}, kernel={kernel!r}"
            )
        self.name = name
        self.scale = scale
        self.sigma = float(sigma)
        self.kernel = kernel
        self.kernel_size = kernel_size
        self.antialias = antialias
        self.round_8bit = round_8bit
        pillow = kernel == "pillow"
        self._blurs = pillow_box_kernels(self.sigma) if pillow else [gaussian_kernel(self.sigma, kernel_size)]
        self._bicubic, self._first = bicubic_kernel(scale, antialias) if scale > 1 else (np.ones(1), 0)

    @property
    def smallest_size(self):
        blur = 1 + sum(len(kernel) - 1 for kernel in self._blurs)
        return max(blur, len(self._bicubic))

    def get_config(self):
        return {
            "sigma": self.sigma,
            "kernel": self.kernel,
            "kernel_size": self.kernel_size,
            "antialias": self.antialias,
            "round_8bit": self.round_8bit,
        }

    def __call__(self, hr):
        x = ops.convert_to_tensor(hr)
        for axis in (1, 2):
            x = self._degrade_axis(x, axis)
        if self.round_8bit:
            rounded = ops.round(ops.clip(x, 0.0, 1.0) * 255.0) / 255.0
            x = x + ops.stop_gradient(rounded - x)
        return x

    def axis_matrix(self, size):
        columns = ops.expand_dims(ops.eye(size), (0, -1))
        return ops.convert_to_numpy(self._degrade_axis(columns, axis=1))[0, ..., 0].astype("float64")

    def _degrade_axis(self, x, axis):
        for kernel in self._blurs:
            x = _blur_axis(x, kernel, axis)
        return _downsample_axis(x, self._bicubic, self._first, self.scale, axis)

    def degrade_image(self, hr):
        if hr.dtype != np.uint8 or self.kernel != "pillow" or not self.antialias:
            return super().degrade_image(hr)
        self.check_size(hr.shape)
        size = (hr.shape[1] // self.scale, hr.shape[0] // self.scale)
        planes = []
        for channel in np.moveaxis(hr, -1, 0):
            image = Image.fromarray(np.ascontiguousarray(channel))
            if self.sigma:
                image = image.filter(ImageFilter.GaussianBlur(self.sigma))
            planes.append(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
        return np.stack(planes, axis=-1)


def _blur_axis(x, kernel, axis):
    """Convolves `axis` of (N, H, W, C) with an odd `kernel`; the edge pixel is repeated, as in Pillow."""
    radius = len(kernel) // 2
    if radius == 0:
        return x
    size = ops.shape(x)[axis]
    index = ops.clip(ops.arange(-radius, size + radius, dtype="int32"), 0, size - 1)
    return _filter_axis(ops.take(x, index, axis=axis), kernel, axis, stride=1)


def _downsample_axis(x, taps, first, scale, axis):
    """Takes every `scale`-th value of the filtered `axis`; outside pixels weigh nothing, as in Pillow."""
    if scale == 1:
        return x
    size = ops.shape(x)[axis]
    # Taps reach `-first` pixels before the first LR pixel's block, and as many after the last one's.
    after = len(taps) + first - scale
    padding = [[0, 0]] * 4
    padding[axis] = [-first, after]
    inside = ops.ones([1, size, 1, 1] if axis == 1 else [1, 1, size, 1], dtype=x.dtype)
    weight = _filter_axis(ops.pad(inside, padding), taps, axis, stride=scale)
    return _filter_axis(ops.pad(x, padding), taps, axis, stride=scale) / weight


def _filter_axis(x, taps, axis, stride):
    """Correlates one axis of (N, H, W, C) with `taps`, the same for all channels, without padding."""
    n, height, width, channels = (ops.shape(x)[i] for i in range(4))
    kernel = ops.convert_to_tensor(taps.reshape((-1, 1, 1, 1)), dtype=x.dtype)
    # The other axes move into width and batch: a convolution of one channel needs no grouped kernel.
    if axis == 1:
        flat = ops.reshape(x, (n, height, width * channels, 1))
        out = ops.conv(flat, kernel, strides=(stride, 1), padding="valid")
        return ops.reshape(out, (n, -1, width, channels))
    flat = ops.reshape(x, (n * height, width, channels, 1))
    out = ops.conv(flat, kernel, strides=(stride, 1), padding="valid")
    return ops.reshape(out, (n, height, -1, channels))
