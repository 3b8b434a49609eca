import collections

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from keras_mrisr.export import onnx_graph
from keras_mrisr.export.onnx_nodes import Nodes, attributes

RNG = np.random.default_rng(0)
NHWC = ["batch", "height", "width", 4]
TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def make(nodes, shape, output=None, **constants):
    """A model from "lr" to "sr"; nodes as (operator, inputs, output, attributes)."""
    made = [
        helper.make_node(kind, inputs, [target], f"{target}_node", **(more[0] if more else {}))
        for kind, inputs, target, *more in nodes
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("lr", shape), ("sr", output or [None] * 4))
    ]
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(made, "g", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, x):
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model).run(None, {"lr": x})[0]


def change(model, *passes):
    """Applies passes to a copy."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = Nodes(copy)
    for one in passes:
        one(nodes)
    nodes.save()
    return copy


def kinds(model):
    return dict(collections.Counter(node.op_type for node in model.graph.node))


def check_same(before, after, shape=(2, 5, 6, 4), turn=False):
    x = RNG.normal(size=shape).astype("float32")
    y = run(before, x)
    assert y.std() > 0.1
    got = run(after, x.transpose(TO_FIRST)).transpose(TO_LAST) if turn else run(after, x)
    np.testing.assert_allclose(got, y, atol=1e-6)


def prelu_as_keras_writes_it(order, of="lr"):
    names = ["positive", "product"]
    factors = ["negative_part", "slope"]
    return [
        ("Relu", ["lr"], "positive"),
        ("Neg", [of], "negative"),
        ("Relu", ["negative"], "negative_part"),
        ("Mul", factors[:: -1 if order % 2 else 1], "product"),
        ("Add", names[:: -1 if order // 2 else 1], "sr"),
    ]


@pytest.mark.parametrize("order", range(4))
def test_merge_prelu(order):
    slope = -np.array([0.1, 0.5, -0.3, 2.0], "float32")
    model = make(prelu_as_keras_writes_it(order), NHWC, slope=slope)
    merged = change(model, onnx_graph.merge_prelu)
    assert kinds(merged) == {"PRelu": 1}
    assert len(merged.graph.initializer) == 1
    check_same(model, merged)


def test_what_only_looks_like_a_prelu_stays():
    nodes = [("Exp", ["lr"], "other"), *prelu_as_keras_writes_it(0, of="other")]
    model = make(nodes, NHWC, slope=np.ones(4, "float32"))
    assert kinds(change(model, onnx_graph.merge_prelu)) == kinds(model)


def edge_repeated(first=(0, 0), ends=(2147483647, 1)):
    """Rows and columns repeated twice at each edge, as tf2onnx writes x[:, :1] and x[:, -1:]."""
    limits = {"all": np.array([2147483647, 2147483647]), "one": np.array(ends), "zero": np.array(first)}
    limits |= {"last": np.array([0, -1]), "rows": np.array([0, 1]), "columns": np.array([0, 2])}
    nodes = []
    for source, axis, target in (("lr", "rows", "tall"), ("tall", "columns", "sr")):
        nodes += [
            ("Slice", [source, "zero", "one", axis], f"{axis}_first"),
            ("Slice", [source, "last", "all", axis], f"{axis}_last"),
            (
                "Concat",
                [f"{axis}_first", f"{axis}_first", source, f"{axis}_last", f"{axis}_last"],
                target,
                {"axis": 1 if axis == "rows" else 2},
            ),
        ]
    return make(nodes, NHWC, **limits)


def test_merge_edge_pads():
    model = edge_repeated()
    merged = change(model, onnx_graph.trim_slices, onnx_graph.merge_edge_pads)
    assert kinds(merged) == {"Pad": 1}
    (pads,) = merged.graph.initializer
    assert numpy_helper.to_array(pads).tolist() == [0, 2, 2, 0, 0, 2, 2, 0]
    check_same(model, merged)


def test_repetition_of_other_lines_stays():
    model = edge_repeated(first=(0, 1), ends=(2147483647, 2))  # The second line, not the first.
    merged = change(model, onnx_graph.trim_slices, onnx_graph.merge_edge_pads)
    assert "Pad" not in kinds(merged)
    check_same(model, merged)


@pytest.mark.parametrize("where", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", [3, 4])
def test_explicit_pads(size, where):
    options = {"auto_pad": where, "kernel_shape": [size, 1]}
    kernel = RNG.normal(size=(2, 4, size, 1)).astype("float32")
    model = make([("Conv", ["lr", "w"], "sr", options)], ["batch", 4, "h", "w"], w=kernel)
    changed = change(model, onnx_graph.explicit_pads)
    values = attributes(changed.graph.node[0])
    assert "auto_pad" not in values
    assert values["pads"][0] + values["pads"][2] == size - 1
    check_same(model, changed, shape=(2, 4, 5, 6))


@pytest.mark.parametrize("where", ["SAME_UPPER", "SAME_LOWER"])
def test_explicit_pads_of_a_mean(where):
    """They don't count: at the edge the mean is that of fewer pixels."""
    options = {"auto_pad": where, "kernel_shape": [2, 2]}
    model = make([("AveragePool", ["lr"], "sr", options)], ["batch", 4, "h", "w"])
    changed = change(model, onnx_graph.explicit_pads)
    values = attributes(changed.graph.node[0])
    assert "auto_pad" not in values
    assert values["pads"] == ([0, 0, 1, 1] if where == "SAME_UPPER" else [1, 1, 0, 0])
    check_same(model, changed, shape=(2, 4, 5, 6))


