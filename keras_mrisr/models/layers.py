"""Custom layers and initialisers of the generators."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.degrade.kernels import keys_kernel
from keras_mrisr.factors import factors_of, scale_of
from keras_mrisr.replicas import replica_mean
from keras_mrisr.types import Shape, Tensor


@keras.saving.register_keras_serializable("keras_mrisr")
class PixelShuffle(keras.layers.Layer):
    """Rearranges channels into space: (N, H, W, C * s**2) to (N, H * s, W * s, C).

    Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", eq. 4.

    Args:
        scale: The factor s.
    """

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: Tensor) -> Tensor:
        return ops.depth_to_space(inputs, self.scale, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n, height, width, channels = input_shape
        return (
            n,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            channels // self.scale**2,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


# By Keras's name, because it is part of the path of a variable in the backup of a run.
@keras.saving.register_keras_serializable("keras_mrisr")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by the statistics of all ranks, which Keras has for TensorFlow and JAX only."""

    def _moments(self, inputs: Tensor, mask: Any) -> tuple[Tensor, Tensor]:
        axes = tuple(range(len(inputs.shape) - 1))
        mean = replica_mean(ops.mean(inputs, axis=axes))
        return mean, replica_mean(ops.mean(ops.square(inputs - mean), axis=axes))


@keras.saving.register_keras_serializable("keras_mrisr")
class MiddleSlice(keras.layers.Layer):
    """Takes the middle slice out of a stack: (N, H, W, (2k+1) * C) to (N, H, W, C); see `data.neighbours`.

    Args:
        channels: Channels C of one slice.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs: Tensor) -> Tensor:
        return middle_channels(inputs, self.channels)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("keras_mrisr")
class ContentNoise(keras.layers.Layer):
    """Noise drawn from the image itself: (N, H, W, C) in [0, 1] to (N, H * s, W * s, channels) in [-1, 1].

    A convolutional network is the same function at every pixel, so that texture that it makes of a smooth
    image repeats the pattern of its pixels; StyleGAN gives it noise for that (Karras et al. 2019, "A
    style-based generator architecture for generative adversarial networks", section 3.2). Here the noise of a
    pixel is the sine of a fixed random combination of the LR intensities around it, by about a radian for
    each grey level of 255: neighbours share next to nothing, the same image always gets the same noise, in
    tiles as well, and where an image is flat there is none. It has no weights.

    Args:
        scale: The factor s.
        channels: Of the noise.
        seed: Of the combinations.
    """

    def __init__(self, scale: int, channels: int = 1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.channels = channels
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        rng = np.random.default_rng(self.seed)
        shape = (3, 3, input_shape[-1], self.scale**2 * self.channels)
        # Differences of neighbours count, so that brightness alone turns no phase.
        kernel = rng.uniform(-2, 2, shape)
        kernel -= kernel.mean(axis=(0, 1), keepdims=True)
        self._kernel = (255 * kernel).astype("float32")
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        # Repeated edges: zeros around would be far from any intensity.
        x = ops.concatenate([inputs[:, :1], inputs, inputs[:, -1:]], axis=1)
        x = ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
        kernel = ops.cast(ops.convert_to_tensor(self._kernel), inputs.dtype)
        phase = ops.conv(x, kernel, padding="valid", data_format="channels_last")
        return ops.depth_to_space(ops.sin(phase), self.scale, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n, height, width, _ = input_shape
        return (
            n,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            self.channels,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "channels": self.channels, "seed": self.seed}


@keras.saving.register_keras_serializable("keras_mrisr")
class BicubicUpsampling(keras.layers.Layer):
    """Bicubic upscaling by an integer factor, as convolutions and one pixel shuffle.

    Equal to Pillow's BICUBIC (Keys, a = -0.5) away from the border, where Pillow renormalises and this
    layer repeats the edge pixel. It has no weights, and no Resize operation, so that it exports.

    Args:
        scale: The factor.
    """

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape: Shape) -> None:
        phases = _bicubic_phases(self.scale)
        channels = input_shape[-1]
        # One filter for each phase and channel, in depth_to_space's order: phase first, then channel.
        # It is dense in the channels, where most of it is zero: a single convolution exports cleanly.
        kernel = phases[..., np.newaxis] * np.eye(channels)[:, np.newaxis, :]
        self._kernel = kernel.reshape(*phases.shape[:2], channels, -1).astype("float32")
        self._radius = phases.shape[0] // 2
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        r = self._radius
        x = ops.concatenate([inputs[:, :1]] * r + [inputs] + [inputs[:, -1:]] * r, axis=1)
        x = ops.concatenate([x[:, :, :1]] * r + [x] + [x[:, :, -1:]] * r, axis=2)
        kernel = ops.cast(ops.convert_to_tensor(self._kernel), inputs.dtype)
        phases = ops.conv(x, kernel, padding="valid", data_format="channels_last")
        return ops.depth_to_space(phases, self.scale, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n, height, width, channels = input_shape
        return (
            n,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            channels,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def cubic_phases(scale: int) -> np.ndarray:
    """Taps (scale, 5) of Keys' bicubic interpolation (a = -0.5) in one dimension: a row an output phase.

    Output `scale * i + p` is the sum of row p times the inputs i - 2 to i + 2; the grids stay aligned by
    their outer edges.
    """
    positions = (np.arange(scale) + 0.5) / scale - 0.5
    phases = keys_kernel(np.arange(-2, 3) - positions[:, np.newaxis])
    return phases / phases.sum(axis=1, keepdims=True)


def _bicubic_phases(scale: int) -> np.ndarray:
    """Kernel (5, 5, 1, scale**2): one 2-D bicubic interpolation filter for each output phase."""
    phases = cubic_phases(scale)
    kernel = np.einsum("pi,qj->ijpq", phases, phases)
    return kernel.reshape(5, 5, 1, scale * scale)


@keras.saving.register_keras_serializable("keras_mrisr")
class ICNR(keras.initializers.Initializer):
    """Initialises a sub-pixel convolution so that its first output is a nearest upscaling.

    All the s**2 filters that feed one output channel start equal, which leaves no checkerboard
    (Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution", section 3).

    Args:
        scale: The factor of the pixel shuffle that follows, or the factors of a `VoxelShuffle`.
        initializer: Initialiser of the sub-kernel: an object or a name.
    """

    def __init__(self, scale: int | Sequence[int], initializer: Any = "glorot_uniform") -> None:
        self.scale = scale_of(scale)
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        *kernel, channels = shape
        phases = math.prod(factors_of(self.scale))
        base = self.initializer((*kernel, channels // phases), dtype=dtype)
        return ops.tile(base, [1] * len(kernel) + [phases])

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "initializer": keras.initializers.serialize(self.initializer)}
