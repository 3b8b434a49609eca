"""The images in DICOM files: single slices, frames of Enhanced multi-frame files, tiles of mosaics."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom import mosaic
from keras_mrisr.volumes.dicom.files import one_line


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
        instance: InstanceNumber, or the number of the frame.
        corner: Where the slice begins in a mosaic, (row, column); None in other images.
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
    instance: float
    corner: tuple[int, int] | None = None

    @property
    def normal(self) -> np.ndarray:
        """The direction in which slices are stacked: row direction x column direction."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def label(self) -> str:
        """What messages call it."""
        return str(self.path) if self.number is None else f"frame {self.number + 1} of {self.path}"


def frames_of(path: pathlib.Path, header: Any) -> list[Frame]:
    """The frames of one file.

    Raises:
        DataError: A header without what places its images in space.
    """
    with one_line(f"{path} has a header that places no image in space ({{}})."):
        if "PerFrameFunctionalGroupsSequence" in header:
            groups = header.PerFrameFunctionalGroupsSequence
            count = int(header.get("NumberOfFrames") or 1)
            if not groups or len(groups) != count:
                raise ValueError(f"it has {count} frames, and {len(groups)} items that say where they lie")
            return [_enhanced_frame(path, header, number, group) for number, group in enumerate(groups)]
        if number_of(header, "NumberOfFrames", 1) > 1:
            raise DataError(
                f"{path} has several frames, but no positions for them. Export it as single slices."
            )
        frame = _classic_frame(path, header)
        if "MOSAIC" not in (header.get("ImageType") or ()):
            return [frame]
        tiles = mosaic.tiles(header, frame.size, frame.pixel_spacing, frame.orientation, frame.position)
        return [
            dataclasses.replace(frame, size=tiles.size, position=position, corner=corner)
            for position, corner in zip(tiles.positions, tiles.corners, strict=True)
        ]


def position_of(header: Any) -> np.ndarray | None:
    """Where a header says that its image lies, (3,) millimetres in LPS; None where it doesn't say."""
    try:
        return _numbers(header.ImagePositionPatient, 3)
    except Exception:  # Of no common class, see `one_line`.
        return None


def is_localizer(image_type: Iterable[str] | None) -> bool:
    """Whether an ImageType is that of a scout for planning."""
    return any(str(value).upper() in ("LOCALIZER", "LOCALISER", "SCOUT") for value in image_type or ())


def macro(header: Any, group: Any, name: str, keyword: str) -> Any:
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


def value_of(item: Any, keyword: str, default: Any = None) -> Any:
    """An element's value; the default where it is missing, empty, or cannot be read."""
    try:
        value = item.get(keyword)
    except Exception:  # Of no common class, see `one_line`.
        return default
    return default if value is None or value == "" else value


def number_of(item: Any, keyword: str, default: float) -> float:
    """An element's value as a number; the default where it is none, or several."""
    try:
        return float(value_of(item, keyword, default))
    except (TypeError, ValueError):
        return default


def _classic_frame(path: pathlib.Path, header: Any) -> Frame:
    return Frame(
        path=path,
        header=header,
        number=None,
        size=(int(header.Rows), int(header.Columns)),
        pixel_spacing=_spacing(header),
        orientation=_orientation(header.ImageOrientationPatient),
        position=_numbers(header.ImagePositionPatient, 3),
        **_rescale(header),
        **_depth(header),
        kind=_kind(header.get("ImageType")),
        instance=number_of(header, "InstanceNumber", 0.0),
    )


def _enhanced_frame(path: pathlib.Path, header: Any, number: int, group: Any) -> Frame:
    def item(name: str, keyword: str, needed: bool = False) -> Any:
        found = macro(header, group, name, keyword)
        if found is None and needed:
            raise AttributeError(f"frame {number + 1} has no {keyword}")
        return found if found is not None else {}

    measures = item("PixelMeasuresSequence", "PixelSpacing", needed=True)
    orientation = item("PlaneOrientationSequence", "ImageOrientationPatient", needed=True)
    position = item("PlanePositionSequence", "ImagePositionPatient", needed=True)
    frame_type = item("MRImageFrameTypeSequence", "FrameType").get("FrameType")
    return Frame(
        path=path,
        header=header,
        number=number,
        size=(int(header.Rows), int(header.Columns)),
        pixel_spacing=_spacing(measures),
        orientation=_orientation(orientation.ImageOrientationPatient),
        position=_numbers(position.ImagePositionPatient, 3),
        **_rescale(item("PixelValueTransformationSequence", "RescaleSlope")),
        **_depth(measures),
        kind=_kind(frame_type or header.get("ImageType")),
        instance=float(number),
    )


def _orientation(value: Any) -> np.ndarray:
    cosines = _numbers(value, 6)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row) * np.linalg.norm(column)
    if abs(lengths - 1) > 1e-2 or abs(row @ column) > 1e-2:
        raise ValueError(f"ImageOrientationPatient {cosines.tolist()} is no pair of directions")
    return cosines


def _spacing(item: Any) -> np.ndarray:
    spacing = _numbers(item.PixelSpacing, 2)
    if spacing.min() <= 0:
        raise ValueError(f"PixelSpacing is {spacing.tolist()}")
    return spacing


def _numbers(value: Any, count: int) -> np.ndarray:
    numbers = np.array([float(one) for one in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers, received {numbers.tolist()}")
    return numbers


def _rescale(item: Any) -> Mapping[str, Any]:
    """Slope and intercept: 1 and 0 where there are none, but never in place of what can't be read."""
    numbers = {}
    for name, keyword, default in (("slope", "RescaleSlope", 1.0), ("intercept", "RescaleIntercept", 0.0)):
        value = item.get(keyword)
        number = default if value is None or value == "" else float(value)
        if not np.isfinite(number) or (name == "slope" and number == 0):
            raise ValueError(f"{keyword} is {value}")
        numbers[name] = number
    return numbers


def _depth(item: Any) -> Mapping[str, Any]:
    # Philips and others write the spacing with a sign.
    return {
        "thickness": abs(number_of(item, "SliceThickness", 0.0)),
        "distance": abs(number_of(item, "SpacingBetweenSlices", 0.0)),
    }


def _kind(image_type: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in (image_type or ())[2:])
