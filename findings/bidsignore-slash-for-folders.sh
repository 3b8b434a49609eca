#!/usr/bin/env bash
# A folder named in .bidsignore with a slash at its end, in the validator of BIDS.
#
# bids-validator-deno 3.0.2 with deno 2.9.8.
# From memory: .bidsignore follows .gitignore, where `figures/` stands for folders of that name; BIDS Apps write it for the pictures of their
# reports.
# Seen: with `figures/` (or `sub-*/figures/`, or `**/figures/**`) the folder sub-01/figures is an error all the same, NOT_INCLUDED; with
# `figures` or `sub-*/figures` it is not. With --recursive, called on the raw data set around it, the .bidsignore of the derivative counts for
# nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
no pattern: NOT_INCLUDED /sub-01/figures/, ALL_FILENAME_RULES_HAVE_ISSUES /sub-01/figures/sub-01_T1w.png
figures/: NOT_INCLUDED /sub-01/figures/
sub-*/figures/: NOT_INCLUDED /sub-01/figures/
**/figures/**: NOT_INCLUDED /sub-01/figures/
figures: no error
sub-*/figures: no error
figures, --recursive from above: NOT_INCLUDED /sub-01/figures/, ALL_FILENAME_RULES_HAVE_ISSUES /sub-01/figures/sub-01_T1w.png
SEEN
python3 -m venv venv
venv/bin/pip install --quiet nibabel==5.4.2 numpy==2.3.5 bids-validator-deno==3.0.2 deno==2.9.8
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import pathlib
import subprocess

import nibabel
import numpy as np

raw = pathlib.Path("raw")
root = raw / "derivatives/x"
(root / "sub-01/anat").mkdir(parents=True)
(root / "sub-01/figures").mkdir()
(root / "sub-01/figures/sub-01_T1w.png").write_bytes(b"\x89PNG")
description = {
    "Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "x"}],
}
(root / "dataset_description.json").write_text(json.dumps(description))
(root / "README.md").write_text("A derivative data set of one scan.\n" * 5)
image = nibabel.Nifti1Image(np.ones((4, 4, 4), "int16"), np.eye(4))
image.header.set_xyzt_units("mm", "sec")
nibabel.save(image, root / "sub-01/anat/sub-01_desc-x_T1w.nii.gz")
(root / "sub-01/anat/sub-01_desc-x_T1w.json").write_text(json.dumps({"SkullStripped": False}))
(raw / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))


def validated(folder, *options):
    words = ["venv/bin/bids-validator-deno", "--json", *options, folder]
    return json.loads(subprocess.run(words, capture_output=True, text=True).stdout)


def errors(result):
    found = [one for one in result["issues"]["issues"] if one["severity"] == "error"]
    return ", ".join(f"{one['code']} {one['location']}" for one in found) or "no error"


for pattern in ("", "figures/", "sub-*/figures/", "**/figures/**", "figures", "sub-*/figures"):
    (root / ".bidsignore").write_text(f"{pattern}\n")
    print(f"{pattern or 'no pattern'}: {errors(validated(root))}")
(root / ".bidsignore").write_text("figures\n")
[derivative] = validated(raw, "--recursive")["derivativesSummary"].values()
print(f"figures, --recursive from above: {errors(derivative)}")
PYTHON
cat seen
diff expected seen && echo "As described."
