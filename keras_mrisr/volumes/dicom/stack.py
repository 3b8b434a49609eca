"""Slices in any order -> one stack with an affine, or a clear word why they are none."""

import logging
import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.frames import Frame, is_localizer

log = logging.getLogger(__name__)

_SAME_PLACE = 0.01  # Millimetres. Positions are rounded by some scanners, and no MR slice is this thin.
_SAME_DIRECTION = 1e-3  # Of direction cosines.
_UNEVEN = 0.1  # Of the distance between slices; positions that are rounded to 0.1 mm must pass.
_MISSING = 1.5  # Times the distance between slices.


def stack_frames(frames: list[Frame], name: str, index: int | None = None) -> list[Frame]:
    """The frames of one volume, in ascending order along the normal.

    Args:
        frames: Of one series, in any order.
        name: What messages call it.
        index: Which volume where there are several images at each position.

    Raises:
        DataError: See `read_volume`.
    """
    frames = _without_copies(_without_localizers(frames, name), name)
    _check_one_form(frames, name)
    places = _places(frames)
    chosen = _choose(places, name, index)
    _check_even(chosen, name)
    return chosen


def stack_affine(frames: list[Frame]) -> np.ndarray:
    """The affine (4, 4) of an array (column, row, slice) of stacked frames, to RAS+ millimetres."""
    first, last = frames[0], frames[-1]
    row, column = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    affine[:3, 0] = row / np.linalg.norm(row) * first.pixel_spacing[1]
    affine[:3, 1] = column / np.linalg.norm(column) * first.pixel_spacing[0]
    affine[:3, 2] = first.normal * slice_distance(frames)
    if len(frames) > 1:
        affine[:3, 2] = (last.position - first.position) / (len(frames) - 1)
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's axes point left and posterior.


def slice_distance(frames: Sequence[Frame]) -> float:
    """Millimetres from one stacked frame to the next; of a single one, what its header says."""
    first, last = frames[0], frames[-1]
    if len(frames) > 1:
        return float(np.linalg.norm(last.position - first.position)) / (len(frames) - 1)
    return first.distance or first.thickness or 1.0


def _without_localizers(frames, name):
    scouts = [frame for frame in frames if is_localizer(frame.kind)]
    if not scouts or len(scouts) == len(frames):
        return frames
    log.warning("%s: %d localizer(s) left out: %s", name, len(scouts), _some(scouts))
    return [frame for frame in frames if not is_localizer(frame.kind)]


def _without_copies(frames, name):
    """Leaves out files with the identifier of an earlier one: the same image, stored twice."""
    kept, copies = {}, []
    for frame in frames:
        key = (frame.header.get("SOPInstanceUID", frame.path), frame.number)
        if key in kept:
            copies.append(frame)
        else:
            kept[key] = frame
    if copies:
        log.warning("%s: %d second copies left out: %s", name, len(copies), _some(copies))
    return list(kept.values())


def _check_one_form(frames, name):
    """Size, pixel spacing and orientation are the same in all; says which frame is the odd one."""
    for what, forms in (
        ("sizes", [f"{frame.size[1]}x{frame.size[0]}" for frame in frames]),
        ("pixel spacings", ["x".join(f"{one:.4g}" for one in frame.pixel_spacing) for frame in frames]),
    ):
        counts = Counter(forms).most_common()
        if len(counts) > 1:
            listed = ", ".join(f"{count} of {form}" for form, count in counts[:4])
            odd = frames[forms.index(counts[-1][0])]
            raise DataError(
                f"{name} holds images of {len(counts)} {what} ({listed}), such as {odd.label}: "
                "keep those of one in a folder of their own."
            )
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if np.abs(frame.orientation - group[0].orientation).max() < _SAME_DIRECTION:
                group.append(frame)
                break
        else:
            groups.append([frame])
    if len(groups) > 1:
        groups.sort(key=len, reverse=True)
        counts = " and ".join(str(len(group)) for group in groups[:4])
        raise DataError(
            f"{name} holds images of {len(groups)} orientations ({counts} images), such as "
            f"{groups[-1][0].label}: keep those of one in a folder of their own."
        )