def test_pixel_shuffle_is_one_node():
    nodes = [
        ("Transpose", ["lr"], "first", {"perm": TO_FIRST}),
        ("DepthToSpace", ["first"], "shuffled", {"blocksize": 2}),
        ("Transpose", ["shuffled"], "sr", {"perm": TO_LAST}),
    ]
    model = make(nodes, NHWC, ["batch", None, None, 1])
    changed = change(model, onnx_graph.channels_first)
    assert kinds(changed) == {"DepthToSpace": 1}
    dims = [dim.dim_param or dim.dim_value for dim in changed.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 4, "height", "width"]
    check_same(model, changed, turn=True)
    again = change(changed, onnx_graph.channels_last_interface)
    assert kinds(again) == {"Transpose": 2, "DepthToSpace": 1}
    check_same(model, again)


def test_channels_first_turns_what_stays_channels_last():
    nodes = [
        ("Slice", ["lr", "one", "three", "axis"], "middle"),
        ("Pad", ["middle", "pads"], "padded", {"mode": "edge"}),
        ("Concat", ["padded", "padded"], "double", {"axis": -1}),
        ("Transpose", ["double"], "first", {"perm": TO_FIRST}),
        ("Relu", ["first"], "positive"),
        ("Transpose", ["positive"], "sr", {"perm": TO_LAST}),
    ]
    constants = {"one": np.array([1]), "three": np.array([3]), "axis": np.array([3])}
    model = make(nodes, NHWC, **constants, pads=np.array([0, 1, 2, 0, 0, 0, 3, 0]))
    changed = change(model, onnx_graph.channels_first)
    assert "Transpose" not in kinds(changed)
    check_same(model, changed, turn=True)


def test_channels_first_transposes_for_what_it_does_not_know():
    nodes = [
        ("Softmax", ["lr"], "soft", {"axis": 3}),
        ("Transpose", ["lr"], "first", {"perm": TO_FIRST}),
        ("Relu", ["first"], "positive"),
        ("Transpose", ["positive"], "last", {"perm": TO_LAST}),
        ("Add", ["soft", "last"], "sr"),
    ]
    model = make(nodes, NHWC)
    changed = change(model, onnx_graph.channels_first)
    check_same(model, changed, turn=True)


