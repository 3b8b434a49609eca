"""Stacks of slices in one TIFF file (ImageJ, OME, plain pages), through tifffile. They are only read."""

import dataclasses
import logging
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.memory import check_claim
from keras_mrisr.volumes.volume import Volume
from keras_mrisr.volumes.voxel_file import MOST_DEFLATED, check_index, reading, silent

NAME = "TIFF stack"

log = logging.getLogger(__name__)
_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MILLIMETRES = {
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4,
    "um": 0.001, "µm": 0.001, "μm": 0.001, "\\u00b5m": 0.001, "micron": 0.001, "micrometer": 0.001,
    "nm": 1e-6,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TiffSource:
    """The file that a volume was read from."""

    path: pathlib.Path

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return (self.path,)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is a TIFF file of several slices of one size."""
    if path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return False
    import tifffile

    with path.open("rb") as stream, silent("tifffile"):
        if not stream.read(4).startswith(_MAGICS):
            return False
        stream.seek(0)
        try:
            tiff = tifffile.TiffFile(stream, _multifile=False)
            check_chain(stream, tiff)
            series = tiff.series
            return len(series) == 1 and len(_other_axes(series[0])) > 0
        except Exception:  # Broken files raise almost anything; the reader of images says what is wrong.
            return False


def check_chain(stream: BinaryIO, tiff: Any) -> None:
    """Raises ValueError unless the chain of pages has an end.

    Args:
        stream: Of the file.
        tiff: tifffile's TiffFile.
    """
    form, seen, place = tiff.tiff, set(), tiff.pages.first.offset
    while place:
        if place in seen:
            raise ValueError("its pages go round in a circle")
        seen.add(place)
        stream.seek(place)
        count = stream.read(form.tagnosize)
        if len(count) == form.tagnosize:
            stream.seek(struct.unpack(form.tagnoformat, count)[0] * form.tagsize, 1)
        following = stream.read(form.offsetsize)
        place = struct.unpack(form.offsetformat, following)[0] if len(following) == form.offsetsize else 0


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of a TIFF stack; see `read_volume`.

    TIFF doesn't say how a patient lies: columns run to the left and rows to the back, as in axial slices
    that radiologists look at, and slices upwards.
    """
    if series is not None:
        raise DataError(f"{path} is TIFF and has no series: leave out `series`.")
    import tifffile

    # _multifile: files that OME's header names elsewhere are not opened.
    with reading(path), silent("tifffile"), tifffile.TiffFile(path, _multifile=False) as tiff:
        stack = tiff.series[0]
        array = _one_volume(path, tiff, stack, index)
        white = stack.keyframe.photometric == 0 and array.dtype.kind == "u"
        if white:
            array = np.iinfo(array.dtype).max - array
        spacing = _spacing(tiff)
    if spacing is None:
        log.warning("%s does not say how large its pixels are: 1 mm along each axis is taken", path)
    sizes = spacing or (1.0, 1.0, 1.0)
    affine = np.diag([-sizes[0], -sizes[1], sizes[2], 1.0])
    values = np.ascontiguousarray(np.swapaxes(np.moveaxis(array, 0, 2), 0, 1))
    return Volume(values, affine, name=str(path), source=TiffSource(path.absolute()))


def _one_volume(path: pathlib.Path, tiff: Any, stack: Any, index: int | None) -> np.ndarray:
    """(Z, Y, X) or (Z, Y, X, S) of one volume."""
    if len(_other_axes(stack)) > 2 or not stack.axes.endswith(("YX", "YXS")):
        raise DataError(f"{path} has axes {stack.axes} of {stack.shape}. Save the stack that you want.")
    pages = _pages(stack)
    count = pages.shape[1]
    check_index(path, count, index)
    says = " x ".join(map(str, stack.shape)) + " pixels"
    held = path.stat().st_size * (1 if stack.keyframe.compression == 1 else MOST_DEFLATED)
    check_claim(path, says, needed=stack.nbytes // count, stored=stack.nbytes, held=held)
    try:
        array = stack.asarray() if count == 1 else tiff.asarray(key=pages[:, index].tolist(), series=0)
    except ValueError as error:
        if "imagecodecs" in str(error):
            name = stack.keyframe.compression.name
            raise DataError(f"{path} is compressed ({name}): save it raw.") from error
        raise
    return array.reshape(len(pages), *array.shape[-3 if "S" in stack.axes else -2 :])


def _other_axes(stack: Any) -> list[tuple[str, int]]:
    """(Name, size) of the axes that are longer than 1, but for rows, columns and colours."""
    sizes = zip(stack.axes, stack.shape, strict=True)
    return [(axis, size) for axis, size in sizes if axis not in "YXS" and size > 1]


def _pages(stack: Any) -> np.ndarray:
    """The numbers of the pages: (slices, volumes)."""
    others = _other_axes(stack)
    # ImageJ and OME call slices Z; without names the last axis of several is theirs.
    place = next((i for i, (axis, _) in enumerate(others) if axis == "Z"), len(others) - 1)
    sizes = [size for _, size in others]
    pages = np.arange(math.prod(sizes)).reshape(sizes)
    return np.moveaxis(pages, place, 0).reshape(sizes[place], -1)


def _spacing(tiff: Any) -> tuple[float, float, float] | None:
    """Millimetres along columns, rows and slices, where ImageJ or OME say so."""
    found: list[float] = []
    if tiff.is_imagej:
        found = list(_of_imagej(tiff))
    elif tiff.is_ome:
        found = list(_of_ome(tiff))
    usable = len(found) == 3 and all(math.isfinite(size) and size > 0 for size in found)
    return (found[0], found[1], found[2]) if usable else None


def _of_imagej(tiff: Any) -> Iterator[float]:
    about, tags = tiff.imagej_metadata, tiff.pages[0].tags
    unit = _MILLIMETRES.get(str(about.get("unit", "")).lower())
    if unit is None or "spacing" not in about:
        return
    for name in ("XResolution", "YResolution"):
        pixels, units = tags[name].value
        yield unit * units / pixels if pixels else math.nan
    yield unit * float(about["spacing"])


def _of_ome(tiff: Any) -> Iterator[float]:
    import tifffile

    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    for axis in "XYZ":
        unit = _MILLIMETRES.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).lower(), math.nan)
        yield unit * float(pixels.get(f"PhysicalSize{axis}", math.nan))
