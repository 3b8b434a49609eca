"""How far a generator sees, read off its graph of layers."""

import dataclasses
import math
from fractions import Fraction
from typing import Any

from keras import layers

from keras_mrisr.errors import ModelError
from keras_mrisr.models.layers import BicubicUpsampling, ContentNoise, MiddleSlice, PixelShuffle
from keras_mrisr.models.volume_layers import CubicUpsampling, VoxelShuffle
from keras_mrisr.types import Model, Tensor

_CONVOLUTIONS = (layers.Conv2D, layers.Conv3D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_UPSAMPLING = {PixelShuffle: 0, VoxelShuffle: 0, BicubicUpsampling: 2, CubicUpsampling: 2, ContentNoise: 1}
# Each output pixel of these reads the input pixel at its own place only.
_POINTWISE = (
    layers.InputLayer, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU,
    layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum,
    layers.Concatenate, layers.BatchNormalization, layers.Rescaling, layers.Identity, layers.Dropout,
    layers.Dense, MiddleSlice,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What a tile must hold beside its core, and where it may begin.

    Attributes:
        radius: LR pixels on each side of an LR pixel that its `scale` x `scale` outputs depend on.
        period: Tiles must begin at multiples of this: the product of the strides, 1 without them.
    """

    radius: int
    period: int = 1


def receptive_field_radius(generator: Model) -> int:
    """How many LR pixels away an input can still change an output.

    The outputs of one LR pixel are followed back through the graph, layer by layer and axis by axis, as
    the range of pixels that they read. The result is exact where no weight is zero, and never too small.

    Args:
        generator: Functional `keras.Model` from (N, H, W, C), or (N, X, Y, Z, C), to a multiple of that size.

    Returns:
        The largest distance, in LR pixels along an axis.

    Raises:
        ModelError: A layer sees the whole image, or is not known not to.
    """
    return receptive_field(generator).radius


def receptive_field(generator: Model) -> ReceptiveField:
    """The `ReceptiveField` of a generator; see `receptive_field_radius`."""
    ends = [getattr(generator, name, None) or () for name in ("inputs", "outputs")]
    if [len(tensors) for tensors in ends] != [1, 1]:
        raise ModelError(
            "The network cannot be cut into tiles: it is no functional model of one input and one output. "
            "Give it the memory for whole slices."
        )
    radius, period = 0, 1
    for axis in range(1, len(generator.inputs[0].shape) - 1):
        zooms = zooms_along(generator, axis)
        period = math.lcm(period, *(zoom.denominator for zoom in zooms.values()))
        outputs = int(period * zooms[id(generator.outputs[0])])
        first, last = _read_by(generator, (0, outputs - 1), axis)
        radius = max(radius, -first, last - (period - 1))
    return ReceptiveField(radius, period)


def nodes_in_order(model: Model) -> list[Any]:
    """The calls of layers that lead to the output of a functional model, each after those it needs."""
    ordered, seen = [], set()

    def visit(tensor: Tensor) -> None:
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if id(node) in seen:
            return
        seen.add(id(node))
        for earlier in node.input_tensors:
            visit(earlier)
        ordered.append(node)

    visit(model.outputs[0])
    return ordered


def zooms_along(model: Model, axis: int) -> dict[int, Fraction]:
    """How many pixels each tensor has for one of the input's, along an axis: {id of tensor: Fraction}."""
    zooms = {id(model.inputs[0]): Fraction(1)}
    for node in nodes_in_order(model):
        if not node.input_tensors:
            continue
        reads = _reads(node, axis)
        zooms[id(node.output_tensors[0])] = zooms[id(node.input_tensors[0])] * reads.up / reads.stride
    return zooms


def _read_by(model: Model, outputs: tuple[int, int], axis: int) -> tuple[int, int]:
    """The first and last input pixel that the output pixels from `outputs[0]` to `outputs[1]` depend on."""
    ranges = {id(model.outputs[0]): outputs}
    unread: tuple[Any, Any] = (math.inf, -math.inf)
    for node in reversed(nodes_in_order(model)):
        first, last = ranges[id(node.output_tensors[0])]
        if not node.input_tensors:
            continue
        reads = _reads(node, axis)
        for tensor in node.input_tensors:
            low, high = ranges.get(id(tensor), unread)
            ranges[id(tensor)] = (
                min(low, first // reads.up * reads.stride - reads.before),
                max(high, last // reads.up * reads.stride + reads.after),
            )
    return ranges[id(model.inputs[0])]


@dataclasses.dataclass(frozen=True)
class _Reads:
    """Output o reads the inputs from `o // up * stride - before` to `o // up * stride + after`."""

    up: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0


def _reads(node: Any, axis: int) -> _Reads:
    """What the layer of a node reads along `axis` (1 is the first after the batch)."""
    layer = node.operation
    if isinstance(layer, _CONVOLUTIONS) and (layer.padding == "same" or set(layer.kernel_size) == {1}):
        span = (layer.kernel_size[axis - 1] - 1) * layer.dilation_rate[axis - 1]
        return _window(span, layer.strides[axis - 1])
    if isinstance(layer, layers.AveragePooling2D) and layer.padding == "same":
        return _window(layer.pool_size[axis - 1] - 1, layer.strides[axis - 1])
    if type(layer) in _UPSAMPLING:
        factor = layer.factors[axis - 1] if hasattr(layer, "factors") else layer.scale
        reach = _UPSAMPLING[type(layer)] if factor > 1 else 0
        return _Reads(factor, 1, reach, reach)
    if isinstance(layer, _POINTWISE) and _is_same_everywhere(layer, node.output_tensors[0].ndim - 1):
        return _Reads()
    raise ModelError(
        f"The network cannot be cut into tiles: its layer {layer.name!r} ({type(layer).__name__}) is not "
        "known to look at near pixels only. Give it the memory for whole slices, or add the layer to "
        "keras_mrisr/models/receptive_field.py."
    )


def _window(span: int, stride: int) -> _Reads:
    """What a window over `span` + 1 pixels reads with the padding "same"."""
    # It adds just what the last output lacks, the odd pixel at the end.
    before = max(span + 1 - stride, 0) // 2
    return _Reads(1, stride, before, span - before)


def _is_same_everywhere(layer: Any, last: int) -> bool:
    """Whether a layer of `_POINTWISE` treats all places alike; `last` is the axis of the channels."""
    if isinstance(layer, layers.PReLU):
        return set(range(1, last)) <= set(layer.shared_axes or ())
    if isinstance(layer, layers.BatchNormalization | layers.Concatenate):
        return layer.axis in (-1, last)
    return True
