import collections
import json

import keras
import numpy as np
import onnx
import pytest
from keras import ops

from keras_mrisr.errors import MrisrError
from keras_mrisr.export import onnx_file
from keras_mrisr.export.deployable import deployable
from keras_mrisr.export.onnx_file import METADATA, add_metadata, convert
from keras_mrisr.export.onnx_nodes import attributes
from keras_mrisr.export.onnx_precision import to_float16, to_int8
from keras_mrisr.export.tensorrt import unsupported
from keras_mrisr.models import edsr, srresnet
from keras_mrisr.models.srresnet3d import srresnet3d


def randomise(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        low, high = (0.5, 1.5) if "gamma" in weight.path or "variance" in weight.path else (-0.15, 0.15)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


@pytest.fixture(scope="module")
def generators():
    small = {"blocks": 1, "filters": 8}
    return {
        "srresnet": randomise(srresnet(2, 3, **small)),
        "srresnet grey x4": randomise(srresnet(4, 1, global_skip=True, **small)),
        "edsr": randomise(edsr(2, 1, residual_scaling=0.5, **small)),
        "smooth x4": randomise(edsr(4, 1, smooth_upsampling=True, **small)),
        "neighbours": randomise(edsr(3, 1, neighbours=1, direct_upsampling=True, **small)),
    }


def kinds(model):
    return collections.Counter(node.op_type for node in model.graph.node)


def dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def run(model, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(["sr"], {"lr": x})[0]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("srresnet", None),
        ("srresnet grey x4", None),
        ("edsr", (10, 7)),
        ("smooth x4", None),
        ("neighbours", None),
    ],
)
def test_one_node_for_one_layer(generators, name, size):
    generator = deployable(generators[name])
    model = convert(generator, size, layout="nchw")
    layers = collections.Counter(type(layer).__name__ for layer in generator.layers)
    nodes = kinds(model)
    skip = layers["BicubicUpsampling"]
    assert nodes["PRelu"] == layers["PReLU"]
    assert nodes["DepthToSpace"] == layers["PixelShuffle"] + skip
    assert nodes["Conv"] == layers["Conv2D"] + skip
    assert nodes["Pad"] == skip
    assert nodes["AveragePool"] == layers["AveragePooling2D"]
    assert not any("auto_pad" in attributes(node) for node in model.graph.node)
    assert set(nodes) <= {
        "Conv", "PRelu", "Relu", "Add", "Mul", "DepthToSpace", "Pad", "Slice", "AveragePool"
    }  # fmt: skip
    assert not unsupported(model)


def test_interface(generators):
    model = convert(generators["edsr"])
    assert kinds(model)["Transpose"] == 2
    assert [entry.version for entry in model.opset_import] == [17]
    assert model.producer_name == "keras-mrisr"
    assert dims(model.graph.input[0]) == ["batch", "height", "width", 1]
    assert dims(model.graph.output[0]) == ["batch", "sr_height", "sr_width", 1]
    fixed = convert(generators["srresnet"], (10, 7), layout="nchw")
    assert dims(fixed.graph.input[0]) == ["batch", 3, 10, 7]
    assert dims(fixed.graph.output[0]) == ["batch", 3, 20, 14]
    names = [node.name for node in fixed.graph.node]
    assert names[:2] == ["input_conv/Conv", "input_prelu/PRelu"]
    assert len(set(names)) == len(names)


def test_metadata(generators):
    model = convert(generators["edsr"])
    add_metadata(model, {"scale": 2, "degradation": {"name": "bicubic"}, "licence": "none"})
    found = {item.key: item.value for item in model.metadata_props}
    assert json.loads(found.pop(METADATA))["degradation"] == {"name": "bicubic"}
    assert found == {"scale": "2", "licence": "none"}


def test_volumes():
    generator = randomise(srresnet3d((1, 1, 2), blocks=1, filters=4))
    model = convert(deployable(generator))
    assert dims(model.graph.input[0]) == ["batch", "x", "y", "z", 1]
    x = np.random.default_rng(0).random((2, 5, 4, 6, 1), dtype="float32")
    np.testing.assert_allclose(run(model, x), generator(x), atol=1e-5)
    with pytest.raises(MrisrError, match="INT8 is for networks of slices"):
        to_int8(model, [x[0]])


def test_conversions_of_another_rank_are_repeated(generators, monkeypatch):
    right, calls = onnx_file._keras_to_onnx, []

    def wrong(*arguments, times):
        model = right(*arguments)
        calls.append(model)
        if len(calls) <= times:
            model.graph.output[0].type.tensor_type.shape.dim.add()
        return model

    monkeypatch.setattr(onnx_file, "_keras_to_onnx", lambda *arguments: wrong(*arguments, times=1))
    assert len(dims(convert(generators["edsr"]).graph.output[0])) == 4
    assert len(calls) >= 2  # More where tf2onnx itself was wrong.
    calls.clear()
    monkeypatch.setattr(onnx_file, "_keras_to_onnx", lambda *arguments: wrong(*arguments, times=99))
    with pytest.raises(MrisrError, match="another rank in 5 attempts"):
        convert(generators["edsr"])


