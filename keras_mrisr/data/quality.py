"""The oddities of a data set that only its pixels show."""

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from keras_mrisr.data.images import read_image
from keras_mrisr.data.lgg import SEQUENCES
from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord
from keras_mrisr.errors import MrisrError
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)

_SAMPLES = 64  # Tissue is judged on about 64 x 64 pixels of a slice, which is plenty for a fraction.
_TISSUE = 0.1  # Tissue is what exceeds this part of the patient's intensity range.
_NEAR_EMPTY = 0.01  # A slice with less tissue than this has nothing to learn from.


@dataclasses.dataclass(frozen=True)
class SlicePixels:
    """What one pass over a slice's pixels found.

    Attributes:
        record: The slice.
        shape: (H, W, C), or None where it could not be read.
        dtype: "uint8", "uint16", "float32", or None.
        digest: Of the pixels, to find equal slices by; None for a constant slice.
        equal: Pairs of channels that are equal everywhere, such as ((0, 1),); none in a constant slice.
        tissue: Part of the pixels in [0, 1] that are brighter than 10 % of the patient's range.
        corners: The median intensity of the four corners, per channel, in the file's units.
        tumour: Pixels of the mask over 0, None where there is no (readable) mask.
        error: Why the slice could not be read.
        mask_error: Why its mask could not be used.
    """

    record: SliceRecord
    shape: tuple[int, int, int] | None = None
    dtype: str | None = None
    digest: bytes | None = None
    equal: tuple[tuple[int, int], ...] = ()
    tissue: float = 0.0
    corners: tuple[float, ...] = ()
    tumour: int | None = None
    error: str | None = None
    mask_error: str | None = None


def scan_pixels(dataset: SliceDataset, progress: Progress | None = None) -> tuple[SlicePixels, ...]:
    """Reads every slice and mask once, a few milliseconds each.

    Args:
        dataset: The slices.
        progress: Called with (slices done, slices in all) after each slice.

    Returns:
        One entry per slice, in the data set's order.
    """
    scanned: list[SlicePixels] = []
    for stack in dataset.by_patient().values():
        seen = []
        for record in stack:
            seen.append(_scan_slice(dataset, record))
            if progress is not None:
                progress(len(scanned) + len(seen), len(dataset))
        scanned += _with_tissue(seen)
    return tuple(scanned)


def find_oddities(dataset: SliceDataset, scanned: Sequence[SlicePixels]) -> tuple[Finding, ...]:
    """The findings that follow from `scan_pixels`, and one log line that counts them.

    Finds unreadable files, sizes and pixel types that differ from the majority, equal channels (a sequence
    was missing and another one stored in its place), near-empty slices, and patients with equal slices.
    """
    findings = [finding for pixels in scanned for finding in _of_one_slice(pixels)]
    readable = [pixels for pixels in scanned if pixels.shape is not None]
    findings += _minorities("size", readable, lambda pixels: f"{pixels.shape[0]}x{pixels.shape[1]} pixels")
    findings += _minorities(
        "type", readable, lambda pixels: f"{pixels.shape[2]} channel(s) of {pixels.dtype}"
    )
    findings += _equal_channels(readable, SEQUENCES if dataset.kind == "lgg" else ("red", "green", "blue"))
    findings += _equal_patients(readable)
    if dataset.kind == "lgg":  # Other pictures may well be bright up to their corners.
        findings += _bright_backgrounds(readable)
    kinds = Counter(finding.kind for finding in findings)
    odd = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing odd"
    log.info("%s: pixels of %d slices checked; %s", dataset.root, len(scanned), odd)
    return tuple(findings)


def _of_one_slice(pixels: SlicePixels) -> Iterator[Finding]:
    record = pixels.record
    if pixels.error is not None:
        yield Finding("unreadable", record.path, record.patient, pixels.error)
    elif pixels.tissue < _NEAR_EMPTY:
        message = f"{record.name} is nearly empty ({pixels.tissue:.1%} tissue)"
        yield Finding("near-empty", record.path, record.patient, message)
    if pixels.mask_error is not None:
        yield Finding("mask", record.mask, record.patient, pixels.mask_error)


