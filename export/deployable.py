"""The same generator in fewer and faster operations, for every format that it is exported to."""

import math

import keras
import numpy as np

from keras_mrisr.models.layers import PixelShuffle
from keras_mrisr.types import Model

_LANES = 16  # Channels that a vector unit works on together; kernels round their channels up to this.


def deployable(generator: Model) -> Model:
    """Folds batch normalisation into convolutions and moves the last pixel shuffle behind the last one.

    Args:
        generator: Functional `keras.Model`; it stays as it is.

    Returns:
        A functional `keras.Model` of the same function, but for rounding.
    """
    return shuffle_last(fold_batch_norm(generator))


def fold_batch_norm(model: Model) -> Model:
    """A copy of a functional model in which batch normalisation is part of the convolution before it.

    In inference it multiplies each channel by a constant and adds another, which the kernel and bias can
    do as well. One that does not follow a convolution of its own, without activation, stays.

    Args:
        model: Functional `keras.Model`.

    Returns:
        The copy.
    """
    # Convolution that each foldable normalisation follows.
    sources = {layer.name: conv for layer in model.layers if (conv := _foldable_source(model, layer))}
    norms = {conv.name: model.get_layer(name) for name, conv in sources.items()}

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config({**config, "use_bias": True} if layer.name in norms else config)

    def call(layer, *inputs, **options):
        return inputs[0] if layer.name in sources else layer(*inputs, **options)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.weights:
            original, norm = model.get_layer(layer.name), norms.get(layer.name)
            layer.set_weights(original.get_weights() if norm is None else _folded(original, norm))
    return copy


def _foldable_source(model: Model, layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """The convolution that a batch normalisation can become part of, or None."""
    if not isinstance(layer, keras.layers.BatchNormalization) or layer.axis not in (-1, layer.input.ndim - 1):
        return None
    conv = _producer(model, layer)
    return conv if _is_plain_conv(conv) and len(_consumers(model, conv)) == 1 else None


def shuffle_last(model: Model) -> Model:
    """A copy of a functional model with its last pixel shuffle behind the convolution that follows it.

    A convolution of the shuffled map is a convolution of the map before the shuffle, with a kernel for
    each phase and a shuffle behind it: the sub-pixel convolution of Shi et al. 2016 ("Real-time single
    image and video super-resolution", section 3.2), read from right to left. The result is the same,
    zero padding included. With the few output channels of an image it is faster (about 5 times in a 9x9
    convolution to 3 channels), because 4 x 3 channels fill a vector register that 3 leave nearly empty,
    and because a few channels are shuffled in place of many.

    Args:
        model: Functional `keras.Model`.

    Returns:
        The copy; the model itself where there is nothing to gain.
    """
    chain = _last_shuffle(model)
    if chain is None:
        return model
    shuffle, *between, conv = chain
    moved = {layer.name for layer in chain}
    built = {}

    def call(layer, *inputs, **options):
        if layer.name not in moved:
            return layer(*inputs, **options)
        if layer.name == shuffle.name:
            return inputs[0]
        if layer.name != conv.name:
            built[layer.name] = type(layer).from_config(layer.get_config())
            return built[layer.name](*inputs)
        filters = conv.filters * shuffle.scale**2
        size = [2 * _reach(edge, shuffle.scale) + 1 for edge in conv.kernel_size]
        config = {**conv.get_config(), "filters": filters, "kernel_size": size}
        built[conv.name] = keras.layers.Conv2D.from_config(config)
        again = PixelShuffle(shuffle.scale, name=f"{conv.name}_shuffle", dtype=conv.dtype_policy)
        return again(built[conv.name](*inputs))

    copy = keras.models.clone_model(model, call_function=call)
    for layer in copy.layers:
        if layer.name not in moved and layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    phases = shuffle.scale**2
    for layer in between:  # Slopes of the PReLU: each phase has those of its channels.
        built[layer.name].set_weights([np.tile(array, phases) for array in layer.get_weights()])
    kernel, *bias = conv.get_weights()
    kernel = _phase_kernel(kernel, shuffle.scale)
    built[conv.name].set_weights([kernel, *(np.tile(array, phases) for array in bias)])
    return copy


def separate_biases(model: Model) -> Model:
    """A copy of a functional model whose convolutions have their bias added behind them, as (1, ..., 1, C).

    For SavedModels. TensorFlow merges Conv and BiasAdd into one oneDNN operation, and with branches, as in a
    residual network, concurrent requests then corrupt its memory: NaN, wrong shapes or a crash, seen with
    TensorFlow 2.19 to 2.21, through its C++ sessions too. It leaves this form alone.

    Args:
        model: Functional `keras.Model`.

    Returns:
        The copy.
    """
    biased = {
        layer.name
        for layer in model.layers
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv3D)) and layer.use_bias
    }
    biases = {}

    def clone(layer):
        config = layer.get_config()
        if layer.name in biased:
            config.update(use_bias=False, activation=None)
        return type(layer).from_config(config)

    def call(layer, *inputs, **options):
        result = layer(*inputs, **options)
        if layer.name not in biased:
            return result
        biases[layer.name] = _Bias(name=f"{layer.name}_bias", dtype=layer.dtype_policy)
        return model.get_layer(layer.name).activation(biases[layer.name](result))

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        *weights, bias = layer.get_weights() or [None]
        if layer.name in biased:
            biases[layer.name].set_weights([bias.reshape(biases[layer.name].bias.shape)])
            copy.get_layer(layer.name).set_weights(weights)
        elif layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


