"""The scores of a packed model, read from what `mrisr evaluate` wrote."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.errors import ModelError
from keras_mrisr.evaluation.compatibility import split_of
from keras_mrisr.evaluation.protocol import SR
from keras_mrisr.factors import factors_of, scale_text
from keras_mrisr.model_info import ModelInfo, ThroughPlaneInfo
from keras_mrisr.types import PathLike

METRICS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "features": ("VGG distance", "{:.3g}"),
    "lpips": ("LPIPS", "{:.4f}"),
}
"""Metric: its heading and format in the card."""
_REGIONS = ("whole", "volume")  # Of slices, and of thick slices restored.


def read_scores(folder: PathLike) -> list[dict[str, Any]]:
    """Rows of an evaluation for a table: means of each method over whole slices.

    Args:
        folder: What `mrisr evaluate` wrote.

    Returns:
        List of {"degradation", "part", "patients", "images", "channel", "method", "psnr", "ssim", "hr",
        "lr", "sr", "averaging"}, and "features" and "lpips" where these were taken; the model itself is "SR".

    Raises:
        ModelError: No evaluation, or one of several models of which none is called SR.
    """
    protocol, summary, own = _read_evaluation(folder)
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for row in summary:
        if row["region"] in _REGIONS and row["metric"] in METRICS:
            method = SR if row["method"] == own else row["method"]
            rows.setdefault((method, row["channel"]), {})[row["metric"]] = row["image_mean"]
    facts = {
        "degradation": protocol["degradation"]["name"],
        "part": protocol["part"],
        "patients": list(protocol["patients"]),
        "images": protocol["images"],
        **{key: protocol[key] for key in ("hr", "lr", "sr", "averaging")},
    }
    return [{**facts, "method": key[0], "channel": key[1], **values} for key, values in rows.items()]


def check_evaluations(
    folders: Sequence[PathLike], run: pathlib.Path, info: ModelInfo | ThroughPlaneInfo
) -> None:
    """Raises ModelError for evaluations of another model than `run`, or none of its own degradation.

    Args:
        folders: What `mrisr evaluate` wrote.
        run: Folder of the model.
        info: Its `ModelInfo` or `ThroughPlaneInfo`.
    """
    if isinstance(info, ThroughPlaneInfo):
        _check_thick(folders, run.resolve().name)
        return
    name = run.resolve().name
    split = split_of(info)
    degradations = []
    for folder in folders:
        protocol, _, own = _read_evaluation(folder)
        source = pathlib.Path(protocol["methods"][own])
        source = source.parent if source.suffix == ".keras" else source
        if factors_of(protocol["scale"]) != info.factors or source.name not in (name, "", ".."):
            raise ModelError(
                f"{folder} is an evaluation of {source} at scale {scale_text(protocol['scale'])}, not of "
                f"{name} at scale {info.scale_text}: evaluate the model that is packed."
            )
        if split and any(split.part_of(patient) == "train" for patient in protocol["patients"]):
            raise ModelError(f"{folder} scores patients that {name} was trained on: evaluate it on others.")
        degradations.append(protocol["degradation"])
    if folders and info.degradation not in degradations:
        raise ModelError(
            f"No evaluation has the degradation that {name} undoes ({info.degradation['name']}): evaluate it "
            "without --degradation, too."
        )


def _check_thick(folders: Sequence[PathLike], name: str) -> None:
    """Raises ModelError for evaluations that are not of this model for thick slices."""
    for folder in folders:
        protocol, _, own = _read_evaluation(folder)
        source = pathlib.Path(protocol["methods"][own])
        if protocol["degradation"]["name"] != "thick-slices" or source.name not in (name, "", ".."):
            raise ModelError(
                f"{folder} is an evaluation of {source} on {protocol['degradation']['name']}, not of {name} "
                "on thick-slices: pack with what mrisr evaluate --task through-plane wrote for it."
            )


def _read_evaluation(folder: PathLike) -> tuple[dict, list[dict], str]:
    """(protocol, summary, name of the model in it) of what `mrisr evaluate` wrote."""
    path = pathlib.Path(folder) / "metrics.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        protocol, summary = result["protocol"], result["summary"]
        models = [name for name in protocol["methods"] if name not in protocol["interpolations"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder} holds no metrics.json of mrisr evaluate.") from None
    if len(models) != 1 and SR not in models:
        raise ModelError(
            f"{folder} compares {', '.join(models)}: pack needs an evaluation of one model, or one in which "
            f"it is called {SR} (--model {SR}=RUN)."
        )
    return protocol, summary, SR if SR in models else models[0]
