"""The images in DICOM files: single slices, or the frames of Enhanced multi-frame files."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError, MrisrError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One slice and what is needed to put it into a volume.

    Attributes:
        path: The file.
        header: Its data set without the pixels, shared by the frames of one file.
        number: Which frame of a multi-frame file, from 0; None in a file of one slice.
        size: (rows, columns).
        pixel_spacing: Millimetres between rows and between columns, (2,).
        orientation: Direction cosines along a row and along a column, (6,), in DICOM's LPS.
        position: The centre of the first pixel, (3,) millimetres in LPS.
        slope: Rescale slope.
        intercept: Rescale intercept.
        thickness: SliceThickness, 0 where there is none.
        distance: SpacingBetweenSlices, 0 where there is none.
        kind: Image type, without the values that derived images share.
        moment: What tells images at one place apart: echo time, b-value, time point.
    """

    path: pathlib.Path
    header: Any
    number: int | None
    size: tuple[int, int]
    pixel_spacing: np.ndarray
    orientation: np.ndarray
    position: np.ndarray
    slope: float
    intercept: float
    thickness: float
    distance: float
    kind: tuple[str, ...]
    moment: tuple[float, ...]

    @property
    def normal(self) -> np.ndarray:
        """The direction in which slices are stacked: row direction x column direction."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def label(self) -> str:
        """What messages call it."""
        return str(self.path) if self.number is None else f"frame {self.number + 1} of {self.path}"


def read_headers(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, Any]]:
    """The DICOM images in a file, or in a folder and below it: paths and headers without pixels.

    What is no DICOM, or DICOM without an image (DICOMDIR, reports), is left out with a log line.

    Raises:
        DataError: A DICOM file that is cut off.
    """
    from pydicom.errors import InvalidDicomError

    images, others, suspects = [], [], []
    for file in _files(path):
        header = None
        with (
            contextlib.suppress(InvalidDicomError),
            one_line(f"{file} is broken or cut off ({{}}). Copy it again."),
        ):
            header = open_dicom(file, stop_before_pixels=True)
            if "Rows" not in header or "Columns" not in header:
                _check_whole(header)
                suspects += [] if _sop_class(header) else [file]
                header = None
        if header is None:
            others.append(file)
            suspects += [file] if _is_blank(file) else []
        else:
            images.append(file)
            yield file, header
    _check_suspects(suspects, images)
    if others:
        names = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
        log.info("%s: %d file(s) without a DICOM image left out: %s", path, len(others), names)


def _check_whole(header):
    """Raises EOFError if a header without a size has lost it, or never got as far."""
    from pydicom.uid import UID, MRImageStorage

    sop_class = _sop_class(header)
    if "image" in UID(sop_class).name.lower() or (sop_class and MRImageStorage.startswith(sop_class)):
        raise EOFError("an image without Rows")
    if not sop_class and header.preamble is not None:  # Without one, it may be the file of another program.
        raise EOFError("it ends before it says what it is")


def _sop_class(header):
    """What a file holds, "" where it does not say; a DICOMDIR says it in its meta group only."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def _is_blank(file):
    """Whether a file is empty, or less than what DICOM begins with: 128 zeros and DICM."""
    with file.open("rb") as opened:
        return opened.read(132).strip(b"\0") in (b"", b"D", b"DI", b"DIC")


def _check_suspects(suspects, images):
    """Refuses files that hold nothing, but are named like the images beside them; warns of the rest."""
    alike = {form for image in images for form in _name_forms(image)}
    for file in suspects:
        if not alike.isdisjoint(_name_forms(file)):
            raise DataError(f"{file} is empty or cut off, unlike the images beside it. Copy it again.")
    if suspects and images:
        names = ", ".join(str(file) for file in suspects[:3]) + (", ..." if len(suspects) > 3 else "")
        log.warning("%d empty or unreadable file(s) beside DICOM images left out: %s", len(suspects), names)


def _name_forms(file):
    """What the files of a series have in common: folder and suffix, and the name without its numbers."""
    forms = {(file.parent, re.sub(r"\d+", "", file.name))}
    if re.fullmatch(r"\.\w*[a-zA-Z]\w*", file.suffix):
        forms.add((file.parent, file.suffix.lower()))
    return forms


