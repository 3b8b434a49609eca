"""Nothing that runs here calls home."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import keras_mrisr, onnxruntime, onnx
from onnx import TensorProto, helper
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
session.run(None, {"x": __import__("numpy").ones(1, "float32")})
import os
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


ENGINE = """
import pathlib, sys
from keras_mrisr.export.openvino_network import OpenVinoNetwork
from onnx import TensorProto, helper, save
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "height", "width", 1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), sys.argv[1])
network = OpenVinoNetwork(pathlib.Path(sys.argv[1]), 1)
print(network.predict_on_batch(-__import__("numpy").ones((1, 2, 2, 1), "float32")).sum())
"""


def run(program, home, *words, **variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_")) and k != "CI"}
    environment = {**kept, "HOME": str(home), **variables}
    result = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.split(), [path for path in home.rglob("*") if path.is_file()]


def test_onnxruntime_leaves_no_trace_of_the_machine(tmp_path):
    pytest.importorskip("onnxruntime")
    output, files = run(PROGRAM, tmp_path)
    assert output == ["1"]
    assert files == []


def test_openvino_leaves_no_trace_either(tmp_path_factory):
    pytest.importorskip("openvino")
    network = tmp_path_factory.mktemp("network") / "network.onnx"
    output, files = run(ENGINE, tmp_path_factory.mktemp("home"), str(network))
    assert output == ["0.0"]
    assert files == []


def test_a_setting_of_the_user_counts(tmp_path):
    program = "import os, keras_mrisr; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(program, tmp_path, ORT_DISABLE_TELEMETRY="0")[0] == ["0"]
