"""Surgery on the graph that Keras and tf2onnx write: one ONNX node for what is one layer."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from keras_mrisr.export.onnx_nodes import Nodes, attributes, set_attribute

_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # Between channels-last and channels-first slices.
_ALL = 2**31 - 1  # The end of a slice that has none.


def merge_prelu(nodes: Nodes) -> None:
    """Relu(x) + Relu(-x) * -a, as Keras computes a PReLU, becomes PRelu(x, a)."""
    for total in list(nodes.nodes):
        if total.op_type != "Add":
            continue
        for positive, scaled in (total.input, reversed(total.input)):
            relu, product = nodes.producer(positive, "Relu"), nodes.producer(scaled, "Mul")
            found = relu and product and _negative_part(nodes, product)
            if not found or found[0] != relu.input[0]:
                continue
            slope = nodes.constant(-nodes.constants[found[1]], f"{total.name}_slope")
            nodes.replace(total, [helper.make_node("PRelu", [found[0], slope], total.output, total.name)])
            break


def _negative_part(nodes: Nodes, product: onnx.NodeProto) -> tuple[onnx.NodeProto, np.ndarray] | None:
    """(x, b) of Relu(-x) * b with a constant b, or None."""
    for factor, constant in (product.input, reversed(product.input)):
        relu = nodes.producer(factor, "Relu")
        negative = relu and nodes.producer(relu.input[0], "Neg")
        if negative and constant in nodes.constants:
            return negative.input[0], constant
    return None


def restore_transposes(nodes: Nodes) -> None:
    """Transpositions of one-channel slices, which tf2onnx writes as reshapes, become Transpose again.

    So that they can be moved and cancelled like those of more channels.
    """
    for node in list(nodes.nodes):
        found = _transposition(nodes, node) if node.op_type == "Reshape" else None
        if found:
            source, order, last = found
            turn = helper.make_node("Transpose", [source], last.output, node.name, perm=order)
            nodes.replace(last, [turn])


def _transposition(nodes: Nodes, reshape: onnx.NodeProto) -> tuple[str, list[int], onnx.NodeProto] | None:
    """(input, order of axes, last node) of a Reshape that stands for a transposition, or None."""
    shape = nodes.constants.get(reshape.input[1])
    shape = [] if shape is None else shape.tolist()
    before = nodes.producer(reshape.input[0], "Unsqueeze")
    if shape == [-1, 1, 0, 0] and before is not None:
        return before.input[0], _FIRST, reshape
    after = nodes.consumers(reshape.output[0])
    if shape == [1, -1, 0, 0, 1]:
        # A Squeeze takes the 1 in front away again. tf2onnx 1.17 loses it now and then before the output.
        squeezed = [node.op_type for node in after] == ["Squeeze"]
        return reshape.input[0], _LAST, after[0] if squeezed else reshape
    order = _order_of_fixed(nodes.shape(reshape.input[0]) or [], shape)
    return None if order is None else (reshape.input[0], order, reshape)


def _order_of_fixed(known: list[int | None], shape: list[int]) -> list[int] | None:
    """The order of axes that a Reshape between fixed sizes stands for, by what comes in; or None."""
    if not len(shape) == len(known) == 4 or shape[0] != -1:
        return None
    if known[3] == 1 and [1, *known[1:3]] == shape[1:]:
        return _FIRST
    return _LAST if known[1] == 1 and [*known[2:], 1] == shape[1:] else None


def trim_slices(nodes: Nodes) -> None:
    """Slice gets rid of the axes along which it takes everything."""
    for node in nodes.nodes:
        if node.op_type != "Slice":
            continue
        values = [nodes.constants.get(name) for name in node.input[1:]]
        if len(values) < 3 or any(value is None for value in values):
            continue
        starts, ends, _, *steps = values
        cut = (starts != 0) | (ends < _ALL) | (steps[0] != 1 if steps else False)
        if not cut.all():
            for place, value in enumerate(values, start=1):
                node.input[place] = nodes.constant(value[cut], node.input[place])


def merge_edge_pads(nodes: Nodes) -> None:
    """A tensor with its first and last line repeated before and behind it becomes Pad in mode edge.

    `BicubicUpsampling` is written so that TensorFlow makes Slice and Concat of it: first the rows, then
    the columns, which become one Pad.
    """
    rank = len(nodes.graph.input[0].type.tensor_type.shape.dim)
    for concat in list(nodes.nodes):
        if concat.op_type != "Concat":
            continue
        edges = _edges(nodes, concat)
        if edges is None:
            continue
        source, axis, before, after = edges
        inner = nodes.producer(source, "Pad")
        if inner and attributes(inner).get("mode") == b"edge":
            pads, source = nodes.constants[inner.input[1]].copy(), inner.input[0]
        else:
            pads = np.zeros(2 * rank, "int64")
        pads[axis] += before
        pads[len(pads) // 2 + axis] += after
        name = nodes.constant(pads, f"{concat.name}_pads")
        pad = helper.make_node("Pad", [source, name], concat.output, concat.name, mode="edge")
        nodes.replace(concat, [pad])


def _edges(nodes: Nodes, concat: onnx.NodeProto) -> tuple[str, int, int, int] | None:
    """(tensor, axis, lines before, lines behind) of a Concat of a tensor and its own edges, or None."""
    edges = [_edge(nodes, name) for name in concat.input]
    if edges.count(None) != 1:
        return None
    place, axis = edges.index(None), attributes(concat)["axis"]
    source = concat.input[place]
    wanted = [(source, axis, True)] * place + [None] + [(source, axis, False)] * (len(edges) - place - 1)
    return (source, axis, place, len(edges) - place - 1) if edges == wanted else None


def _edge(nodes: Nodes, name: str) -> tuple[str, int, bool] | None:
    """(tensor, axis, whether it is the first) of a line at an edge, x[:1] or x[-1:]; or None."""
    node = nodes.producer(name, "Slice")
    if node is None:
        return None
    starts, ends, axes = (nodes.constants.get(item) for item in node.input[1:4])
    if starts is None or ends is None or axes is None or axes.size != 1:
        return None
    first, last = (starts[0], ends[0]) == (0, 1), starts[0] == -1 and ends[0] >= _ALL
    return (node.input[0], int(axes[0]), bool(first)) if first or last else None


def explicit_pads(nodes: Nodes) -> None:
    """auto_pad of convolutions and means with stride 1, which ONNX deprecates, becomes pads."""
    for node in nodes.nodes:
        values = attributes(node)
        if node.op_type not in ("Conv", "AveragePool"):
            continue
        if values.get("auto_pad", b"NOTSET") not in (b"SAME_UPPER", b"SAME_LOWER"):
            continue
        kernel, dilations = values["kernel_shape"], values.get("dilations", [1] * len(values["kernel_shape"]))
        whole = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
        if set(values.get("strides", [1])) != {1}:
            continue
        small = [total // 2 for total in whole]
        large = [total - half for total, half in zip(whole, small, strict=True)]
        upper = values["auto_pad"] == b"SAME_UPPER"
        set_attribute(node, "auto_pad", None)
        set_attribute(node, "pads", small + large if upper else large + small)


def channels_first(nodes: Nodes) -> None:
    """Makes input and output (N, C, ...), and with them all between that was kept channels-last.

    ONNX convolutions and DepthToSpace are channels-first: what TensorFlow had channels-last has
    transpositions around it, which go where the neighbour has the same order. What is left of the
    channels-last world is transposed to.
    """
    source, target = nodes.graph.input[0], nodes.graph.output[0]
    rank = len(source.type.tensor_type.shape.dim)
    first = [0, rank - 1, *range(1, rank - 1)]  # NHWC -> NCHW
    last = [0, *range(2, rank), 1]
    where = dict(zip(first, range(rank), strict=True))  # Axis of NHWC -> its place in NCHW.
    inner = nodes.free(f"{source.name}_nchw")
    turned = {source.name: inner}  # Channels-last tensor -> the same values channels-first.
    for node in list(nodes.nodes):
        data = [name for name in node.input if name in turned]
        known = 0 < len(data) == len(node.input) - _parameters(node)
        if data and node.op_type == "Transpose" and attributes(node)["perm"] == first:
            nodes.reconnect(node.output[0], turned[data[0]])
            nodes.replace(node, [])
        elif known and _turn_axes(nodes, node, where, rank):
            node.input[:] = [turned.get(name, name) for name in node.input]
            turned[node.output[0]] = node.output[0] = nodes.free(f"{node.output[0]}_nchw")
        else:
            for name in data:
                _turn_back(nodes, node, name, turned[name], last)
    nodes.reconnect(inner, source.name)
    _channels_first_output(nodes, target, first, last)
    _permute(source, first)
    _permute(target, first)


def _turn_back(nodes: Nodes, node: onnx.NodeProto, name: str, turned: str, order: list[int]) -> None:
    """Gives a node its input `name` channels-last, from the tensor that was turned."""
    back = nodes.free(f"{name}_nhwc")
    nodes.replace(node, [helper.make_node("Transpose", [turned], [back], back, perm=order), node])
    for place, other in enumerate(node.input):
        node.input[place] = back if other == name else other


def _parameters(node: onnx.NodeProto) -> int:
    """How many of the inputs that `_turn_axes` knows hold parameters, not data."""
    return {"Slice": len(node.input) - 1, "Pad": len(node.input) - 1}.get(node.op_type, 0)


def _turn_axes(nodes: Nodes, node: onnx.NodeProto, where: dict[int, int], rank: int) -> bool:
    """Changes a node of channels-last tensors to channels-first ones; False if it is not known how."""
    if node.op_type == "Concat":
        set_attribute(node, "axis", where[attributes(node)["axis"] % rank])
    elif node.op_type == "Pad" and node.input[1] in nodes.constants:
        pads = nodes.constants[node.input[1]].reshape(2, rank)
        order = sorted(where, key=where.__getitem__)
        node.input[1] = nodes.constant(pads[:, order].ravel(), node.input[1])
    elif node.op_type == "Slice" and len(node.input) > 3 and node.input[3] in nodes.constants:
        axes = [where[int(axis) % rank] for axis in nodes.constants[node.input[3]]]
        node.input[3] = nodes.constant(np.array(axes, "int64"), node.input[3])
    else:
        return False
    return True


def _channels_first_output(
    nodes: Nodes, target: onnx.ValueInfoProto, first: list[int], last: list[int]
) -> None:
    node = nodes.producer(target.name)
    if node.op_type == "Transpose" and attributes(node)["perm"] == last:
        maker = nodes.producer(node.input[0])
        inner = node.input[0]
        if maker is not None:
            nodes.replace(node, [])
            nodes.reconnect(inner, target.name)
            maker.output[list(maker.output).index(inner)] = target.name
            return
    inner = nodes.free(f"{target.name}_nhwc")
    node.output[list(node.output).index(target.name)] = inner
    nodes.reconnect(target.name, inner)
    nodes.nodes.append(helper.make_node("Transpose", [inner], [target.name], perm=first))


def channels_last_interface(nodes: Nodes) -> None:
    """Puts a transposition behind the input and one before the output of a channels-first graph."""
    source, target = nodes.graph.input[0], nodes.graph.output[0]
    rank = len(source.type.tensor_type.shape.dim)
    inner = nodes.free("lr_nchw")
    nodes.reconnect(source.name, inner)
    order = [0, rank - 1, *range(1, rank - 1)]
    nodes.nodes.insert(0, helper.make_node("Transpose", [source.name], [inner], "to_nchw", perm=order))
    order = [0, *range(2, rank), 1]
    outer, inner = target.name, nodes.free("sr_nchw")
    maker = nodes.producer(outer)
    maker.output[list(maker.output).index(outer)] = inner
    nodes.reconnect(outer, inner)
    nodes.nodes.append(helper.make_node("Transpose", [inner], [outer], "to_nhwc", perm=order))
    _permute(source, order)
    _permute(target, order)


def _permute(value: onnx.ValueInfoProto, order: Sequence[int]) -> None:
    """Reorders the dimensions of a graph's input or output."""
    shape = value.type.tensor_type.shape
    dims = [type(dim).FromString(dim.SerializeToString()) for dim in shape.dim]
    del shape.dim[:]
    shape.dim.extend(dims[axis] for axis in order)


