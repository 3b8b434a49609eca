"""The DICOM files at a path: their headers, and what is set apart because nobody can read it."""

import contextlib
import dataclasses
import gzip
import io
import itertools
import logging
import os
import pathlib
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from keras_mrisr.errors import DataError, MissingDependencyError, MrisrError
from keras_mrisr.files import LOCK
from keras_mrisr.memory import check_claim

log = logging.getLogger(__name__)

# Not an extra of this package, which would bring TensorFlow to a machine that runs ONNX alone.
INSTALL = "pip install pydicom 'pylibjpeg[all]'"
_GZIP = b"\x1f\x8b"
_MOST_ZIPPED = 1032  # Deflate makes nothing smaller than by this.
# Elements without which an image cannot be read rightly. DICOM gives each of them one value.
_SINGLE = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames",
)  # fmt: skip
_COUNTS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "NumberOfFrames")
_META = 2**14  # Bytes in which the meta group ends.
_NUMBER = re.compile(r"\d{1,18}")
Image = tuple[pathlib.Path, Any]


@dataclasses.dataclass(frozen=True)
class SetApart:
    """A file that is no part of a volume.

    Attributes:
        path: The file.
        reason: A sentence for messages.
        header: What could be read of it; None if nothing.
        broken: Whether it may have been a slice, instead of something else.
    """

    path: pathlib.Path
    reason: str
    header: Any = None
    broken: bool = True


def find_images(path: pathlib.Path) -> tuple[list[Image], list[SetApart]]:
    """The DICOM images in a file, in a folder and below it, or in the files that a DICOMDIR lists.

    What is no DICOM, or DICOM without an image (an index, a report), is left out with a log line.

    Returns:
        (path, header without pixels) of each image, and the files that are broken.

    Raises:
        DataError: `path` is a file, and broken.
    """
    images: list[Image] = []
    apart: list[SetApart] = []
    others = []
    for file in _files(path):
        try:
            header = image_header(file)
        except DataError as error:
            if file == path:
                raise
            apart.append(SetApart(file, str(error), readable_header(file)))
            continue
        if header is not None and "Rows" in header:
            images.append((file, header))
            continue
        others.append(file)
        if holds_nothing(file) if header is None else not _sop_class(header):
            apart.append(SetApart(file, f"{file} is empty or cut off. Copy it again."))
    if others:
        names = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
        log.info("%s: %d file(s) without a DICOM image left out: %s", path, len(others), names)
    return images, apart


def begins_as_dicom(path: pathlib.Path) -> bool:
    """Whether a file, gzipped or not, begins as DICOM does: with a preamble, or with a tag of group 8."""
    try:
        with opened(path) as file:
            head = file.read(132)
    except (OSError, EOFError, zlib.error):
        return False
    return head[128:] == b"DICM" or head[:2] == b"\x08\x00"


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """A file to read from, unpacked if it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        with gzip.open(file) as unpacked:
            yield unpacked  # type: ignore[misc]


def held_bytes(path: pathlib.Path) -> int:
    """How many bytes a file can hold at most, once it is unpacked."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return path.stat().st_size * (_MOST_ZIPPED if zipped else 1)


@contextlib.contextmanager
def pydicom_at_work() -> Iterator[None]:
    """Asks for pydicom if it is missing, and keeps it quiet.

    It warns of every header that others wrote badly, and logs the traceback of every decoder that fails,
    both for each file. What matters of that becomes a `DataError`.

    Raises:
        MissingDependencyError: pydicom is not installed.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"DICOM needs pydicom. Install it with: {INSTALL}") from error
    loggers = [logging.getLogger(name) for name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def printable(text: object) -> str:
    """A text from a file, fit for a line of a message."""
    return "".join(one if one.isprintable() else "?" for one in str(text))


@contextlib.contextmanager
def one_line(message: str) -> Iterator[None]:
    """Turns what pydicom raises into a `DataError`.

    Its errors have no common class: it raises whatever its parsing of foreign bytes meets, some of it with
    a traceback in the message.

    Args:
        message: What went wrong, with {} for the first line of the error.
    """
    from pydicom.errors import InvalidDicomError

    try:
        yield
    except (MrisrError, InvalidDicomError):
        raise
    except Exception as error:
        reason = "it does not fit into memory" if isinstance(error, MemoryError) else str(error).strip()
        reason = printable((reason or type(error).__name__).split("\n")[0].rstrip(". "))
        raise DataError(message.replace("{}", reason)) from error  # No format: paths may hold braces.


def open_dicom(source: pathlib.Path | bytes, **options: Any) -> Any:
    """A DICOM file's data set: `pydicom.dcmread`, also for files without preamble and file meta group.

    Args:
        source: A file, gzipped or not; or the bytes of one.
        **options: Of `pydicom.dcmread`.

    Raises:
        pydicom.errors.InvalidDicomError: No DICOM file.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else opened(source) as file:
        return _parsed(file, **options)


