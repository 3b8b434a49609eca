#!/usr/bin/env bash
# onnxruntime 1.32.0 (Python 3.11, Linux on x86-64, CPU): when `run` has returned, the threads of the session go on
# spinning for tens of milliseconds, each on a core of its own, so as to be quick if another run comes at once. With
# session.intra_op.allow_spinning = 0 they rest.
#
# Who times several engines in turns, in one process, so gives the engine that comes after onnxruntime fewer cores: on two
# cores OpenVINO 2026.4.1 took 0.144 s for a network for which it takes 0.125 after a pause of 0.1 s, and a second session of
# onnxruntime itself 0.156 in place of 0.129. The order decided which engine was the fastest.
# Seen, with two threads, on two cores, while the program sleeps for 0.2 s after a run:
#
#   onnxruntime 1.32.0
#   spinning allowed: 35 ms of a processor used after a run
#   not allowed: 0 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.2.6
cat > "$folder/spin.py" <<'PYTHON'
import statistics
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LAYERS, WIDTH, EDGE = 8, 64, 128
rng = np.random.default_rng(0)
kernels = [rng.normal(0, 0.05, (WIDTH, WIDTH, 3, 3)).astype("float32") for _ in range(LAYERS)]
graph = helper.make_graph(
    [helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1, 1, 1, 1]) for i in range(LAYERS)],
    "convolutions",
    [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, WIDTH, EDGE, EDGE])],
    [helper.make_tensor_value_info(f"x{LAYERS}", TensorProto.FLOAT, [1, WIDTH, EDGE, EDGE])],
    [numpy_helper.from_array(kernel, f"w{i}") for i, kernel in enumerate(kernels)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
image = rng.random((1, WIDTH, EDGE, EDGE), "float32")


def used_after_a_run(spinning):
    """Milliseconds of processor time that this process takes while it sleeps after a run: the median of nine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    used = []
    for _ in range(9):
        session.run(None, {"x0": image})
        start = time.process_time()
        time.sleep(0.2)
        used.append(1000 * (time.process_time() - start))
    return statistics.median(used)


allowed, rests = used_after_a_run("1"), used_after_a_run("0")
print("onnxruntime", onnxruntime.__version__)
print(f"spinning allowed: {allowed:.0f} ms of a processor used after a run")
print(f"not allowed: {rests:.0f} ms")
assert allowed > 5, "its threads rest now"
assert rests < 3
PYTHON
HOME="$folder" ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" "$folder/spin.py"
echo "As described."
