"""Slices in any order -> one stack, or a clear word why they are none."""

import logging
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from keras_mrisr.errors import DataError, ManyVolumesError
from keras_mrisr.volumes.dicom.files import SetApart
from keras_mrisr.volumes.dicom.frames import Frame, is_localizer
from keras_mrisr.volumes.dicom.grid import position_error
from keras_mrisr.volumes.dicom.tell_apart import Places, tell_apart, volume_list

log = logging.getLogger(__name__)

_SAME_PLACE = 0.01  # Millimetres. Positions are rounded by some scanners, and no MR slice is this thin.
_SAME_DIRECTION = 1e-3  # Of direction cosines.
_SAME_GRID = 0.1  # Of a pixel, at the far edge of the image.
_UNEVEN = 0.1  # Of the distance between slices.
_MISSING = 1.5  # Times the distance between slices.
_MOST = 2  # So many times as many images as all others together are the series; the others strayed into it.


def stack_frames(frames: list[Frame], name: str, index: int | None = None) -> list[Frame]:
    """The frames of one volume, in ascending order along the normal.

    Args:
        frames: Of one series and one form, in any order.
        name: What messages call it.
        index: Which volume where there are several images at each position.

    Raises:
        DataError: See `read_volume`.
    """
    places = _places(frames)
    _check_one_column(places, name)
    chosen = _choose(places, name, index)
    _check_even(chosen, name)
    return chosen


def usable_frames(frames: list[Frame], name: str) -> tuple[list[Frame], list[SetApart]]:
    """Leaves out localizers, copies, and what strayed into the series: of another size or orientation.

    Raises:
        DataError: No form is that of by far the most images.
    """
    frames = _without_copies(_without_localizers(frames, name), name)
    forms: list[list[Frame]] = []
    for frame in frames:
        form = next((form for form in forms if _difference(frame, form[0]) is None), None)
        if form is None:
            forms.append([frame])
        else:
            form.append(frame)
    forms.sort(key=len, reverse=True)
    main, others = forms[0], [frame for form in forms[1:] for frame in form]
    if not others:
        return frames, []
    text = _forms_text(forms, name)
    if len(main) < _MOST * len(others):
        raise DataError(f"{text}: keep those of one in a folder of their own.")
    return main, [SetApart(others[0].path, text, broken=False)]


def missing_slice(frames: Sequence[Frame], position: np.ndarray) -> bool:
    """Whether a slice at a position would belong to a stack, and is not in it."""
    first, last = frames[0], frames[-1]
    step = (last.position - first.position) / max(len(frames) - 1, 1)
    if len(frames) == 1:
        return False
    place = (position - first.position) @ step / (step @ step)
    aside = np.linalg.norm(position - first.position - place * step)
    beside = aside > max(_UNEVEN * float(np.linalg.norm(step)), 2 * position_error(frames))
    return (
        not beside and -_MISSING < place < len(frames) - 1 + _MISSING and not 0 <= round(place) < len(frames)
    )


def _without_localizers(frames: list[Frame], name: str) -> list[Frame]:
    scouts = [frame for frame in frames if is_localizer(frame.kind)]
    if not scouts or len(scouts) == len(frames):
        return frames
    log.warning("%s: %d localizer(s) left out: %s", name, len(scouts), _some(scouts))
    return [frame for frame in frames if not is_localizer(frame.kind)]


def _without_copies(frames: list[Frame], name: str) -> list[Frame]:
    """Leaves out files with the identifier of an earlier one: the same image, stored twice."""
    kept: dict[object, Frame] = {}
    copies = []
    for frame in frames:
        key = (frame.header.get("SOPInstanceUID", frame.path), frame.number, frame.corner)
        if key in kept:
            copies.append(frame)
        else:
            kept[key] = frame
    if copies:
        log.warning("%s: %d second copies left out: %s", name, len(copies), _some(copies))
    return list(kept.values())


def _difference(frame: Frame, other: Frame) -> str | None:
    """What keeps two images from lying in one stack; None if nothing."""
    if frame.header.get("SOPClassUID") != other.header.get("SOPClassUID"):
        return "kinds"
    if frame.size != other.size:
        return "sizes"
    # Written with few digits or as float32, one spacing is two texts.
    apart = np.abs(frame.pixel_spacing - other.pixel_spacing) * frame.size
    if (apart > _SAME_GRID * other.pixel_spacing).any():
        return "pixel spacings"
    if np.abs(frame.orientation - other.orientation).max() >= _SAME_DIRECTION:
        return "orientations"
    return None


