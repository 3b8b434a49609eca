"""MR series in DICOM files -> volumes, through pydicom."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.files import SetApart, find_images, may_be_a_slice, pydicom_at_work
from keras_mrisr.volumes.dicom.frames import Frame, frames_of, position_of
from keras_mrisr.volumes.dicom.grid import stack_affine
from keras_mrisr.volumes.dicom.series import DicomSeries, choose_series, sort_into_series
from keras_mrisr.volumes.dicom.stack import missing_slice, stack_frames, usable_frames
from keras_mrisr.volumes.dicom.values import read_values
from keras_mrisr.volumes.volume import Volume

log = logging.getLogger(__name__)

_LISTED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class DicomSource:
    """What writing needs of the series that a volume was read from.

    Attributes:
        place: The folder or file in which the series was found, absolute.
        frames: The frames of the volume, in its order.
        turned: MONOCHROME1: the brightest value of the file, which became zero; None for MONOCHROME2.
    """

    place: pathlib.Path
    frames: Sequence[Frame]
    turned: float | None

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return tuple(dict.fromkeys(frame.path.absolute() for frame in self.frames))


def read_dicom_series(path: pathlib.Path) -> list[DicomSeries]:
    """Finds the series in a folder (searched recursively) or file; reads no pixels.

    Args:
        path: A DICOM file, a DICOMDIR, or a folder of DICOM files, possibly with other files among them.

    Returns:
        The series, in the order of their numbers; `read_series` makes a volume of one.

    Raises:
        DataError: There is nothing but broken DICOM files.
        MissingDependencyError: pydicom is not installed.
    """
    path = pathlib.Path(path)
    with pydicom_at_work():
        images, broken = find_images(path)
        if broken and not images:
            raise DataError(broken[0].reason)
        found = sort_into_series(path, images, broken)
        placed = {one.path for series in found for one in series.broken}
        _warn_of(path, [one for one in broken if one.path not in placed])
        return found


def read_series(series: DicomSeries, index: int | None = None) -> Volume:
    """Reads a series as a volume; see `read_volume`.

    Raises:
        DataError: It cannot be one.
    """
    with pydicom_at_work():
        if series.problem is not None:
            raise DataError(f"{series.place}: series {series.label} is no MR volume: {series.problem}.")
        name = str(series.place)
        frames = _stacked(series, name, index)
        inverse = _photometric(frames, name) == "MONOCHROME1"
        array = read_values(frames, name, inverse)
    turned = None
    if inverse:
        turned = array.max().item()
        array = _turned(array, turned)
    listed = series.place.is_file() and series.place not in {frame.path for frame in frames}
    place = series.place.parent if listed else series.place  # A DICOMDIR stands for its folder.
    source = DicomSource(place.absolute(), tuple(frames), turned)
    thickness = float(np.median([frame.thickness for frame in frames])) or None
    return Volume(array, stack_affine(frames), name=name, source=source, slice_thickness=thickness)


def read_dicom(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one series as a volume; see `read_volume`."""
    with pydicom_at_work():
        return read_series(choose_series(read_dicom_series(path), path, series), index)


def _stacked(series: DicomSeries, name: str, index: int | None) -> list[Frame]:
    """The frames of a volume; what is none of its slices is set apart, as long as no slice is missing."""
    frames: list[Frame] = []
    apart = [*series.broken, *series.strays]
    for path, header in series.usable:
        try:
            frames += frames_of(path, header)
        except DataError as error:
            apart.append(SetApart(path, str(error), header))
    if not frames:
        raise DataError(apart[-1].reason)
    frames, odd = usable_frames(frames, name)
    apart += odd
    try:
        stack = stack_frames(frames, name, index)
    except DataError as error:
        if not apart:
            raise
        raise DataError(f"{error} Not among its slices: {_reasons(apart)}") from error
    paths = [path for path, _ in series.usable]
    for one in apart:
        if one.broken and _is_missed(one, stack, paths):
            raise DataError(f"{one.reason} It may be a slice of the series, which is not whole without it.")
    _warn_of(name, apart)
    return stack


def _is_missed(one: SetApart, stack: list[Frame], paths: list[pathlib.Path]) -> bool:
    """Whether a broken file may be a slice that a stack lacks: by its position, or else by its name."""
    position = None if one.header is None else position_of(one.header)
    if position is not None:
        return missing_slice(stack, position)
    return may_be_a_slice(one.path, paths)


def _warn_of(name: object, apart: Sequence[SetApart]) -> None:
    if apart:
        log.warning("%s: %d file(s) left out: %s", name, len(apart), _reasons(apart))


def _reasons(apart: Sequence[SetApart]) -> str:
    texts = [one.reason.rstrip(".") for one in apart[:_LISTED]]
    return "; ".join(texts) + (f"; and {len(apart) - _LISTED} more" if len(apart) > _LISTED else "") + "."


def _photometric(frames: Sequence[Frame], name: str) -> str:
    kinds = {frame.header.get("PhotometricInterpretation", "MONOCHROME2") for frame in frames}
    if len(kinds) > 1:
        raise DataError(
            f"{name} mixes MONOCHROME1 and MONOCHROME2 images. Export them as series of their own."
        )
    return str(kinds.pop())


def _turned(array: np.ndarray, top: float) -> np.ndarray:
    """The values of MONOCHROME1 counted from the brightest down, so that the darkest become zero."""
    if array.dtype.kind == "f":
        return top - array
    low = int(array.min())
    kind = array.dtype if int(top) - low <= np.iinfo(array.dtype).max else np.dtype("int32")
    # In a wider type, which doesn't wrap around.
    return (int(top) - array.astype("int64")).astype(kind)
