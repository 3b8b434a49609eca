#!/usr/bin/env bash
# OpenVINO 2026.4.1 (Python 3.11, Linux): `import openvino` is enough for a file with a client id, and one of
# statistics, under the user's home. No model is converted and nothing is run.
#
# Importing openvino imports the conversion tool, which makes a client of the package openvino-telemetry
# (2025.2.0). Where CI=true is set, or where that package cannot be imported, no file is written, and inference
# works the same. Seen (the last line is relu of -1 and 2, with no file left):
#
#   openvino 2026.4.1
#   import alone: intel/openvino_ga_cid intel/stats
#   CI=true: nothing
#   openvino_telemetry not importable: [0.0, 2.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy==2.2.6

run() { # NAME PROGRAM [VARIABLE=VALUE]: the program's output, then the files under a home of its own
  mkdir "$folder/$1"
  env -i PATH="$PATH" HOME="$folder/$1" "${@:3}" "$folder/venv/bin/python" -c "$2"
  (cd "$folder/$1" && find . -type f | sort | sed 's#^\./##' | tr '\n' ' ' | sed 's/ $//')
}

infer='
import sys
sys.modules["openvino_telemetry"] = None
import numpy as np, openvino
from openvino import opset13 as ops
x = ops.parameter([2], np.float32)
request = openvino.Core().compile_model(openvino.Model([ops.relu(x)], [x]), "CPU").create_infer_request()
print([float(value) for value in next(iter(request.infer({0: np.float32([-1, 2])}).values()))])
'
version=$("$folder/venv/bin/python" -c 'from importlib.metadata import version; print(version("openvino"))')
alone=$(run alone 'import openvino')
ci=$(run ci 'import openvino' CI=true)
without=$(run without "$infer")
echo "openvino $version"
echo "import alone: ${alone:-nothing}"
echo "CI=true: ${ci:-nothing}"
echo "openvino_telemetry not importable: $without"
[ "$alone" = "intel/openvino_ga_cid intel/stats" ] && [ -z "$ci" ] && [ "$without" = "[0.0, 2.0]" ] && echo "As described."