def _places(frames):
    """Frames by position along the normal, ascending; those at one place in the order of their moments."""
    normal = frames[0].normal
    ordered = sorted(frames, key=lambda frame: frame.position @ normal)
    places = [[ordered[0]]]
    for frame in ordered[1:]:
        if (frame.position - places[-1][0].position) @ normal < _SAME_PLACE:
            places[-1].append(frame)
        else:
            places.append([frame])
    return [sorted(place, key=lambda frame: (frame.kind, *frame.moment)) for place in places]


def _choose(places, name, index):
    """One frame at each place."""
    counts = Counter(len(place) for place in places)
    count = counts.most_common(1)[0][0]
    for place in places:
        if np.ptp([frame.position for frame in place], axis=0).max() > _SAME_PLACE:
            raise DataError(
                f"{name} holds two stacks side by side: {place[0].label} and {place[-1].label} lie in one "
                "plane. Keep each stack in a folder of its own."
            )
    if len(counts) > 1:
        odd = next(place for place in places if len(place) != count)
        if count == 1:
            raise DataError(
                f"{name} holds {len(odd)} images at one position: {_some(odd)}. Keep one of them."
            )
        raise DataError(
            f"{name} holds {count} images at most positions, but {len(odd)} at that of {odd[0].label}: "
            "one is missing or too many."
        )
    if count > 1 and index is None:
        raise DataError(
            f"{name} is 4-D: {count} images at each position (echoes, time points or image types). "
            f"Choose one with --volume-index 0 to {count - 1}."
        )
    if index is not None and not 0 <= index < count:
        raise DataError(f"{name} holds {count} volume(s), numbered from 0. Received: --volume-index {index}")
    chosen = [place[index or 0] for place in places]
    # The first moments are echo time and b-value, the same throughout a volume.
    if count > 1 and len({(frame.kind, frame.moment[:2]) for frame in chosen}) > 1:
        raise DataError(
            f"{name} mixes volumes that cannot be told apart. Export them as series of their own."
        )
    return chosen


def _check_even(frames, name):
    """Equal steps on a line from the first to the last."""
    if len(frames) < 2:
        return
    positions = np.array([frame.position for frame in frames])
    gaps = np.diff(positions @ frames[0].normal)
    usual = statistics.median_low(gaps.tolist())
    widest = int(gaps.argmax())
    places = f"between {frames[widest].label} and {frames[widest + 1].label}"
    if gaps[widest] > _MISSING * usual:
        raise DataError(
            f"{name} lacks a slice {places}: {gaps[widest]:.3f} mm there, {usual:.3f} mm elsewhere. "
            "Copy the series again."
        )
    _check_said_distance(frames, usual, name)
    steps = np.linspace(0, 1, len(frames))[:, np.newaxis]
    line = positions[0] + steps * (positions[-1] - positions[0])
    off = np.linalg.norm(positions - line, axis=1)
    if off.max() > _UNEVEN * usual:
        raise DataError(
            f"{name} has slices at uneven distances, such as {frames[int(off.argmax())].label} "
            f"({off.max():.3f} mm off): resample the series to even ones first."
        )


def _check_said_distance(frames, usual, name):
    """Slices lie as far apart as the headers say: otherwise every second one may be missing."""
    first = frames[0]
    said = first.distance
    if said < first.thickness:
        # Slices that overlap; or else the scanner gives the gap between their faces here.
        said += first.thickness
    if not first.distance or usual < _MISSING * said:
        return
    differ = f"all are {usual:.3f} mm apart, but SpacingBetweenSlices is {first.distance:.3f} mm"
    # Images are numbered one by one (the last of the moment): a wrong header, and nothing is missing.
    if (np.abs(np.diff([frame.moment[-1] for frame in frames])) == 1).all():
        log.warning("%s: %s. Their positions count.", name, differ)
        return
    raise DataError(f"{name} lacks slices: {differ}. Copy the series again, or mend that element.")


def _some(frames):
    return ", ".join(frame.label for frame in frames[:3]) + (", ..." if len(frames) > 3 else "")