def _scan_slice(dataset: SliceDataset, record: SliceRecord) -> tuple[SlicePixels, np.ndarray | None]:
    """What the slice alone says, and a thinned copy of it for judging tissue."""
    try:
        array = dataset.read(record)
    except MrisrError as error:
        return SlicePixels(record, error=str(error)), None
    varies = bool(array.min() < array.max())
    equal: tuple[tuple[int, int], ...] = ()
    if varies:
        pairs = combinations(range(array.shape[-1]), 2)
        equal = tuple(pair for pair in pairs if np.array_equal(array[..., pair[0]], array[..., pair[1]]))
    tumour, mask_error = _scan_mask(record, array.shape[:2])
    step = max(1, min(array.shape[:2]) // _SAMPLES)
    # The median, because one channel of three may have an odd background (see _bright_backgrounds).
    thin = np.median(array[::step, ::step], axis=-1)
    pixels = SlicePixels(
        record,
        shape=array.shape,
        dtype=array.dtype.name,
        digest=hashlib.sha256(array.tobytes()).digest() if varies else None,
        equal=equal,
        corners=_corners(array),
        tumour=tumour,
        mask_error=mask_error,
    )
    return pixels, thin


def _scan_mask(record: SliceRecord, shape: tuple[int, ...]) -> tuple[int | None, str | None]:
    """(Pixels of tumour, why the mask cannot be used): at most one of them."""
    if record.mask is None:
        return None, None
    try:
        mask = read_image(record.mask)
    except MrisrError as error:
        return None, str(error)
    if mask.shape[:2] != shape:
        return None, f"{record.mask.name} is {mask.shape[:2]}, its image {shape} pixels"
    return int((mask.max(axis=-1) > 0).sum()), None


def _corners(array: np.ndarray) -> tuple[float, ...]:
    height, width = (max(1, side // 16) for side in array.shape[:2])
    patches = [
        patch.reshape(-1, array.shape[-1])
        for rows in (array[:height], array[-height:])
        for patch in (rows[:, :width], rows[:, -width:])
    ]
    return tuple(float(value) for value in np.median(np.concatenate(patches), axis=0))


def _with_tissue(seen: Iterable[tuple[SlicePixels, np.ndarray | None]]) -> list[SlicePixels]:
    """Fills in tissue, which needs the whole patient: a slice of noise is only dark beside others."""
    seen = list(seen)
    thins = [thin.ravel() for _, thin in seen if thin is not None]
    if not thins:
        return [pixels for pixels, _ in seen]
    everything = np.concatenate(thins)
    low = min(0.0, float(everything.min()))
    # Arbitrary units: the 99.9th percentile, unless so little is there that it is background too.
    high = float(np.percentile(everything, 99.9))
    high = high if high > low else float(everything.max())
    threshold = low + _TISSUE * (high - low)
    filled = []
    for pixels, thin in seen:
        tissue = 0.0 if thin is None else float((thin > threshold).mean())
        filled.append(dataclasses.replace(pixels, tissue=tissue))
    return filled


def _minorities(kind: str, readable: Sequence[SlicePixels], look: Callable[[Any], str]) -> list[Finding]:
    """Slices that look unlike most of their patient, and patients unlike most of the set."""
    stacks: dict[str, list[SlicePixels]] = {}
    for pixels in readable:
        stacks.setdefault(pixels.record.patient, []).append(pixels)
    findings, usual = [], {}
    for patient, stack in stacks.items():
        usual[patient] = Counter(map(look, stack)).most_common(1)[0][0]
        for pixels in stack:
            if look(pixels) != usual[patient]:
                message = f"{pixels.record.name} has {look(pixels)}, most of {patient} has {usual[patient]}"
                findings.append(Finding(kind, pixels.record.path, patient, message))
    if usual:
        most = Counter(usual.values()).most_common(1)[0][0]
        for patient, here in usual.items():
            if here != most:
                message = f"{patient} has {here}, most patients have {most}"
                findings.append(Finding(kind, None, patient, message))
    return findings


def _equal_channels(readable: Sequence[SlicePixels], names: Sequence[str]) -> list[Finding]:
    """One finding per patient that has equal channels in at least half of its slices with tissue."""
    counts: Counter[tuple[str, tuple[int, int]]] = Counter()
    totals: Counter[str] = Counter()
    for pixels in readable:
        if pixels.tissue >= _NEAR_EMPTY:
            totals[pixels.record.patient] += 1
            counts.update((pixels.record.patient, pair) for pair in pixels.equal)
    findings = []
    for patient, total in totals.items():
        pairs = [
            pair for (owner, pair), count in sorted(counts.items()) if owner == patient and 2 * count >= total
        ]
        if not pairs:
            continue
        if len(pairs) == 3:
            message = f"{patient}: {', '.join(names)} are all equal (one sequence stored three times)"
        else:
            first, second = pairs[0]
            message = (
                f"{patient}: {names[first]} and {names[second]} (channels {first} and {second}) are equal"
                f" in {counts[patient, pairs[0]]} of {total} slices with tissue"
            )
        findings.append(Finding("equal-channels", None, patient, message))
    return findings


def _equal_patients(readable: Sequence[SlicePixels]) -> list[Finding]:
    """One finding for every two patients that share slices, who may be one person."""
    owners: dict[tuple[object, ...], dict[str, SlicePixels]] = {}
    for pixels in readable:
        if pixels.digest is not None and pixels.tissue >= _NEAR_EMPTY:
            key = (pixels.digest, pixels.shape, pixels.dtype)
            owners.setdefault(key, {}).setdefault(pixels.record.patient, pixels)
    shared: dict[tuple[str, str], list[tuple[SlicePixels, SlicePixels]]] = {}
    for found in owners.values():
        for first, second in combinations(sorted(found), 2):
            shared.setdefault((first, second), []).append((found[first], found[second]))
    findings = []
    for (first, second), pairs in sorted(shared.items()):
        one, other = (pixels.record.path for pixels in pairs[0])
        message = (
            f"{first} and {second} have {len(pairs)} equal slice(s), such as {one} and {other}: if they are "
            "one person, say so with a patient pattern, or leave one out"
        )
        findings.append(Finding("equal-slices", one, first, message))
    return findings


def _bright_backgrounds(readable: Sequence[SlicePixels]) -> list[Finding]:
    """Patients whose air isn't dark in some sequence (LGG: 8-bit slices of three channels)."""
    corners: dict[str, list[tuple[float, ...]]] = {}
    for pixels in readable:
        if pixels.dtype == "uint8" and len(pixels.corners) == len(SEQUENCES):
            corners.setdefault(pixels.record.patient, []).append(pixels.corners)
    findings = []
    for patient, values in corners.items():
        for channel, level in enumerate(np.median(values, axis=0)):
            if level > _TISSUE * 255:
                name = f"{SEQUENCES[channel]} (channel {channel})"
                message = f"{patient}: {name} has a background of about {level:.0f} of 255"
                findings.append(Finding("background", None, patient, message))
    return findings