def _forms_text(forms: list[list[Frame]], name: str) -> str:
    """In what the images of a series differ, and how many there are of each."""
    what = _difference(forms[1][0], forms[0][0])
    texts = {
        "kinds": lambda frame: str(frame.header.get("SOPClassUID")),
        "sizes": lambda frame: f"{frame.size[1]}x{frame.size[0]}",
        "pixel spacings": lambda frame: "x".join(f"{one:.4g}" for one in frame.pixel_spacing),
    }
    if what in texts:
        listed = ", ".join(f"{len(form)} of {texts[what](form[0])}" for form in forms[:4])
    else:
        listed = " and ".join(str(len(form)) for form in forms[:4]) + " images"
    return f"{name} holds images of {len(forms)} {what} ({listed}), such as {forms[-1][0].label}"


def _places(frames: list[Frame]) -> Places:
    """Frames by position along the normal, ascending."""
    normal = frames[0].normal
    ordered = sorted(frames, key=lambda frame: frame.position @ normal)
    places = [[ordered[0]]]
    for frame in ordered[1:]:
        if (frame.position - places[-1][0].position) @ normal < _SAME_PLACE:
            places[-1].append(frame)
        else:
            places.append([frame])
    return places


def _check_one_column(places: Places, name: str) -> None:
    """Raises an error unless there are as many images at each position, one upon the other."""
    for place in places:
        if np.ptp([frame.position for frame in place], axis=0).max() > _SAME_PLACE:
            raise DataError(
                f"{name} holds two stacks side by side: {place[0].label} and {place[-1].label} lie in one "
                "plane. Keep each stack in a folder of its own."
            )
    counts = Counter(len(place) for place in places)
    count = counts.most_common(1)[0][0]
    odd = next((place for place in places if len(place) != count), None)
    if odd is None:
        return
    if count == 1:
        raise DataError(f"{name} holds {len(odd)} images at one position: {_some(odd)}. Keep one of them.")
    raise DataError(
        f"{name} holds {count} images at most positions, but {len(odd)} at that of {odd[0].label}: "
        "one is missing or too many."
    )


def _choose(places: Places, name: str, index: int | None) -> list[Frame]:
    """One frame at each place."""
    count = len(places[0])
    if index is not None and not 0 <= index < count:
        raise DataError(f"{name} holds {count} volume(s), numbered from 0. Received: `volume_index` {index}")
    if count == 1:
        return [place[0] for place in places]
    volumes, differences = tell_apart(places, name)
    if index is None:
        raise ManyVolumesError(
            f"{name} is 4-D: {count} images at each position. Choose one with `volume_index` 0 to "
            f"{count - 1} ({volume_list(differences)})."
        )
    log.info("%s: volume %d of %d (%s)", name, index, count, differences[index])
    return volumes[index]


def _check_even(frames: list[Frame], name: str) -> None:
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
    # Of rounding there is as much at the ends of the line as in between.
    if off.max() > max(_UNEVEN * usual, 2 * position_error(frames)):
        raise DataError(
            f"{name} has slices at uneven distances, such as {frames[int(off.argmax())].label} "
            f"({off.max():.3f} mm off): resample the series to even ones first."
        )


def _check_said_distance(frames: list[Frame], usual: float, name: str) -> None:
    """Slices lie as far apart as the headers say: otherwise every second one may be missing."""
    first = frames[0]
    said = first.distance
    if said < first.thickness:
        # Slices that overlap; or else the scanner gives the gap between their faces here.
        said += first.thickness
    if not first.distance or usual < _MISSING * said:
        return
    differ = f"all are {usual:.3f} mm apart, but SpacingBetweenSlices is {first.distance:.3f} mm"
    # Images are numbered one by one: a wrong header, and nothing is missing.
    if (np.abs(np.diff([frame.instance for frame in frames])) == 1).all():
        log.warning("%s: %s. Their positions count.", name, differ)
        return
    raise DataError(f"{name} lacks slices: {differ}. Copy the series again, or mend that element.")


def _some(frames: Iterable[Frame]) -> str:
    frames = list(frames)
    return ", ".join(frame.label for frame in frames[:3]) + (", ..." if len(frames) > 3 else "")
