"""Names and sidecars of a derivative data set.

After https://bids-specification.readthedocs.io, "BIDS Derivatives" and "Preprocessed, coregistered and/or
resampled volumes".
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import numpy as np

from keras_mrisr.bids.dataset import BidsScan
from keras_mrisr.inference.options import Outcome
from keras_mrisr.version import __version__

NAME = "keras-mrisr"
# What is not true of the result any more.
_CHANGED = (
    "AcquisitionVoxelSize", "ConversionSoftware", "ConversionSoftwareVersion", "ImageType", "ReconMatrixPE",
    "SliceThickness", "SliceTiming", "SpacingBetweenSlices", "global",
)  # fmt: skip
_README = """# Super-resolution

Made by keras-mrisr {version} from the raw data set. Each scan with `desc-sr` is one of the raw scans on a
finer grid over the same extent. Detail finer than the raw voxels is estimated, not measured: for research,
not a medical device. The sidecars say which model made each scan.
"""


def result_place(scan: BidsScan, resolution: str = "hi") -> pathlib.PurePosixPath:
    """`sub-01/anat/sub-01_T1w.nii.gz` -> `sub-01/anat/sub-01_res-hi_desc-sr_T1w.nii.gz`."""
    stem = scan.place.name.split(".")[0].removesuffix(f"_{scan.suffix}")
    return scan.place.with_name(f"{stem}_res-{resolution}_desc-sr_{scan.suffix}.nii.gz")


def resolution_label(spacing: Sequence[float] | None) -> str:
    """The label of `res-`: "hi", or of a spacing that was asked for "1mm", "0p8mm", "0p8x0p8x1mm".

    Labels have letters and digits only; the sidecar's `Resolution` says what they stand for.
    """
    if spacing is None:
        return "hi"
    sizes = [f"{size:g}".replace(".", "p").replace("-", "m").replace("+", "") for size in spacing]
    return ("x".join(sizes) if len(set(sizes)) > 1 else sizes[0]) + "mm"


def sidecar(scan: BidsScan, result: pathlib.Path, outcome: Outcome, how: Mapping[str, Any]) -> dict[str, Any]:
    """The sidecar of a result: what of the raw one stays true, and what was done.

    Args:
        scan: The raw scan.
        result: The file of the result.
        outcome: What became of the scan.
        how: What the result depends on.
    """
    old, new = (_spacing(path) for path in (scan.path, result))
    kept = {key: value for key, value in scan.metadata.items() if _stays(key)}
    thick = scan.metadata.get("SliceThickness")
    axis = int(np.argmax(old))
    if thick is not None:  # Restored lines are as thick as they lie apart.
        kept["SliceThickness"] = thick if np.isclose(old[axis], new[axis]) else round(new[axis], 6)
    sizes = [" x ".join(f"{one:.4g}" for one in spacing) for spacing in (old, new)]
    return {
        **kept,
        "Description": "Super-resolved by a neural network",
        "Sources": [f"bids:raw:{scan.place}"],
        "Resolution": f"Voxels of {sizes[1]} mm, made from {sizes[0]} mm",
        "SpatialReference": "orig",
        "SkullStripped": bool(scan.metadata.get("SkullStripped", False)),  # Raw scans hold the whole head.
        "SuperResolution": {
            "Software": NAME,
            "Version": __version__,
            "Model": " and ".join(outcome.models),
            "Options": {key: value for key, value in how.items() if value},
            "Protocol": dict(outcome.protocol),
            "RelativeResidual": outcome.verdict.residual,
            "Verdict": outcome.verdict.sentence(" and ".join(outcome.models)),
        },
    }


def differences(content: Mapping[str, Any], how: Mapping[str, Any]) -> list[str]:
    """In what a result was made another way than it would be now, as its sidecar says: a list of phrases."""
    made = content.get("SuperResolution", {})
    then, now = made.get("Options", {}), {key: value for key, value in how.items() if value}
    found = [
        f"`{key}` {then.get(key, 'by default')}, not {now.get(key, 'by default')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key)
    ]
    if made.get("Version") != __version__:
        found.append(f"keras-mrisr {made.get('Version')}, not {__version__}")
    return found


def dataset_description(raw: Mapping[str, Any], root: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    """`dataset_description.json` of the derivative of the data set at `root`."""
    inside = out.resolve().is_relative_to(root.resolve())
    link = "/".join([".."] * len(out.resolve().relative_to(root.resolve()).parts)) if inside else ""
    uri = f"{link}/" if inside else f"{root.resolve().as_uri()}/"
    source = {"DOI": raw["DatasetDOI"]} if raw.get("DatasetDOI") else {"URL": uri}
    return {
        "Name": f"{raw.get('Name', 'Data set')}: super-resolution",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        **({"License": raw["License"]} if raw.get("License") else {}),
        "DatasetLinks": {"raw": uri},
        "SourceDatasets": [source],
        "GeneratedBy": [
            {"Name": NAME, "Version": __version__, "Description": "Super-resolution by neural networks"}
        ],
    }


def readme() -> str:
    """What the data set says of itself to people."""
    return _README.format(version=__version__)


def _stays(key: str) -> bool:
    return key not in _CHANGED and not key.startswith("dcmmeta_")


def _spacing(path: pathlib.Path) -> list[float]:
    return [float(size) for size in nibabel.load(path).header.get_zooms()[:3]]