def _parsed(file: IO[bytes], **options: Any) -> Any:
    """The data set in a stream; see `open_dicom`."""
    import pydicom

    try:
        dataset = pydicom.dcmread(file, **options)
    except pydicom.errors.InvalidDicomError:
        file.seek(0)
        if file.read(2) != b"\x08\x00":  # The group that all images begin with.
            raise
        file.seek(0)
        dataset = pydicom.dcmread(file, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def promised_bytes(header: Any) -> int:
    """How many bytes the pixels have that a header speaks of, uncompressed."""
    frames = int(header.get("NumberOfFrames") or 1)
    samples = int(header.get("SamplesPerPixel") or 1)
    return int(header.Rows) * int(header.Columns) * frames * samples * -(-int(header.BitsAllocated) // 8)


def may_be_a_slice(file: pathlib.Path, images: Iterable[pathlib.Path]) -> bool:
    """Whether a file is named as if it came between the images, or before the first or after the last."""
    own = _numbers(file)
    alike = [_numbers(image) for image in images if _form(image) == _form(file)]
    for place, number in enumerate(own):
        near = sorted(one[place] for one in alike if (*one[:place], number, *one[place + 1 :]) == own)
        step = max((after - before for before, after in itertools.pairwise(near)), default=1)
        if near and near[0] - step <= number <= near[-1] + step:
            return True
    return False


def _form(file: pathlib.Path) -> tuple[pathlib.Path, str]:
    """What the names of a series have in common: the folder, and the name without its numbers."""
    return file.parent, _NUMBER.sub("#", file.name)


def _numbers(file: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(file.name))


def _files(path: pathlib.Path) -> Iterator[pathlib.Path]:
    if path.is_file():
        listed = _listed(path)
        yield from [path] if listed is None else listed
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (pathlib.Path(folder, name) for name in sorted(names) if not name.startswith(LOCK))


def _listed(path: pathlib.Path) -> list[pathlib.Path] | None:
    """The files that a DICOMDIR lists; None for any other file.

    Raises:
        DataError: It lists files that are not there.
    """
    from pydicom.uid import MediaStorageDirectoryStorage

    index = readable_header(path)
    if index is None or _sop_class(index) != MediaStorageDirectoryStorage:
        return None
    with one_line(f"{path} is broken or cut off ({{}}). Copy it again."):
        names = [record.get("ReferencedFileID") for record in index.get("DirectoryRecordSequence") or ()]
    found = []
    for name in filter(None, names):
        parts = [name] if isinstance(name, str) else [str(part) for part in name]
        file = _below(path.parent, parts)
        if file is None:
            raise DataError(
                f"{path} lists {printable('/'.join(parts))}, which is not there. Copy the disc again, or "
                "give the folder itself."
            )
        found.append(file)
    return found


def _below(folder: pathlib.Path, parts: list[str]) -> pathlib.Path | None:
    """The file that parts of a path name below a folder, in upper or lower case; None if there is none."""
    for one in (parts, [part.lower() for part in parts]):
        plain = not any(part in ("", ".", "..") or "/" in part or os.sep in part for part in one)
        if plain and (file := folder.joinpath(*one)).is_file():
            return file
    return None


def image_header(file: pathlib.Path) -> Any:
    """The header of an image; that of DICOM without one; None for other files.

    Raises:
        DataError: The file is cut off, or its header can't be right.
    """
    from pydicom.errors import InvalidDicomError

    with (
        contextlib.suppress(InvalidDicomError),
        one_line(f"{file} is broken or cut off ({{}}). Copy it again."),
    ):
        with opened(file) as stream:
            _check_deflated(file, stream)
            header = _parsed(stream, stop_before_pixels=True)
            if "Rows" not in header or "Columns" not in header:
                _check_whole(header)
                header.pop("Rows", None)
                return header
            _check_header(file, header)
            _check_pixels(file, header, stream)
        return header
    return None


def readable_header(file: pathlib.Path) -> Any:
    """What can be read of a broken file's header; None if nothing."""
    with contextlib.suppress(Exception):  # Of no common class, see `one_line`.
        return open_dicom(file, stop_before_pixels=True)
    return None


def _check_whole(header: Any) -> None:
    """Raises EOFError if a header without a size has lost it, or never got as far."""
    from pydicom.uid import UID, MRImageStorage

    sop_class = _sop_class(header)
    if "image" in UID(sop_class).name.lower() or (sop_class and MRImageStorage.startswith(sop_class)):
        raise EOFError("an image without Rows")
    if not sop_class and header.preamble is not None:  # Without one, it may be the file of another program.
        raise EOFError("it ends before it says what it is")


def _check_header(file: pathlib.Path, header: Any) -> None:
    """Raises an error unless the elements that reading relies on have one value each, and a possible one."""
    header.get("ImageType")  # Raises what reading it would raise later.
    for keyword in _SINGLE:
        if keyword in header and header[keyword].VM > 1:
            raise DataError(
                f"{file} has {header[keyword].VM} values in {keyword}, where one belongs. Export it again."
            )
    for keyword in _COUNTS:
        value = header.get(keyword, 1 if keyword == "NumberOfFrames" else None)
        if value is None or int(value) < 1:
            raise ValueError(f"its {keyword} is {value}")


def _check_pixels(file: pathlib.Path, header: Any, stream: IO[bytes]) -> None:
    """Raises an error for an unknown form of pixels, or for more of them than the file can hold.

    Args:
        file: The file.
        header: Its data set.
        stream: The file, read as far as the pixels.
    """
    from pydicom.uid import UID

    syntax = header.file_meta.TransferSyntaxUID
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise DataError(
            f"{file} has the unknown transfer syntax {printable(syntax)}. Export it uncompressed."
        )
    if syntax.is_compressed:
        _check_items(stream)
        return
    held = held_bytes(file) * (_MOST_ZIPPED if syntax.is_deflated else 1)
    if held == file.stat().st_size:
        held -= stream.tell() + (8 if syntax.is_implicit_VR else 12)  # Tag, kind and length of the pixels.
    size = f"{header.Columns} x {header.Rows} pixels"
    check_claim(file, size, needed=0, stored=promised_bytes(header), held=held)


def _check_deflated(file: pathlib.Path, stream: IO[bytes]) -> None:
    """Raises DataError for a deflated data set, which pydicom unpacks at once, that needs too much memory."""
    head = stream.read(_META)
    if b"1.2.840.10008.1.2.1.99" in head:
        stream.seek(144 + int.from_bytes(head[140:144], "little"))  # Behind the meta group, by its length.
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while block := stream.read(_META):
            size += len(inflate.decompress(block))
            check_claim(file, f"{size} bytes", needed=2 * size, stored=0, held=0)
    stream.seek(0)


def _check_items(stream: IO[bytes]) -> None:
    """Raises EOFError for compressed pixels that are cut off: a sequence of items, with a mark at its end."""
    stream.seek(12, io.SEEK_CUR)  # Tag, kind and length of the pixels.
    while (head := stream.read(8))[:4] == b"\xfe\xff\x00\xe0":
        stream.seek(int.from_bytes(head[4:], "little"), io.SEEK_CUR)
    if head[:4] != b"\xfe\xff\xdd\xe0":
        raise EOFError("its compressed pixels have no end")


def _sop_class(header: Any) -> str:
    """What a file holds, "" where it does not say; a DICOMDIR says it in its meta group only."""
    for item, keyword in ((header, "SOPClassUID"), (header.file_meta, "MediaStorageSOPClassUID")):
        with contextlib.suppress(Exception):  # Of no common class, see `one_line`.
            if item.get(keyword):
                return str(item.get(keyword))
    return ""


def holds_nothing(path: pathlib.Path) -> bool:
    """Whether a file, gzipped or not, has less than what DICOM begins with: zeros and DICM.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with opened(path) as file:
            return file.read(132).strip(b"\0") in (b"", b"D", b"DI", b"DIC")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return True
