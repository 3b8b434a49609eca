"""Custom layers and initialisers of the generators."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_mrisr")
class PixelShuffle(keras.layers.Layer):
    """Rearranges channels into space: (N, H, W, C * s**2) to (N, H * s, W * s, C).

    Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", eq. 4.

    Args:
        scale: The factor s.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return ops.depth_to_space(inputs, self.scale, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        return (
            n,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            channels // self.scale**2,
        )

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("keras_mrisr")
class BicubicUpsampling(keras.layers.Layer):
    """Bicubic enlargement by an integer factor, as convolutions and one pixel shuffle.

    Equal to Pillow's BICUBIC (Keys, a = -0.5) away from the border, where Pillow renormalises and this
    layer repeats the edge pixel. It has no weights, and no Resize operation, so that it exports.

    Args:
        scale: The factor.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape):
        self._kernel = _bicubic_phases(self.scale)
        self._radius = self._kernel.shape[0] // 2
        super().build(input_shape)

    def call(self, inputs):
        r = self._radius
        x = inputs
        for axis in (1, 2):
            first = ops.take(x, [0] * r, axis=axis)
            last = ops.flip(ops.take(ops.flip(x, axis=axis), [0] * r, axis=axis), axis=axis)
            x = ops.concatenate([first, x, last], axis=axis)
        kernel = ops.cast(ops.convert_to_tensor(self._kernel), inputs.dtype)
        channels = inputs.shape[-1]
        planes = [ops.conv(x[..., c : c + 1], kernel, padding="valid") for c in range(channels)]
        # Channel order of depth_to_space: phase first, then image channel.
        stacked = ops.stack(planes, axis=-1)
        n, height, width = (ops.shape(stacked)[i] for i in range(3))
        flat = ops.reshape(stacked, (n, height, width, self.scale**2 * channels))
        return ops.depth_to_space(flat, self.scale, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        return (
            n,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            channels,
        )

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def _bicubic_phases(scale):
    """Kernel (5, 5, 1, scale**2): one 2-D bicubic interpolation filter for each output phase."""
    import numpy as np

    phases = np.zeros((scale, 5))
    for phase in range(scale):
        position = (phase + 0.5) / scale - 0.5
        x = np.abs(np.arange(-2, 3) - position)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        phases[phase] = np.where(x < 1, near, np.where(x < 2, far, 0))
    phases /= phases.sum(axis=1, keepdims=True)
    kernel = np.einsum("pi,qj->ijpq", phases, phases)
    return kernel.reshape(5, 5, 1, scale * scale).astype("float32")


@keras.saving.register_keras_serializable("keras_mrisr")
class ICNR(keras.initializers.Initializer):
    """Initialises a sub-pixel convolution so that its first output is a nearest enlargement.

    All the s**2 filters that feed one output channel start equal, which leaves no checkerboard
    (Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution", section 3).

    Args:
        scale: The factor of the pixel shuffle that follows.
        initializer: Initialiser of the sub-kernel: an object or a name.
    """

    def __init__(self, scale, initializer="glorot_uniform"):
        self.scale = scale
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape, dtype=None):
        *kernel, channels = shape
        base = self.initializer((*kernel, channels // self.scale**2), dtype=dtype)
        return ops.tile(base, [1] * len(kernel) + [self.scale**2])

    def get_config(self):
        return {"scale": self.scale, "initializer": keras.initializers.serialize(self.initializer)}