@pytest.mark.parametrize("fixed", [False, True])
def test_restore_transposes(fixed):
    there, back = ([-1, 1, 5, 6], [-1, 5, 6, 1]) if fixed else ([-1, 1, 0, 0], [1, -1, 0, 0, 1])
    nodes = [("Reshape", ["lr", "there"], "first"), ("Relu", ["first"], "positive")]
    if fixed:
        nodes += [("Reshape", ["positive", "back"], "sr")]
    else:
        nodes[:1] = [("Unsqueeze", ["lr", "zero"], "u"), ("Reshape", ["u", "there"], "first")]
        nodes += [("Reshape", ["positive", "back"], "five"), ("Squeeze", ["five", "zero"], "sr")]
    shape = ["batch", 5, 6, 1] if fixed else ["batch", "height", "width", 1]
    constants = {"there": np.array(there), "back": np.array(back)} | (
        {} if fixed else {"zero": np.array([0])}
    )
    model = make(nodes, shape, **constants)
    changed = change(model, onnx_graph.restore_transposes)
    assert kinds(changed) == {"Transpose": 2, "Relu": 1}
    check_same(model, changed, shape=(2, 5, 6, 1))
    assert kinds(change(model, onnx_graph.restore_transposes, onnx_graph.channels_first)) == {"Relu": 1}


def test_restore_transposes_where_the_squeeze_is_lost():
    nodes = [("Relu", ["lr"], "positive"), ("Reshape", ["positive", "back"], "sr")]
    lost = make(nodes, ["batch", 1, "height", "width"], [None] * 5, back=np.array([1, -1, 0, 0, 1]))
    x = RNG.normal(size=(3, 1, 5, 6)).astype("float32")
    np.testing.assert_array_equal(run(lost, x), np.maximum(x, 0).transpose(TO_LAST)[np.newaxis])
    restored = change(lost, onnx_graph.restore_transposes)
    restored.graph.output[0].CopyFrom(helper.make_tensor_value_info("sr", TensorProto.FLOAT, [None] * 4))
    assert kinds(restored) == {"Relu": 1, "Transpose": 1}
    np.testing.assert_array_equal(run(restored, x), np.maximum(x, 0).transpose(TO_LAST))


@pytest.mark.parametrize("slope", [(0.0, 0.25, 0.5, 1.0), (-0.5, 0.0, 2.0, 1.0)])
def test_split_prelu(slope):
    slope = np.array(slope, "float32").reshape(4, 1, 1)
    model = make([("PRelu", ["lr", "slope"], "sr")], ["batch", 4, "h", "w"], slope=slope)
    changed = change(model, onnx_graph.split_prelu)
    assert kinds(changed) == {"Conv": 2, "Relu": 1, "Add": 1}
    check_same(model, changed, shape=(2, 4, 5, 6))


@pytest.mark.parametrize("width", [5, 9])
def test_split_narrow_convs(width):
    # Whole numbers, whose sums are exact in any order.
    kernel = RNG.integers(-3, 4, size=(3, 64, 3, width)).astype("float32")
    options = {"kernel_shape": [3, width], "pads": [1, 2, 1, width - 3]}
    constants = {"w": kernel, "b": RNG.integers(-3, 4, size=3).astype("float32")}
    model = make([("Conv", ["lr", "w", "b"], "sr", options)], ["batch", 64, "h", "w"], **constants)
    changed = change(model, onnx_graph.split_narrow_convs)
    first, second = changed.graph.node
    assert (attributes(first)["kernel_shape"], attributes(second)["kernel_shape"]) == ([3, 1], [1, width])
    x = RNG.integers(-3, 4, size=(2, 64, 6, 12)).astype("float32")
    np.testing.assert_array_equal(run(changed, x), run(model, x))


@pytest.mark.parametrize("options", [{"dilations": [1, 2]}, {"strides": [2, 1]}, {"group": 2}])
def test_other_convs_stay(options):
    channels = 64 // options.get("group", 1)
    kernel = RNG.normal(size=(4, channels, 5, 5)).astype("float32")
    model = make([("Conv", ["lr", "w"], "sr", options)], ["batch", 64, "h", "w"], w=kernel)
    assert change(model, onnx_graph.split_narrow_convs) == model


def test_rewrite_for_cpu_leaves_half_precision_alone():
    slope = np.full((4, 1, 1), 0.2, "float32")
    model = make([("PRelu", ["lr", "slope"], "sr")], ["batch", 4, "h", "w"], slope=slope)
    half = make([("Cast", ["lr"], "sr", {"to": TensorProto.FLOAT})], ["batch", 4, "h", "w"])
    for one, left in ((model, False), (half, True)):
        copy = onnx.ModelProto.FromString(one.SerializeToString())
        onnx_graph.rewrite_for_cpu(copy)
        assert (copy == one) is left