class _Bias(keras.layers.Layer):
    """Adds a number to each channel."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(1,) * (len(input_shape) - 1) + (input_shape[-1],), name="bias")
        super().build(input_shape)

    def call(self, inputs):
        return inputs + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape


def _folded(conv: keras.layers.Layer, norm: keras.layers.Layer) -> list[np.ndarray]:
    """[kernel, bias] of a convolution with the normalisation behind it."""
    kernel, *bias = (array.astype("float64") for array in conv.get_weights())
    mean, variance = (np.asarray(norm.moving_mean, "float64"), np.asarray(norm.moving_variance, "float64"))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * np.asarray(norm.gamma)
    offset = ((bias[0] if bias else 0) - mean) * factor
    if norm.center:
        offset = offset + np.asarray(norm.beta)
    return [(kernel * factor).astype("float32"), offset.astype("float32")]


def _last_shuffle(model: Model) -> list[keras.layers.Layer] | None:
    """[PixelShuffle, layers that keep the channels apart, Conv2D], or None if there is no such chain."""
    conv = next(filter(_can_be_split, reversed(model.layers)), None)
    if conv is None:
        return None
    chain = [conv]
    while chain[0] is conv or isinstance(chain[0], (keras.layers.PReLU, keras.layers.ReLU)):
        source = _producer(model, chain[0])
        if source is None or len(_consumers(model, source)) != 1:
            return None
        chain.insert(0, source)
    if not all(map(_is_one_slope_a_channel, chain)) or not isinstance(chain[0], PixelShuffle):
        return None
    return chain if _gains(conv, chain[0].scale) else None


def _is_one_slope_a_channel(layer: keras.layers.Layer) -> bool:
    return not isinstance(layer, keras.layers.PReLU) or list(layer.shared_axes or []) == [1, 2]


def _can_be_split(conv: keras.layers.Layer) -> bool:
    return (
        isinstance(conv, keras.layers.Conv2D)
        and conv.padding == "same"
        and conv.groups == 1
        and set(conv.strides) == set(conv.dilation_rate) == {1}
        and all(size % 2 for size in conv.kernel_size)
    )


def _gains(conv: keras.layers.Layer, scale: int) -> bool:
    """Whether the convolution before the shuffle costs no more than behind it, with rounded channels."""
    behind = scale**2 * math.prod(conv.kernel_size) * _rounded(conv.filters)
    taps = math.prod(2 * _reach(size, scale) + 1 for size in conv.kernel_size)
    return taps * scale**2 * _rounded(conv.filters * scale**2) <= behind


def _rounded(channels: int) -> int:
    return -(-channels // _LANES) * _LANES


def _reach(size: int, scale: int) -> int:
    """How many pixels a kernel of `size` pixels of the shuffled map reaches on the map before it."""
    return -(-(size // 2) // scale)


def _phase_kernel(kernel: np.ndarray, scale: int) -> np.ndarray:
    """Kernel on the shuffled map (h, w, C, D) -> on the map before it, (h', w', s*s*C, s*s*D)."""
    height, width, channels, filters = kernel.shape
    reach = [_reach(size, scale) for size in (height, width)]
    shape = (2 * reach[0] + 1, 2 * reach[1] + 1, scale, scale, channels, scale, scale, filters)
    phases = np.zeros(shape, kernel.dtype)
    for y, x, i, j in np.ndindex(scale, scale, height, width):
        # Output phase (y, x) takes the pixel (i, j) of its window from phase (from_y, from_x) of a pixel.
        row, from_y = divmod(y + i - height // 2, scale)
        column, from_x = divmod(x + j - width // 2, scale)
        phases[row + reach[0], column + reach[1], from_y, from_x, :, y, x, :] = kernel[i, j]
    return phases.reshape(shape[0], shape[1], scale**2 * channels, scale**2 * filters)


def _is_plain_conv(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv3D)) and (
        layer.activation is keras.activations.linear
    )


def _producer(model: Model, layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """The layer whose output is the one input of `layer`; None for several inputs or a graph's own."""
    found = [other for other in model.layers if other is not layer and other.output is layer.input]
    return found[0] if found else None


def _consumers(model: Model, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that take the output of `layer`; also the model itself where it returns it."""
    takers = [other for other in model.layers if any(layer.output is tensor for tensor in _inputs(other))]
    return takers + [model for tensor in model.outputs if tensor is layer.output]


def _inputs(layer):
    return layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
