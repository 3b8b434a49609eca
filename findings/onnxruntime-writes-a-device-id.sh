#!/usr/bin/env bash
# What `import onnxruntime` leaves in an empty home folder on Linux.
#
# onnxruntime 1.32.0.
# From memory: nothing; and disable_telemetry_events() turns off whatever there may be.
# Seen: a device id and an event database under ~/.cache, also where disable_telemetry_events() is called right after the import.
# ORT_DISABLE_TELEMETRY=1 set before the import prevents both files; DO_NOT_TRACK=1 does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
nothing set: .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid, .cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db
disable_telemetry_events(): .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid, .cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db
DO_NOT_TRACK=1: .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid, .cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db
ORT_DISABLE_TELEMETRY=1: nothing
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 onnxruntime==1.32.0
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import os
import pathlib
import subprocess
import sys

cases = {
    "nothing set": ({}, "import onnxruntime"),
    "disable_telemetry_events()": ({}, "import onnxruntime; onnxruntime.disable_telemetry_events()"),
    "DO_NOT_TRACK=1": ({"DO_NOT_TRACK": "1"}, "import onnxruntime"),
    "ORT_DISABLE_TELEMETRY=1": ({"ORT_DISABLE_TELEMETRY": "1"}, "import onnxruntime"),
}
left_out = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK")
for number, (name, (variables, code)) in enumerate(cases.items()):
    home = pathlib.Path(f"home{number}")
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    subprocess.run([sys.executable, "-c", code], env={**kept, "HOME": str(home.resolve()), **variables}, check=True)
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    print(f"{name}: {', '.join(file for file in files if '-' not in file) or 'nothing'}")
PYTHON
cat seen
diff expected seen && echo "As described."
