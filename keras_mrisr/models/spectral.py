"""Convolution and dense layer with a kernel of spectral norm 1."""

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_mrisr.types import Shape, Tensor

if TYPE_CHECKING:
    from keras.layers import Layer as _Base
else:
    _Base = object

# `keras.layers.SpectralNormalization` was tried: it overwrites the kernel in the forward pass, which
# rounds the master weights to half precision under mixed_float16, and is no reparametrisation: the
# gradient ignores the norm.


class _SpectralKernel(_Base):
    """Mixin of a layer with `kernel` (..., outputs), Miyato et al. 2018, algorithm 1.

    The largest singular value is estimated by one power iteration a call, whose start `vector_u` is kept
    from one training call to the next. The gradient flows through the division.
    """

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.vector_u = self.add_weight(
            name="vector_u",
            shape=(1, self.kernel.shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            dtype="float32",
            autocast=False,
            trainable=False,
        )

    def normalized_kernel(self, training: bool = False) -> Tensor:
        """The kernel divided by its largest singular value, in the compute type."""
        kernel = ops.cast(self.kernel, "float32")
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        fixed = ops.stop_gradient(matrix)
        v = _unit(ops.matmul(ops.convert_to_tensor(self.vector_u), ops.transpose(fixed)))
        u = _unit(ops.matmul(v, fixed))
        if training:
            self.vector_u.assign(u)
        norm = ops.sum(ops.matmul(v, matrix) * u)
        return ops.cast(kernel / ops.maximum(norm, 1e-12), self.compute_dtype)

    # Convolution and dense layers save their kernel and bias only: here all variables count.
    def save_own_variables(self, store: Any) -> None:
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        keras.layers.Layer.load_own_variables(self, store)


def _unit(row: Tensor) -> Tensor:
    return row * ops.rsqrt(ops.maximum(ops.sum(ops.square(row)), 1e-24))


@keras.saving.register_keras_serializable("keras_mrisr")
class SpectralConv2D(_SpectralKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, channels last, whose kernel as a matrix has the spectral norm 1."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        x = self.convolution_op(inputs, self.normalized_kernel(training))
        if self.use_bias:
            x = x + ops.convert_to_tensor(self.bias)
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable("keras_mrisr")
class SpectralDense(_SpectralKernel, keras.layers.Dense):
    """`keras.layers.Dense` whose kernel has the spectral norm 1."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        x = ops.matmul(inputs, self.normalized_kernel(training))
        if self.use_bias:
            x = x + ops.convert_to_tensor(self.bias)
        return x if self.activation is None else self.activation(x)
