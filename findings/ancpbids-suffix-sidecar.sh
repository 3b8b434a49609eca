#!/usr/bin/env bash
# A sidecar at the root that holds for all scans of a suffix, and the index `run-01`, in ancpbids.
#
# ancpbids 0.4.10.
# From memory: metadata is inherited from every sidecar above that fits, so also from T1w.json at the root (the inheritance principle of BIDS:
# a name without entities holds for all), and entities are the labels as the name has them, from which the name can be made again.
# Seen: T1w.json at the root is passed over in silence, while acq-a_T1w.json there and sub-01_T1w.json count; `run-01` is the number 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
T1w.json at the root: []
acq-a_T1w.json at the root: ['acq-a_T1w.json']
sub-01_T1w.json of the participant: ['sub-01_T1w.json']
run-01 -> 1
SEEN
python3 -m venv venv
venv/bin/pip install --quiet ancpbids==0.4.10
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import pathlib

import ancpbids

SCAN = "sub-01/anat/sub-01_acq-a_run-01_T1w.nii.gz"


def scan_with(sidecar):
    """The scan of a data set that has no other sidecar than this."""
    root = pathlib.Path(f"with-{pathlib.Path(sidecar).stem}")
    for name in (SCAN, sidecar):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    (root / SCAN).write_bytes(b"")
    (root / sidecar).write_text(json.dumps({pathlib.Path(sidecar).name: 3}))
    [scan] = ancpbids.load_dataset(str(root)).query(scope="raw", suffix="T1w", extension=".nii.gz")
    return scan


for sidecar, where in (
    ("T1w.json", "at the root"),
    ("acq-a_T1w.json", "at the root"),
    ("sub-01/sub-01_T1w.json", "of the participant"),
):
    print(f"{pathlib.Path(sidecar).name} {where}: {list(scan_with(sidecar).get_metadata())}")
print("run-01 ->", scan_with("T1w.json").get_entities()["run"])
PYTHON
cat seen
diff expected seen && echo "As described."
