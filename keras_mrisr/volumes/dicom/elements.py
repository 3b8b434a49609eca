"""The elements of a header that may tell several images at one place apart."""

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.volumes.dicom.files import printable
from keras_mrisr.volumes.dicom.frames import Frame, value_of

Value = float | str | tuple[float | str, ...]

DIMENSION = "dimension "  # Begins the names of indices, which the name of the element follows.
# The order counts: what comes first is the slowest to change from volume to volume.
PHYSICS = (
    "ImageType", "FrameType", "ComplexImageComponent", "EffectiveEchoTime", "EchoTime", "EchoNumbers",
    "InversionTime", "InversionTimes", "FlipAngle", "RepetitionTime", "DiffusionBValue",
    "DiffusionDirectionality", "DiffusionGradientOrientation", "NominalCardiacTriggerDelayTime",
    "TriggerDelayTime", "ActualCardiacTriggerDelayTime", "TriggerTime",
)  # fmt: skip
TIMES = (
    "TemporalPositionIndex", "TemporalPositionIdentifier", "TemporalPositionTimeOffset",
    "FrameAcquisitionNumber", "AcquisitionNumber", "FrameReferenceDateTime", "FrameAcquisitionDateTime",
    "AcquisitionDateTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
# When an image was made, not when it was taken: computers may make them in any order.
MADE = ("ContentTime",)
# Times of the day are read behind their dates: scans may last over midnight.
_DATES = {"AcquisitionTime": "AcquisitionDate", "ContentTime": "ContentDate"}
# What may differ from slice to slice within a volume, and whose order counts all the same.
RANKED = (
    "InversionTime", "InversionTimes", "NominalCardiacTriggerDelayTime", "TriggerDelayTime",
    "ActualCardiacTriggerDelayTime", "TriggerTime", *(name for name in TIMES if name not in MADE),
)  # fmt: skip
# What is the same in all slices of a volume.
FIXED = (
    "ImageType", "FrameType", "ComplexImageComponent", "EffectiveEchoTime", "EchoTime", "FlipAngle",
    "DiffusionBValue",
)  # fmt: skip
_ACQUISITION = 0x0018
# b-values and directions in the private groups of classic files: name, group, creator, element.
_PRIVATE = (
    ("DiffusionBValue", 0x0019, "SIEMENS MR HEADER", 0x0C),
    ("DiffusionGradientOrientation", 0x0019, "SIEMENS MR HEADER", 0x0E),
    ("DiffusionBValue", 0x2001, "Philips Imaging DD 001", 0x03),
    ("DiffusionBValue", 0x0043, "GEMS_PARM_01", 0x39),
)
# Functional groups that say nothing of how a frame was acquired.
_NO_ACQUISITION = (
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "FrameVOILUTSequence",
    "PixelValueTransformationSequence", "RealWorldValueMappingSequence", "DerivationImageSequence",
    "ReferencedImageSequence", "FrameAnatomySequence",
)  # fmt: skip
_NO_DIFFERENCE = ("DimensionIndexValues", "InStackPositionNumber", "StackID", "FrameAcquisitionDuration")
_TOLERANCE = 1e-3  # Of a number: float32, or computed for each slice. No two volumes differ by as little.


class Elements:
    """What each of many frames says in the elements that differ among them.

    Attributes:
        names: The elements, in the order in which they count: indices of dimensions, `PHYSICS`, `TIMES`, and
            then what else describes the acquisition.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        tags = _differing({id(frame.header): frame.header for frame in frames}.values())
        self._values = {id(frame): dict(_values(frame, tags)) for frame in frames}
        found = list(dict.fromkeys(name for values in self._values.values() for name in values))
        self._labels = {name: self._labelled(name, frames) for name in found}
        self.names = sorted(found, key=_order)

    def label(self, frame: Frame, name: str) -> int:
        """A number for what a frame says, in the order of the values; -1 where it says nothing."""
        return self._labels[name][id(frame)]

    def text(self, frame: Frame, name: str) -> str:
        """What a frame says, for people: the element itself in place of its index."""
        keyword = name.removeprefix(DIMENSION)
        values = self._values[id(frame)]
        value = values.get(keyword, values.get(name, "none"))
        words = [f"{one:.6g}" if isinstance(one, float) else one for one in _as_tuple(value)]
        return printable(f"{keyword} {','.join(words)}")

    def _labelled(self, name: str, frames: Sequence[Frame]) -> dict[int, int]:
        """Numbers for the values of one element, by the identity of frames."""
        values = {id(frame): self._values[id(frame)].get(name) for frame in frames}
        in_order = sorted(frames, key=lambda frame: frame.instance)
        known = _numbered(dict.fromkeys(values[id(frame)] for frame in in_order), _is_measured(name))
        return {key: known[value] for key, value in values.items()}


def _numbered(values: Iterable[Value | None], measured: bool) -> Mapping[Any, int]:
    """Numbers for values: ascending, the same for measured ones that differ by less than two volumes do.

    Args:
        values: Different ones, in the order of the images; None for images that have none.
        measured: Whether numbers have errors.
    """
    there = [value for value in values if value is not None]
    if all(isinstance(value, float) for value in there):
        numbers = np.array(sorted(there), dtype="float64")
        tolerance = _TOLERANCE * np.abs(numbers[1:]) if measured else 0
        steps = np.concatenate([[0], np.cumsum(np.diff(numbers) > tolerance)])[: len(numbers)]
        return {None: -1, **dict(zip(numbers.tolist(), steps.tolist(), strict=True))}
    if all(isinstance(part, str) for value in there for part in _as_tuple(value)):
        there = sorted(there, key=_as_tuple)  # Directions have no order; their images have.
    return {None: -1, **{value: place for place, value in enumerate(there)}}


def _order(name: str) -> tuple[int, int, str]:
    """Sorts names; the indices of dimensions stay in the order of the dimensions."""
    if name.startswith(DIMENSION):
        return 0, 0, ""
    for place, names in enumerate((PHYSICS, TIMES), start=1):
        if name in names:
            return place, names.index(name), ""
    return 3, 0, name


def _is_measured(name: str) -> bool:
    return not name.startswith(DIMENSION) and name not in TIMES


def _differing(headers: Iterable[Any]) -> set[int]:
    """Tags of the top level that may tell files apart, and are not the same in all of them."""
    from pydicom.datadict import tag_for_keyword

    candidates = {tag_for_keyword(keyword) for keyword in (*PHYSICS, *TIMES, *_DATES.values())}
    seen: dict[int, set[str]] = {}
    headers = list(headers)
    for header in headers:
        for tag in header.keys():  # noqa: SIM118 (Iterating over a data set converts every element.)
            if tag in candidates or tag.group == _ACQUISITION:
                seen.setdefault(int(tag), set()).add(repr(header.get_item(tag).value))
    return {tag for tag, values in seen.items() if len(values) > 1 or len(headers) == 1}


def _values(frame: Frame, tags: set[int]) -> Iterator[tuple[str, Value]]:
    """What a frame says: names and values."""
    header = frame.header
    if frame.number is None:
        yield from _private(header)
        for tag in tags:
            with contextlib.suppress(Exception):  # Of no common class; what can't be read tells nothing.
                if tag in header:
                    yield from _named(header[tag])
        for time, date in _DATES.items():
            if time in header:
                yield time, f"{value_of(header, date, '')} {value_of(header, time, '')}".strip()
        return
    group = header.PerFrameFunctionalGroupsSequence[frame.number]
    yield from _dimensions(header, group)
    yield from _nested(group)


def _dimensions(header: Any, group: Any) -> Iterator[tuple[str, Value]]:
    """The indices of a frame in the dimensions of its file."""
    from pydicom.datadict import keyword_for_tag

    pointers = [item.get("DimensionIndexPointer") for item in header.get("DimensionIndexSequence") or ()]
    content = (group.get("FrameContentSequence") or [{}])[0]
    indices = value_of(content, "DimensionIndexValues")
    indices = [] if indices is None else np.atleast_1d(np.array(indices, dtype="float64")).tolist()
    if len(indices) != len(pointers):
        return
    for pointer, index in zip(pointers, indices, strict=True):
        keyword = keyword_for_tag(pointer) or f"{pointer}"
        yield f"{DIMENSION}{keyword}", float(index)


def _nested(item: Any) -> Iterator[tuple[str, Value]]:
    """The elements of functional groups, and of the groups within them."""
    for tag in list(item.keys()):
        with contextlib.suppress(Exception):  # Of no common class; what can't be read tells nothing.
            element = item[tag]
            if element.tag.is_private or element.keyword in (*_NO_ACQUISITION, *_NO_DIFFERENCE):
                continue
            found = (_nested(one) for one in element.value[:1]) if element.VR == "SQ" else (_named(element),)
            yield from itertools.chain.from_iterable(found)


def _private(header: Any) -> Iterator[tuple[str, Value]]:
    for name, group, creator, offset in _PRIVATE:
        with contextlib.suppress(Exception):
            value = header.private_block(group, creator)[offset].value
            if isinstance(value, bytes):  # Without a dictionary: text, or doubles.
                text = value.decode("ascii", "replace").strip("\0 ")
                plain = re.fullmatch(r"[\d.+\-eE\\]+", text)
                value = text.split("\\") if plain else np.frombuffer(value, "<f8")
            numbers = tuple(float(number) for number in np.atleast_1d(value))
            if name == "DiffusionBValue":
                yield name, numbers[0] % 1e6  # GE adds 1e9 to some.
            else:
                yield name, numbers


def _named(element: Any) -> Iterator[tuple[str, Value]]:
    """An element as name and value; nothing where it has no name or no value."""
    value = element.value
    if not element.keyword or element.VR in ("SQ", "UI") or isinstance(value, bytes | None):
        return
    values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    # The float of a date with a time would lose its seconds.
    parts = tuple(map(str if element.VR == "DT" else _part, values))
    if element.keyword in ("ImageType", "FrameType"):
        parts = parts[2:] + parts[:2]  # What they show counts first.
    if parts not in ((), ("",)):
        yield element.keyword, parts[0] if len(parts) == 1 else parts


def _part(value: Any) -> float | str:
    """A number, also of a time (which sorts as one), or else a text."""
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return str(value)


def _as_tuple(value: Value) -> tuple[float | str, ...]:
    return value if isinstance(value, tuple) else (value,)