def rewrite_for_cpu(model: onnx.ModelProto) -> None:
    """Writes a network in the operators that onnxruntime is fast with on CPUs; the result is the same.

    Its float32 convolutions work on blocks of 16 channels. Half-precision networks are left alone, since
    they run in float32 there, with conversions in between.

    Args:
        model: `onnx.ModelProto`; changed in place.
    """
    kinds = {node.op_type for node in model.graph.node}
    if "Cast" in kinds:
        return
    nodes = Nodes(model)
    split_prelu(nodes)
    split_narrow_convs(nodes)
    nodes.save()


def split_prelu(nodes: Nodes) -> None:
    """PRelu(x, a) becomes a * x + (1 - a) * Relu(x), as two 1x1 convolutions of each channel.

    onnxruntime has no PRelu in the order of its fast convolutions and would reorder the tensor before and
    behind each, where convolutions and Relu stay in it.
    """
    for node in list(nodes.nodes):
        if node.op_type != "PRelu" or node.input[1] not in nodes.constants:
            continue
        slope = nodes.constants[node.input[1]].ravel()
        x, (y,) = node.input[0], node.output
        shape = (slope.size, 1, 1, 1)
        options = {"group": slope.size, "kernel_shape": [1, 1]}
        linear = nodes.constant(slope.reshape(shape), f"{y}_linear")
        if slope.min() >= 0 and slope.max() <= 1:
            # Relu((1 - a) * x) in place of (1 - a) * Relu(x): the convolution takes the Relu in.
            rest = nodes.constant((1 - slope).reshape(shape), f"{y}_rest")
            first = [
                helper.make_node("Conv", [x, rest], [f"{y}_scaled"], f"{node.name}_scaled", **options),
                helper.make_node("Relu", [f"{y}_scaled"], [f"{y}_positive"], f"{node.name}_positive"),
            ]
        else:
            rest = nodes.constant((1 - slope).reshape(shape), f"{y}_rest")
            first = [
                helper.make_node("Relu", [x], [f"{y}_scaled"], f"{node.name}_scaled"),
                helper.make_node(
                    "Conv", [f"{y}_scaled", rest], [f"{y}_positive"], f"{node.name}_positive", **options
                ),
            ]
        rest = [
            helper.make_node("Conv", [x, linear], [f"{y}_line"], f"{node.name}_line", **options),
            helper.make_node("Add", [f"{y}_positive", f"{y}_line"], [y], node.name),
        ]
        nodes.replace(node, [*first, *rest])