def test_float16(generators):
    for name in ("srresnet grey x4", "edsr"):
        generator = deployable(generators[name])
        half = to_float16(convert(generator))
        types = {node.name: set() for node in half.graph.node}
        by_name = {item.name: item.data_type for item in half.graph.initializer}
        for node in half.graph.node:
            types[node.name].update(by_name[name] for name in node.input if name in by_name)
        assert types["block1_conv1/Conv"] == {onnx.TensorProto.FLOAT16}
        assert types["output_conv/Conv"] == {onnx.TensorProto.FLOAT}
        assert kinds(half)["Cast"] == 2
        x = np.random.default_rng(0).random((1, 8, 9, 1), dtype="float32")
        expected = np.asarray(generator(x))
        assert 0 < np.abs(run(half, x) - expected).max() < 5e-3 * np.abs(expected).max()


def test_grain_is_that_of_keras_in_half_precision_too(smooth_image):
    """Phases of hundreds of radians have no digits left in float16."""
    thin = {"thin_layers": 1, "thin_filters": 4, "thin_noise": 2}
    grain, none = (
        randomise(edsr(2, 1, blocks=1, filters=8, direct_upsampling=True, **{**thin, "thin_noise": noise}))
        for noise in (2, 0)
    )
    for layer in none.layers:
        layer.set_weights(grain.get_layer(layer.name).get_weights())
    levels = np.random.default_rng(0).integers(90, 110, (1, 24, 20, 1))
    x = (levels / 255).astype("float32")
    expected = np.asarray(grain(x))
    amplitude = np.std(expected - np.asarray(none(x)))
    model = convert(deployable(grain))
    assert kinds(model)["Sin"] == 1 and not unsupported(model)
    assert np.abs(run(model, x) - expected).max() < 1e-3 * amplitude
    assert np.std(run(to_float16(model), x) - expected) < 0.02 * amplitude


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_int8(generators, smooth_image, layout):
    slices = [smooth_image(20, 24, 3, "float32", seed) for seed in range(3)]
    model = convert(deployable(generators["srresnet"]), layout=layout)
    quantised = to_int8(model, slices)
    assert kinds(quantised)["QuantizeLinear"] > 3
    assert kinds(quantised)["PRelu"] == 0
    assert kinds(model)["PRelu"] == 3
    weights = {item.name: item.data_type for item in quantised.graph.initializer}
    for node in quantised.graph.node:
        if node.name in ("input_conv/Conv", "output_conv/Conv"):
            assert weights[node.input[1]] == onnx.TensorProto.FLOAT
    x = np.stack(slices)
    x = x if layout == "nhwc" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    expected, got = run(model, x), run(quantised, x)
    assert 0 < np.abs(got - expected).mean() < 0.05 * expected.std()
    assert [line for line in unsupported(quantised) if "`symmetric`" in line]


def test_symmetric_int8_is_what_tensorrt_takes(generators, smooth_image):
    slices = [smooth_image(12, 12, 3, "float32", seed) for seed in range(2)]
    assert unsupported(to_int8(convert(deployable(generators["srresnet"])), slices, symmetric=True)) == []


def test_what_tensorrt_does_not_take():
    def model(*nodes, opset=17):
        values = [onnx.helper.make_tensor_value_info(name, 1, [1, 4, 4, 4]) for name in ("lr", "sr")]
        graph = onnx.helper.make_graph(list(nodes), "g", values[:1], values[1:])
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])

    def node(kind, **options):
        return onnx.helper.make_node(kind, ["lr"], ["sr"], name="it", **options)

    assert unsupported(model(node("Relu"))) == []
    assert unsupported(model(node("Det"))) == ["it (Det): not in the list of supported operators"]
    assert unsupported(model(node("Relu"), opset=30)) == ["opset 30 is beyond 24"]
    assert "com.microsoft" in unsupported(model(node("FusedConv", domain="com.microsoft")))[0]
    assert "mode mirror" in unsupported(model(node("Pad", mode="mirror")))[0]


@keras.saving.register_keras_serializable("tests")
class NoEquivalent(keras.layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return tf.math.lgamma(x) if ops.is_tensor(x) else x


def test_a_missing_converter_is_named(generators, monkeypatch):
    def export(*_, **__):
        raise ImportError("This requires a package.")  # As Keras says it: the error has no name.

    monkeypatch.setattr(keras.Model, "export", export)
    missing = "onnxscript" if keras.backend.backend() == "torch" else "tf2onnx"
    with pytest.raises(MrisrError, match=f"ONNX export needs {missing}: pip install {missing}$"):
        convert(generators["edsr"])


def test_bad_input(generators):
    inputs = keras.Input((None, None, 1), name="lr")
    strange = keras.Model(inputs, NoEquivalent(name="strange")(inputs), name="odd")
    with pytest.raises(MrisrError, match="strange of odd needs Lgamma, which ONNX does not") as caught:
        convert(strange)
    assert "\n" not in str(caught.value)
    with pytest.raises(MrisrError, match=r"`layout` must be one of nhwc, nchw\. Received: 'chw'"):
        convert(generators["edsr"], layout="chw")
