"""What the readers of single files share: plain or gzipped, whole, and no larger than a file can be."""

import contextlib
import gzip
import logging
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from keras_mrisr.errors import DataError, ManyVolumesError, MrisrError
from keras_mrisr.memory import check_claim

Stream = BinaryIO | gzip.GzipFile

MOST_DEFLATED = 1032
"""Deflate makes nothing smaller than by this factor."""

_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]
_KINDS = (
    (b"\x89PNG", 0, "a PNG image"),
    (b"\xff\xd8\xff", 0, "a JPEG image"),
    (b"II*\0", 0, "a TIFF image"),
    (b"MM\0*", 0, "a TIFF image"),
    (b"DICM", 128, "DICOM"),
    (b"NRRD", 0, "NRRD"),
    (b"ObjectType", 0, "MetaImage"),
    (b"n+1\0", 344, "NIfTI"),
    (b"n+2\0", 4, "NIfTI"),
    (b"ni1\0", 344, "the header of a NIfTI pair"),
    (b"\0\0\0\x01\0\0", 0, "MGH"),
    (b"\x89HDF", 0, "HDF5"),
    (b"PK\x03\x04", 0, "a ZIP archive"),
    (b"%PDF", 0, "a PDF"),
    (b"<", 0, "a web page or XML"),
    (b"{", 0, "JSON"),
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the file itself"),
)


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Turns what libraries raise for broken files into one line, and keeps their own lines back.

    Raises:
        DataError: The file is broken or cut off, or does not fit into memory.
    """
    try:
        with silent("nibabel.global"):
            yield
    except MrisrError:
        raise
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Cut it, or take a larger machine.") from error
    except PermissionError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
    except Exception as error:  # Libraries raise almost anything on broken bytes: IndexError, zlib.error.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is broken or cut off ({reason}). Copy or download it again.") from error


@contextlib.contextmanager
def silent(*names: str) -> Iterator[None]:
    """Within the block these loggers say nothing."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple[Stream, bool]]:
    """Yields (stream, whether it is gzipped): what a file begins with decides, not its name."""
    with path.open("rb") as plain:
        zipped = plain.read(len(_GZIP)) == _GZIP
        plain.seek(0)
        if not zipped:
            yield plain, False
            return
        with gzip.open(plain) as unzipped:
            yield unzipped, True


def misnamed(path: pathlib.Path, begin: bytes, wanted: str) -> DataError:
    """The error for a file that holds something else than its name says.

    Args:
        path: The file.
        begin: Its first bytes, 132 or more where it has so many.
        wanted: What its name says: "NIfTI".
    """
    holds = next((what for magic, place, what in _KINDS if begin[place:].startswith(magic)), None)
    if holds is None:
        return DataError(f"{path} holds no {wanted} header, although its name says so. Check what wrote it.")
    return DataError(f"{path} is not {wanted}, as its name says, but {holds}. Give it its right name.")


def read_voxels(
    stream: Stream,
    path: pathlib.Path,
    zipped: bool,
    shape: Sequence[int],
    dtype: np.dtype,
    offset: int,
    index: int | None,
) -> np.ndarray:
    """Reads one volume of a file whose first axis runs fastest.

    Args:
        stream: From `opened`.
        path: Its path, for messages.
        zipped: From `opened`.
        shape: Of everything in the file, 1 to 7 axes; all after the third but one have length 1.
        dtype: Of a voxel: real numbers of up to 64 bits, or RGB of 8 bits each.
        offset: Where the voxels begin in the stream.
        index: Which volume of several, from 0.

    Returns:
        Array (X, Y, Z), or (X, Y, Z, 3) of uint8 for RGB; the numbers as they are stored.

    Raises:
        DataError: Other voxels, more of them than the file or the memory can hold, or an index that
            does not fit.
    """
    size = path.stat().st_size
    _check_type(path, dtype)
    if min(shape, default=0) < 1 or offset < 0:
        raise ValueError(f"its header says {' x '.join(map(str, shape))} voxels")
    end = offset + math.prod(shape) * dtype.itemsize
    place = _place_in_file(path, shape, index)
    check_claim(
        path,
        f"{' x '.join(map(str, shape))} voxels",
        needed=math.prod(shape[:3]) * dtype.itemsize,
        stored=end,
        held=size * (MOST_DEFLATED if zipped else 1),
    )
    stored = ArrayProxy(stream, (tuple(shape), dtype, offset), mmap=False)[place]
    if zipped:
        _read_on(stream, end)
    stored = stored.reshape((*stored.shape, 1, 1)[:3])
    if dtype.names:
        names = [name for name in dtype.names if name in "RGB"]
        return np.stack([stored[name] for name in names], axis=-1)
    return stored


def scaled(stored: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Stored numbers -> values that can be changed, in this machine's byte order."""
    if (slope, intercept) == (1.0, 0.0):
        return np.require(stored, stored.dtype.newbyteorder("="), "W")
    # Single precision holds every 16-bit step, in half the memory.
    single = stored.dtype.itemsize <= 2 or stored.dtype.newbyteorder("=") == np.float32
    values = np.empty_like(stored, dtype="float32" if single else "float64")
    for place in range(stored.shape[2]):  # A volume at once would need its memory several times.
        values[:, :, place] = stored[:, :, place].astype("float64") * slope + intercept
    return values


def as_rgb(array: np.ndarray) -> np.ndarray:
    """(X, Y, Z, 3) of uint8 -> (X, Y, Z) of three fields, as files have colours."""
    return np.ascontiguousarray(array).view(_RGB)[..., 0]


def _check_type(path: pathlib.Path, dtype: np.dtype) -> None:
    if dtype.names and set("RGB") <= set(dtype.names) and all(dtype[name] == "u1" for name in dtype.names):
        return
    if dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers: save the magnitude (and the phase) as real ones.")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise DataError(
            f"{path} holds {dtype} voxels. Only integers and real numbers of up to 64 bits, and RGB of 8 "
            "bits, can be read."
        )


def _place_in_file(path: pathlib.Path, shape: Sequence[int], index: int | None) -> tuple[slice | int, ...]:
    """The slices that take one volume out of a file, whose empty dimensions don't count."""
    extra = [axis for axis in range(3, len(shape)) if shape[axis] > 1]
    if len(extra) > 1:
        sizes = " x ".join(map(str, shape))
        raise DataError(f"{path} has {3 + len(extra)} dimensions ({sizes}). Save the volume that you want.")
    count = shape[extra[0]] if extra else 1
    check_index(path, count, index)
    place: list[slice | int] = [slice(None)] * min(3, len(shape)) + [0] * (len(shape) - 3)
    if extra:
        place[extra[0]] = index or 0
    return tuple(place)


def check_index(path: pathlib.Path, count: int, index: int | None) -> None:
    """Raises DataError unless `index` says which of the `count` volumes of a file is meant."""
    if count > 1 and index is None:
        raise ManyVolumesError(
            f"{path} is 4-D: it holds {count} volumes. Choose one with `volume_index` 0 to {count - 1}, or "
            "save it in a file of its own."
        )
    if index is not None and not 0 <= index < count:
        raise DataError(f"{path} holds {count} volume(s), numbered from 0. Received: `volume_index` {index}")


def _read_on(stream: Stream, end: int) -> None:
    """Reads on to the checksum, which stands at the end, but not through all that may follow the voxels."""
    while stream.tell() <= end + _CHUNK and stream.read(_CHUNK):
        pass