def split_narrow_convs(nodes: Nodes) -> None:
    """A large convolution to a few channels becomes one of its columns, side by side, and their sum.

    onnxruntime computes 4 blocks of 16 output channels at once. With 3 or 12 channels most of that idles;
    with the 5 columns of a 5x5 kernel for each of 12 channels it does not. The second convolution adds up
    the columns, each shifted by its place.
    """
    for node in list(nodes.nodes):
        weights = nodes.constants.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is None or weights.ndim != 4:
            continue
        count, channels, height, width = weights.shape
        values = attributes(node)
        plain = {*values.get("strides", [1]), *values.get("dilations", [1]), values.get("group", 1)} == {1}
        if not plain or count > 16 or channels < 64 or width < 5:
            continue
        top, left, bottom, right = values.get("pads", [0] * 4)
        columns = weights.transpose(3, 0, 1, 2).reshape(width * count, channels, height, 1)
        sums = np.eye(width * count, dtype=weights.dtype).reshape(width, count, -1).transpose(1, 2, 0)
        # Output channel o takes, at place x of the kernel, channel x * count + o and no other.
        (y,) = node.output
        first = nodes.constant(columns, f"{node.name}_columns")
        second = nodes.constant(sums[:, :, np.newaxis], f"{node.name}_sums")
        between = nodes.free(f"{y}_columns")
        nodes.replace(
            node,
            [
                helper.make_node(
                    "Conv", [node.input[0], first], [between], f"{node.name}_columns",
                    kernel_shape=[height, 1], pads=[top, 0, bottom, 0],
                ),
                helper.make_node(
                    "Conv", [between, second, *node.input[2:]], [y], node.name,
                    kernel_shape=[1, width], pads=[0, left, 0, right],
                ),
            ],
        )  # fmt: skip
