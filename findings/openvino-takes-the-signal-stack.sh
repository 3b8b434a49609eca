#!/usr/bin/env bash
# OpenVINO 2026.4.1 (Python 3.11, Linux on x86-64): compiling a network for the CPU replaces the alternate signal
# stack of the thread that compiles, the one on which Python's handlers run, also where the program has set one (here
# by faulthandler). Importing OpenVINO and making a Core leave it alone. The stack belongs to OpenVINO's CPU plugin,
# and lives as long as that does.
#
# So a handler of Ctrl-C or SIGTERM, which has nothing to do with OpenVINO, depends on its objects from then on: keep one
# Core for the life of the process. Without that, a long test run ended in crashes, at signals that tests sent themselves.
# Seen:
#
#   openvino 2026.4.1
#   stack of the program after import: yes, with a Core: yes, with a compiled network: no
#   a handler is called, and the network computes: True [0.0, 2.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 numpy==2.2.6
cat > "$folder/stack.py" <<'PYTHON'
import ctypes
import faulthandler
import importlib.metadata
import os
import signal
import sys


class Stack(ctypes.Structure):
    """stack_t of <signal.h>."""

    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def stack():
    now = Stack()
    if ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) != 0:
        raise OSError("sigaltstack")
    return now.start


faulthandler.enable()
ours = stack()
sys.modules["openvino_telemetry"] = None  # It would write files into the home.
import numpy as np
import openvino
from openvino import opset13 as ops

imported = stack() == ours
core = openvino.Core()
with_core = stack() == ours
x = ops.parameter([2], np.float32)
request = core.compile_model(openvino.Model([ops.relu(x)], [x]), "CPU").create_infer_request()
compiled = stack() == ours
called = []
signal.signal(signal.SIGTERM, lambda *_: called.append(True))
os.kill(os.getpid(), signal.SIGTERM)
values = [float(value) for value in next(iter(request.infer({0: np.float32([-1, 2])}).values()))]
word = {True: "yes", False: "no"}
print("openvino", importlib.metadata.version("openvino"))
print(
    f"stack of the program after import: {word[imported]}, with a Core: {word[with_core]}, "
    f"with a compiled network: {word[compiled]}"
)
print("a handler is called, and the network computes:", bool(called), values)
sys.exit(not (imported and with_core and not compiled and called and values == [0.0, 2.0]))
PYTHON
HOME="$folder" "$folder/venv/bin/python" "$folder/stack.py"
echo "As described."
