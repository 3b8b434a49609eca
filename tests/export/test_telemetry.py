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


def run(program, home, **variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    environment = {**kept, "HOME": str(home), **variables}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.split(), [path for path in home.rglob("*") if path.is_file()]


def test_onnxruntime_leaves_no_trace_of_the_machine(tmp_path):
    pytest.importorskip("onnxruntime")
    output, files = run(PROGRAM, tmp_path)
    assert output == ["1"]
    assert files == []


def test_a_setting_of_the_user_counts(tmp_path):
    program = "import os, keras_mrisr; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(program, tmp_path, ORT_DISABLE_TELEMETRY="0")[0] == ["0"]
