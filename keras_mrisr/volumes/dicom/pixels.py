"""The pixels of DICOM files, decoded where a broken file or a broken decoder can do no harm."""

import contextlib
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import threading
from typing import Any, Self

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom import decoder
from keras_mrisr.volumes.dicom.files import INSTALL, held_bytes, one_line, open_dicom, opened, promised_bytes
from keras_mrisr.volumes.dicom.frames import Frame

_LONGEST = 600  # Seconds that a decoder may take for one file.
_BESIDE_PIXELS = 2**28  # Bytes of a header that is larger than any.
# The most that a format makes smaller: run lengths of 128 bytes in 2; Huffman codes of one bit for a pixel of
# 16 bits, or two for 64. JPEG-LS and JPEG 2000 have no bound.
_RATIOS = {"RLE": 64, "JPEGLossless": 16, "JPEGBaseline8Bit": 256, "JPEGExtended12Bit": 512}
# Markers of JPEG and JPEG-LS behind which the size stands.
_FRAME_MARKERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)


class PixelReader:
    """Reads pixels; compressed ones in a child process, which ends with the block.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def read(self, frame: Frame) -> np.ndarray:
        """The stored pixels of a frame's file: (rows, columns), or (frames, rows, columns).

        Raises:
            DataError: They are not what the header says, or cannot be decoded.
        """
        path, header = frame.path, frame.header
        with one_line(f"The pixels of {path} cannot be read ({{}}). Copy it again."):
            compressed = header.file_meta.TransferSyntaxUID.is_compressed
            pixels = self._decoded(path, header) if compressed else _plain(path, header)
            if frame.number is not None and pixels.ndim == 2:
                pixels = pixels[np.newaxis]
            frames = [] if frame.number is None else [int(header.get("NumberOfFrames") or 1)]
            wanted = (*frames, int(header.Rows), int(header.Columns))
            if pixels.shape != wanted or pixels.dtype.kind not in "iu":
                raise ValueError(f"they are {pixels.dtype} of shape {pixels.shape}, and should have {wanted}")
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)

    def _decoded(self, path: pathlib.Path, header: Any) -> np.ndarray:
        _check_decoder(path, header.file_meta.TransferSyntaxUID)
        content = _content(path, header)
        _check_compressed(open_dicom(content), header)
        if not sys.executable:  # Python within another program.
            return decoder.decode(content)
        if self._child is None:
            self._child = _started()
        return _answer(self._child, content, promised_bytes(header))


def _plain(path: pathlib.Path, header: Any) -> np.ndarray:
    zipped = held_bytes(path) != path.stat().st_size
    return open_dicom(_content(path, header) if zipped else path).pixel_array


def _content(path: pathlib.Path, header: Any) -> bytes:
    """A file, unpacked if it is gzipped, but no more of it than its header can mean."""
    with opened(path) as file:
        return file.read(promised_bytes(header) + _BESIDE_PIXELS)


def _started() -> subprocess.Popen[bytes]:
    # It finds packages where this process does, and none beside its own file.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-P", decoder.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _answer(child: subprocess.Popen[bytes], content: bytes, most: int) -> np.ndarray:
    """What a child process makes of a file."""
    assert child.stdin is not None and child.stdout is not None
    watch = threading.Timer(_LONGEST, child.kill)
    watch.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(struct.pack("<Q", len(content)))
            child.stdin.write(content)
            child.stdin.flush()
        line = child.stdout.readline()
        answer = json.loads(line) if line else {"error": f"its decoder ended with code {child.wait()}"}
        if "error" in answer:
            raise ValueError(answer["error"])
        shape, dtype = tuple(answer["shape"]), np.dtype(answer["dtype"])
        size = math.prod(shape) * dtype.itemsize
        if size > most:
            raise ValueError(f"they are {size} bytes, and should be {most}")
        pixels = np.empty(shape, dtype)
        if child.stdout.readinto(pixels.data.cast("B")) < size:  # type: ignore[attr-defined]
            raise ValueError("its decoder ended early")
        return pixels
    finally:
        watch.cancel()


def _check_decoder(path: pathlib.Path, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise ValueError(f"nothing decodes {syntax.name}") from None
    if not available:
        raise DataError(
            f"The pixels of {path} cannot be read (no decoder for {syntax.name}). Install decoders with: "
            f"{INSTALL}"
        )


def _check_compressed(dataset: Any, header: Any) -> None:
    """Raises an error unless compressed pixels are as many as the header says, before they are decoded."""
    from pydicom.encaps import generate_frames

    count = int(header.get("NumberOfFrames") or 1)
    found = list(generate_frames(dataset.PixelData, number_of_frames=count))
    if len(found) != count:
        raise ValueError(f"there are {len(found)} frames, and should be {count}")
    syntax = header.file_meta.TransferSyntaxUID.keyword
    ratio = next((ratio for name, ratio in _RATIOS.items() if syntax.startswith(name)), math.inf)
    for content in found:
        _check_frame(content, header, promised_bytes(header) // count, ratio)


def _check_frame(content: bytes, header: Any, promised: int, ratio: float) -> None:
    size = _said_size(content)
    if size is not None and size != (int(header.Rows), int(header.Columns)):
        raise ValueError(f"they are {size[1]}x{size[0]} pixels, and not {header.Columns}x{header.Rows}")
    if not content or promised > ratio * len(content):
        raise ValueError(f"{len(content)} bytes cannot hold the {promised} that its header speaks of")


def _said_size(content: bytes) -> tuple[int, int] | None:
    """(rows, columns) that the stream of JPEG or JPEG 2000 says; None if none is found."""
    if content[:4] == b"\xff\x4f\xff\x51" and len(content) >= 24:
        width, height, left, top = struct.unpack(">4I", content[8:24])
        return height - top, width - left
    if content[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # Fill.
            place += 1
            continue
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack(">2H", content[place + 5 : place + 9])
            return rows, columns
        place += 2 + struct.unpack(">H", content[place + 2 : place + 4])[0]
    return None
