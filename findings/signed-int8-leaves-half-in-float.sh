#!/usr/bin/env bash
# A residual network quantised by onnxruntime with signed activations, the default of quantize_static, and with unsigned ones.
#
# onnxruntime 1.32.0, onnx 1.23.2, on a CPU.
# From memory: both run in 8 bits.
# Seen: with signed activations (what TensorRT wants) the first convolution, the one before each skip's Add, and the Adds run in float32, between conversions: 9 of
# 18 convolutions in 8 bits. With unsigned activations all 18 and the Adds do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
QInt8: 9 of 18 convolutions and 0 of 8 additions in 8 bits
QUInt8: 18 of 18 convolutions and 8 of 8 additions in 8 bits
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 onnx==1.23.2 onnxruntime==1.32.0
ORT_DISABLE_TELEMETRY=1 venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import collections

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

rng = np.random.default_rng(0)
nodes, weights = [], []


def conv(x, inputs, filters, name):
    kernel = rng.standard_normal((filters, inputs, 3, 3)) / np.sqrt(9 * inputs)
    weights.append(numpy_helper.from_array(kernel.astype("float32"), name + "_kernel"))
    weights.append(numpy_helper.from_array(np.zeros(filters, "float32"), name + "_bias"))
    nodes.append(helper.make_node("Conv", [x, name + "_kernel", name + "_bias"], [name], name, pads=[1] * 4))
    return name


def relu(x):
    nodes.append(helper.make_node("Relu", [x], [x + "_relu"], x + "_relu"))
    return x + "_relu"


x = conv("lr", 1, 8, "head")
for block in range(8):
    y = conv(relu(conv(x, 8, 8, f"first{block}")), 8, 8, f"second{block}")
    nodes.append(helper.make_node("Add", [x, y], [f"add{block}"], f"add{block}"))
    x = f"add{block}"
nodes.append(helper.make_node("Identity", [conv(x, 8, 4, "tail")], ["sr"], "end"))
ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 32, 32]) for n, c in (("lr", 1), ("sr", 4))]
graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "net.onnx")


class Noise(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"lr": rng.random((1, 1, 32, 32)).astype("float32")} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


for kind in (QuantType.QInt8, QuantType.QUInt8):
    quantize_static(
        "net.onnx", "int8.onnx", Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=kind, weight_type=QuantType.QInt8,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimized.onnx"
    onnxruntime.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    count = collections.Counter(node.op_type for node in onnx.load("optimized.onnx").graph.node)
    print(f"{kind.name}: {count['QLinearConv']} of 18 convolutions and ", end="")
    print(f"{count['QLinearAdd']} of 8 additions in 8 bits")
PYTHON
cat seen
diff expected seen && echo "As described."
