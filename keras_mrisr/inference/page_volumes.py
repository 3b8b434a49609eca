"""What a page holds of volumes: small NIfTI files of 8 bits, and how they are shown."""

import base64
import dataclasses
import gzip
from fractions import Fraction
from typing import Any

import nibabel
import numpy as np

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.errors import DataError
from keras_mrisr.inference.resample import resample_axis
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.geometry import plane_of

LIMIT = 32_000_000
"""Voxels of a result that go into a page: about 50 MB. Larger ones are shown in part, at full resolution."""
_HEADROOM = 1.2  # Of the range of values, for what a network makes brighter.
_LEVELS = 255
_COLOURS = (
    15  # Levels of an overlay from nothing to its peak: more would double the page, and nobody sees them.
)
_CORNERS = 0.05  # By how much of a voxel the outer faces may lie apart.


def volume_content(before: Volume, after: Volume, uncertainty: Volume | None, limit: int) -> dict[str, Any]:
    """What the template of the page needs; see `write_page`."""
    _check_same_box(before, after)
    before, after = _grey(before), _grey(after)
    uncertainty = None if uncertainty is None else _grey(uncertainty)
    facts = _facts(before, after)
    volumes = _part(before, after, uncertainty, limit)
    notes = []
    if volumes[1].shape != after.shape:
        notes.append(
            f"Shown at full resolution: the central {_times(volumes[1].shape)} of {_times(after.shape)} "
            "voxels; all of them would make this page too large for a browser."
        )
    before, after, uncertainty = volumes
    normalizer = volume_normalizer(before.array)
    span = _HEADROOM * (normalizer.high - normalizer.low)
    step = _step(span, before.array.dtype.kind in "iu" and after.array.dtype.kind in "iu")
    top = normalizer.low + _LEVELS * step
    notes.append(
        f"Grey values are shown in {_LEVELS + 1} steps of {step:.3g} from {normalizer.low:.4g} to {top:.4g}; "
        "what is beyond is shown as these."
    )
    files = {
        "before": encoded(before, normalizer.low, step),
        "after": encoded(after, normalizer.low, step),
    }
    difference = _difference(before, after)
    peak = float(np.percentile(np.abs(difference), 99.9)) or 1.0
    shown = dataclasses.replace(after, array=difference)
    files["difference"] = encoded(shown, -peak, peak / _COLOURS, 2 * _COLOURS)
    overlays = [difference_words(peak)]
    if uncertainty is not None:
        peak = float(np.percentile(uncertainty.array, 99.9)) or 1.0
        files["uncertainty"] = encoded(uncertainty, 0.0, peak / (2 * _COLOURS), 2 * _COLOURS)
        overlays.append(_overlay("uncertainty", "standard deviation over flips and turns", 0.0, peak))
    data = {
        "kind": "volume",
        "window": [normalizer.low, normalizer.high],
        "range": [normalizer.low, top],
        "step": step,
        "plane": _plane(before, after),
        "overlays": overlays,
    }
    axes = ["Left to right", "Back to front", "Feet to head"]
    return {"data": data, "files": files, "facts": facts, "notes": notes, "axes": axes}


def difference_words(peak: float) -> dict[str, Any]:
    """How the difference is called and shown, from `-peak` to `peak`."""
    return _overlay("difference", "after minus before, interpolated by a cubic spline", -peak, peak)


def _overlay(name: str, text: str, low: float, high: float) -> dict[str, Any]:
    ends = {"low": f"{low:.3g}", "high": f"{high:.3g}"}
    return {
        "name": name,
        "key": name[0],
        "title": f"{name.capitalize()}: {text}",
        "range": [low, high],
        **ends,
    }


def encoded(volume: Volume, low: float, step: float, levels: int = _LEVELS) -> str:
    """A volume (X, Y, Z) as gzipped NIfTI in base64: uint8, where `low` is 0 and each level a `step` more."""
    codes = np.empty(volume.shape, np.uint8)
    for place in range(len(codes)):  # One at a time: a volume in floats is eight times as large.
        codes[place] = np.clip(np.rint((volume.array[place] - low) / step), 0, levels)
    image = nibabel.Nifti1Image(codes, volume.affine)
    image.header.set_slope_inter(step, low)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(image.to_bytes(), 1, mtime=0)).decode("ascii")


def _step(span: float, whole: bool) -> float:
    """How far levels lie apart: one where the values are whole numbers and few enough."""
    return max(1.0, span / _LEVELS) if whole else span / _LEVELS


def _grey(volume: Volume) -> Volume:
    """The volume, its channels averaged."""
    if volume.array.ndim == 3:
        return volume
    return dataclasses.replace(volume, array=volume.array.mean(axis=-1, dtype="float32"))


def _check_same_box(before: Volume, after: Volume) -> None:
    """Raises DataError unless the outer faces of two volumes are the same."""
    corners = np.array(np.meshgrid(*[(0, 1)] * 3)).reshape(3, -1)
    places = []
    for volume in (before, after):
        indices = corners * np.array(volume.shape)[:, np.newaxis] - 0.5
        places.append(volume.affine[:3, :3] @ indices + volume.affine[:3, 3:])
    if np.abs(places[0] - places[1]).max() > _CORNERS * before.spacing.min():
        raise DataError(
            f"{after.name} does not cover the same box in the world as {before.name}: nothing to compare."
        )


def _part(
    before: Volume, after: Volume, uncertainty: Volume | None, limit: int
) -> tuple[Volume, Volume, Volume | None]:
    """The volumes, or their central part where the result is larger than `limit`."""
    share = (limit / np.prod(after.shape, dtype="float64")) ** (1 / 3)
    if share >= 1:
        return before, after, uncertainty
    coarse, fine = [], []
    for old, new in zip(before.shape, after.shape, strict=True):
        # Faces of voxels meet only every so many voxels: 3 of 30 slices are 20 of 200.
        ratio = Fraction(new, old)
        blocks = old // ratio.denominator
        kept = max(1, int(blocks * share))
        first = (blocks - kept) // 2
        coarse.append(slice(first * ratio.denominator, (first + kept) * ratio.denominator))
        fine.append(slice(first * ratio.numerator, (first + kept) * ratio.numerator))
    part = None if uncertainty is None else _cut(uncertainty, fine)
    return _cut(before, coarse), _cut(after, fine), part


def _cut(volume: Volume, part: list[slice]) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [each.start for each in part]
    return dataclasses.replace(volume, array=volume.array[tuple(part)], affine=affine)


def _difference(before: Volume, after: Volume) -> np.ndarray:
    """After minus before on the grid of the result, interpolated by cubic splines; float32."""
    interpolated = before.array
    for axis, count in enumerate(after.shape):
        interpolated = resample_axis(interpolated, axis, count)
    return after.array - np.asarray(interpolated, "float32")


def _plane(before: Volume, after: Volume) -> str:
    """The plane that shows best what changed: one with the axes that became finer."""
    factors = np.array(after.shape) / before.shape
    return plane_of(before.affine, int(np.argmin(factors)))


def _facts(before: Volume, after: Volume) -> list[tuple[str, str, str]]:
    """Rows of the table: what, before, after."""
    extent, same = (_numbers(volume.spacing * volume.shape) for volume in (before, after))
    return [
        ("Voxels", _times(before.shape), _times(after.shape)),
        ("Spacing, mm", _numbers(before.spacing), _numbers(after.spacing)),
        ("Extent, mm", extent, same),
    ]


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _numbers(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