@contextlib.contextmanager
def one_line(message: str) -> Iterator[None]:
    """Turns what pydicom raises into an `DataError`.

    Its errors have no common class: it raises whatever its parsing of foreign bytes meets, some of it with
    a traceback in the message.

    Args:
        message: What went wrong, with {} for the first line of the error.
    """
    from pydicom.errors import InvalidDicomError

    try:
        yield
    except (MrisrError, InvalidDicomError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(". ")
        raise DataError(message.replace("{}", reason)) from error  # No format: paths may hold braces.


def open_dicom(path: pathlib.Path, **options):
    """A DICOM file's data set: `pydicom.dcmread`, also for files without preamble and file meta group.

    Raises:
        pydicom.errors.InvalidDicomError: No DICOM file.
    """
    import pydicom

    try:
        dataset = pydicom.dcmread(path, **options)
    except pydicom.errors.InvalidDicomError:
        with path.open("rb") as file:
            if file.read(2) != b"\x08\x00":  # The group that all images begin with.
                raise
        dataset = pydicom.dcmread(path, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def frames_of(path: pathlib.Path, header) -> list[Frame]:
    """The frames of one file.

    Raises:
        DataError: A header without what places its images in space.
    """
    with one_line(f"{path} has a header that places no image in space ({{}})."):
        if "PerFrameFunctionalGroupsSequence" in header:
            groups = header.PerFrameFunctionalGroupsSequence
            return [_enhanced_frame(path, header, number, group) for number, group in enumerate(groups)]
        if number_of(header, "NumberOfFrames", 1) > 1:
            raise DataError(
                f"{path} has several frames, but no positions for them. Export it as single slices."
            )
        return [_classic_frame(path, header)]


def is_localizer(image_type) -> bool:
    """Whether an ImageType is that of a scout for planning."""
    return any(str(value).upper() in ("LOCALIZER", "LOCALISER", "SCOUT") for value in image_type or ())


def macro(header, group, name: str, keyword: str):
    """The item of a functional group of an Enhanced file: the frame's own, or the shared one, or None.

    Args:
        header: The data set of the file.
        group: The frame's item of PerFrameFunctionalGroupsSequence.
        name: The sequence, such as "PixelMeasuresSequence".
        keyword: An element that must be in it.
    """
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    for place in (group, shared[0]):
        items = place.get(name)
        if items and keyword in items[0]:
            return items[0]
    return None


def value_of(item, keyword: str, default=None):
    """An element's value; the default where it is missing, empty, or cannot be read."""
    try:
        value = item.get(keyword)
    except Exception:  # Of no common class, see `one_line`.
        return default
    return default if value is None or value == "" else value


def number_of(item, keyword: str, default: float) -> float:
    """An element's value as a number; the default where it is none, or several."""
    try:
        return float(value_of(item, keyword, default))
    except (TypeError, ValueError):
        return default


def _files(path):
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (pathlib.Path(folder, name) for name in sorted(names))


def _classic_frame(path, header):
    return Frame(
        path=path,
        header=header,
        number=None,
        size=(int(header.Rows), int(header.Columns)),
        pixel_spacing=_numbers(header.PixelSpacing, 2),
        orientation=_orientation(header.ImageOrientationPatient),
        position=_numbers(header.ImagePositionPatient, 3),
        slope=number_of(header, "RescaleSlope", 1.0),
        intercept=number_of(header, "RescaleIntercept", 0.0),
        **_depth(header),
        kind=_kind(header.get("ImageType")),
        moment=(
            number_of(header, "EchoTime", 0.0),
            number_of(header, "DiffusionBValue", 0.0),
            number_of(header, "TemporalPositionIdentifier", 0.0),
            number_of(header, "AcquisitionNumber", 0.0),
            number_of(header, "InstanceNumber", 0.0),
        ),
    )


def _enhanced_frame(path, header, number, group):
    def item(name, keyword, needed=False):
        found = macro(header, group, name, keyword)
        if found is None and needed:
            raise AttributeError(f"frame {number + 1} has no {keyword}")
        return found if found is not None else {}

    measures = item("PixelMeasuresSequence", "PixelSpacing", needed=True)
    values = item("PixelValueTransformationSequence", "RescaleSlope")
    frame_type = item("MRImageFrameTypeSequence", "FrameType").get("FrameType")
    return Frame(
        path=path,
        header=header,
        number=number,
        size=(int(header.Rows), int(header.Columns)),
        pixel_spacing=_numbers(measures.PixelSpacing, 2),
        orientation=_orientation(
            item("PlaneOrientationSequence", "ImageOrientationPatient", needed=True).ImageOrientationPatient
        ),
        position=_numbers(
            item("PlanePositionSequence", "ImagePositionPatient", needed=True).ImagePositionPatient, 3
        ),
        slope=number_of(values, "RescaleSlope", 1.0),
        intercept=number_of(values, "RescaleIntercept", 0.0),
        **_depth(measures),
        kind=_kind(frame_type or header.get("ImageType")),
        moment=(
            number_of(item("MREchoSequence", "EffectiveEchoTime"), "EffectiveEchoTime", 0.0),
            number_of(item("MRDiffusionSequence", "DiffusionBValue"), "DiffusionBValue", 0.0),
            number_of(item("FrameContentSequence", "TemporalPositionIndex"), "TemporalPositionIndex", 0.0),
            float(number),
        ),
    )


def _orientation(value):
    cosines = _numbers(value, 6)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row) * np.linalg.norm(column)
    if abs(lengths - 1) > 1e-2 or abs(row @ column) > 1e-2:
        raise ValueError(f"ImageOrientationPatient {cosines.tolist()} is no pair of directions")
    return cosines


def _numbers(value, count):
    numbers = np.array([float(one) for one in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers, received {numbers.tolist()}")
    return numbers


def _depth(item):
    # Philips and others write the spacing with a sign.
    return {
        "thickness": abs(number_of(item, "SliceThickness", 0.0)),
        "distance": abs(number_of(item, "SpacingBetweenSlices", 0.0)),
    }


def _kind(image_type):
    return tuple(str(value) for value in (image_type or ())[2:])
