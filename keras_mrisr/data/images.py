"""Image files as arrays, 8 and 16 bit and float."""

import io
import logging
import math
import os
import pathlib
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import whole_file
from keras_mrisr.memory import check_claim
from keras_mrisr.stderr import captured_stderr
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.tiff_stack import check_chain
from keras_mrisr.volumes.voxel_file import MOST_DEFLATED, silent

log = logging.getLogger(__name__)

_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
IMAGE_SUFFIXES = tuple(_FORMATS)
"""File name endings (lower case) that count as images."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # By colour type.
# How many times smaller than its pixels a file can be: a block of 8 x 8 takes a bit or two in JPEG, codes of
# LZW stand for at most 4,094 bytes, and a run of Zstandard for 128 KB. By TIFF's numbers.
_MOST_JPEG = 1300
_MOST_IN_TIFF = {1: 1, 5: 2800, 32773: 64, 34925: 7100, 50000: 33_000}
_DEFLATE, _FAX = (8, 32946), (2, 3, 4)
_EXIF_ORIENTATION = 274


def read_image(path: PathLike, finite: bool = True) -> np.ndarray:
    """Reads a PNG, TIFF or JPEG file without losing depth.

    The orientation that EXIF names is honoured, and white-is-zero turned. Alpha channels are dropped (with
    a log line), palettes become the colours they stand for, 1-bit images become 0 and 255. Grey stays one
    channel.

    Args:
        path: The file; what it holds decides the format, not its name.
        finite: Whether NaN and infinite values are refused.

    Returns:
        An array (H, W, C), C 1 or 3, of uint8, uint16 or float32, in the file's own intensities.

    Raises:
        DataError: The file is missing, broken, truncated, empty, no such image, of several pages, of
            another type (CMYK, negative integers, over 16 bits), holds NaN or infinity, or says that it is
            larger than it or the memory can be.
    """
    path = pathlib.Path(path)
    with _open(path) as stream:
        try:
            array = _decode(path, stream)
        except MrisrError:
            raise
        except MemoryError as error:
            raise DataError(f"{path} does not fit into memory. Cut it, or take a larger machine.") from error
        except (
            Exception
        ) as error:  # Decoders raise almost anything on broken bytes: struct.error, KeyError, ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path} is broken or cut short ({reason[:120]}). Copy or export it again, or remove it."
            ) from error
    _check_pixels(path, array, finite)
    return array


def _open(path: pathlib.Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder. Give an image file here.") from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error


def _check_pixels(path: pathlib.Path, array: np.ndarray, finite: bool) -> None:
    if array.size == 0:
        raise DataError(f"{path} has no pixels (shape {array.shape}). Export it again or remove it.")
    if finite and array.dtype == np.float32 and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise DataError(
            f"{path} holds {bad} NaN or infinite values. Mend the file; upscaling takes them for zeros with "
            "`nan` zero, where they are background."
        )


def write_image(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes an image whole or not at all; PNG and TIFF give back exactly what was written.

    Args:
        path: The target; its ending decides the format. An existing file is replaced.
        array: (H, W, C) or (H, W), C 1 or 3: uint8 in any format, uint16 in PNG and TIFF, float32 in
            TIFF only.

    Raises:
        DataError: The ending, the shape or the type does not fit, or the place cannot be written.
    """
    path = pathlib.Path(path)
    array = np.asarray(array)
    check_image_name(path, array.dtype)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or array.size == 0:
        raise DataError(
            f"Cannot write {path}: an image is (H, W, 1) or (H, W, 3). Received: shape {array.shape}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"Nothing is written to {path}: the image holds NaN or infinite values.")
    kind = _FORMATS[path.suffix.lower()]
    content = _encode(kind, np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def check_image_name(path: str | os.PathLike, dtype: np.dtype | None = None) -> None:
    """Raises DataError unless a path ends as an image that can be written, and holds pixels of `dtype`."""
    kind = _FORMATS.get(pathlib.Path(path).suffix.lower())
    if kind is None:
        raise DataError(f"{path} does not end in a known image type. Use one of {', '.join(IMAGE_SUFFIXES)}.")
    types = {"JPEG": ("uint8",), "PNG": ("uint8", "uint16"), "TIFF": ("uint8", "uint16", "float32")}[kind]
    if dtype is not None and dtype.name not in types:
        raise DataError(
            f"Cannot write {dtype} pixels to {path}: {kind} takes {' or '.join(types)}."
            " Choose a .png (16 bit) or .tif (16 bit, float) name."
        )


def _decode(path: pathlib.Path, stream: BinaryIO) -> np.ndarray:
    """Finds the format. Pillow's own entrance would refuse large images by a limit of the whole process."""
    begin = stream.read(len(_PNG_MAGIC))
    stream.seek(0)
    if not begin:
        raise DataError(f"{path} is empty (0 bytes). Copy it again or remove it.")
    if begin.startswith(_TIFF_MAGICS):
        return _decode_tiff(path, stream)
    if begin == _PNG_MAGIC:
        return _decode_png(path, stream)
    if begin.startswith(_JPEG_MAGIC):
        with JpegImagePlugin.JpegImageFile(stream) as image:
            _check_size(path, image.width, image.height, 8 * len(image.getbands()), _MOST_JPEG)
            return _upright(_from_pillow(path, image), _orientation(image))
    raise DataError(f"{path} is not a PNG, TIFF or JPEG image. Convert it or remove it.")


def _decode_png(path: pathlib.Path, stream: BinaryIO) -> np.ndarray:
    name, width, height, depth, colour = struct.unpack(">12x4sIIBB", stream.read(26))
    if name != b"IHDR" or colour not in _PNG_CHANNELS:
        raise ValueError("its header is missing")
    _check_size(path, width, height, depth * _PNG_CHANNELS[colour], MOST_DEFLATED)
    stream.seek(0)
    with PngImagePlugin.PngImageFile(stream) as image:
        _check_pages(path, getattr(image, "n_frames", 1))
        array = _from_pillow(path, image)
        orientation = _orientation(image)
    if depth == 16 and colour != 0:  # Pillow cuts these down to 8 bits silently.
        import tensorflow as tf

        stream.seek(0)
        with captured_stderr():
            array = _without_alpha(path, tf.io.decode_png(stream.read(), dtype=tf.uint16).numpy())
    return _upright(array, orientation)


def _decode_tiff(path: pathlib.Path, stream: BinaryIO) -> np.ndarray:
    import tifffile

    size = path.stat().st_size
    with silent("tifffile"):
        try:
            tiff = tifffile.TiffFile(stream)
            check_chain(stream, tiff)
            pages, page = len(tiff.pages), tiff.pages[0]
            whole = _is_whole(stream, size, tiff, page)
        except Exception:
            whole = False
        if not whole:
            raise ValueError("its end is missing")
        _check_pages(path, pages)
        bits = page.bitspersample * page.samplesperpixel
        most = _MOST_IN_TIFF.get(page.compression, _MOST_JPEG)
        _check_size(path, page.imagewidth, page.imagelength, bits, most)
        _check_code(stream, page)
        stream.seek(0)
        with captured_stderr():  # libtiff writes about what it finds, be it harmless.
            array = _from_tiff_page(path, stream, page)
    return _black_is_zero(path, array, page)


def _is_whole(stream: BinaryIO, size: int, tiff: Any, page: Any) -> bool:
    """Whether the directory of a page, its values and the pixels are there."""
    form = tiff.tiff
    stream.seek(page.offset)
    [count] = struct.unpack(form.tagnoformat, stream.read(form.tagnosize))
    entries = stream.read(count * form.tagsize + form.offsetsize)
    codes = [
        struct.unpack_from(f"{form.byteorder}H", entries, place * form.tagsize)[0] for place in range(count)
    ]
    # tifffile leaves out a tag whose value it cannot find. Private ones, from 32768 on, may be of any type.
    lost = any(code < 32768 and code not in page.tags for code in codes)
    ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return not lost and len(entries) == count * form.tagsize + form.offsetsize and 0 < max(ends) <= size


def _check_code(stream: BinaryIO, page: Any) -> None:
    """Finds damage that libtiff would not raise."""
    if page.compression in _DEFLATE:
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            stream.seek(start)
            zlib.decompress(stream.read(length))
    elif page.compression in _FAX and page.bitspersample * page.samplesperpixel != 1:
        raise ValueError(f"a fax code with {page.bitspersample} bits")


def _from_tiff_page(path: pathlib.Path, stream: BinaryIO, page: Any) -> np.ndarray:
    signed = page.sampleformat == 2 and page.bitspersample <= 8
    if not signed and (page.samplesperpixel == 1 or page.bitspersample <= 8):
        try:
            image = TiffImagePlugin.TiffImageFile(stream)
        except SyntaxError:  # Pillow knows neither float RGB nor float64 TIFFs.
            pass
        else:
            with image:
                return _from_pillow(path, image)  # Turned upright by Pillow.
    tag = page.tags.get(_EXIF_ORIENTATION)
    return _upright(_from_tifffile(path, page), 1 if tag is None else tag.value)


def _check_size(path: pathlib.Path, width: int, height: int, bits: int, most: float) -> None:
    stored = height * math.ceil(width * bits / 8)
    needed = width * height * max(4, bits // 8)  # Pillow keeps colours in four bytes.
    check_claim(path, f"{width} x {height} pixels", needed, stored, path.stat().st_size * most)


def _check_pages(path: pathlib.Path, pages: int) -> None:
    if pages > 1:
        raise DataError(
            f"{path} holds {pages} pages. Give it as a volume where those are slices, or save each page as a "
            "file of its own."
        )


def _orientation(image: Image.Image) -> int:
    """EXIF's number for how an image is turned; 1 where it is upright or does not say."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # Broken EXIF does not make the image worse.
        return 1


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image as EXIF 2.3 says (tag 274): 5 to 8 are turned by 90 degrees."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _from_pillow(path: pathlib.Path, image: Image.Image) -> np.ndarray:
    image.load()
    mode = image.mode
    if mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        log.info("%s: alpha channel dropped", path)
    if mode in ("P", "PA"):
        return _from_palette(image)
    if mode in ("1", "L", "LA", "RGB", "RGBA"):
        array = np.array(image.convert("RGB" if mode.startswith("RGB") else "L"))
    elif mode.startswith("I;16"):
        array = np.array(image).astype(np.uint16)
    elif mode == "I":
        array = _unsigned(path, np.array(image))
    elif mode == "F":
        array = np.array(image, dtype=np.float32)
    else:
        raise DataError(f"{path} is a {mode} image. Convert it to grey or RGB.")
    return array[..., np.newaxis] if array.ndim == 2 else array


def _from_palette(image: Image.Image) -> np.ndarray:
    # A palette of greys is a grey image, also where this slice happens to use one colour only.
    colours = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    channels = 1 if (colours == colours[:, :1]).all() else 3
    # By way of RGB, where equal channels are taken as they are: "L" of Pillow is a weighted sum.
    return np.array(image.convert("RGB"))[..., :channels]


def _unsigned(path: pathlib.Path, array: np.ndarray) -> np.ndarray:
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise DataError(
            f"{path} holds integers from {low} to {high}. Save it as 16-bit unsigned or 32-bit float TIFF."
        )
    return array.astype(np.uint16)


def _from_tifffile(path: pathlib.Path, page: Any) -> np.ndarray:
    try:
        array = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise DataError(
                f"{path} is compressed ({page.compression.name}). Save it uncompressed."
            ) from error
        raise
    axes = page.axes
    if axes == "SYX":
        array, axes = np.moveaxis(array, 0, -1), "YXS"
    if axes not in ("YX", "YXS"):
        raise DataError(
            f"{path} is not one image (axes {axes}, shape {array.shape}). Save each slice as a file."
        )
    array = array[..., np.newaxis] if axes == "YX" else array
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # Too large for float32 becomes infinite, which read_image reports.
            array = array.astype(np.float32)
    elif array.dtype.kind in "iu":
        array = _unsigned(path, array)
    else:
        raise DataError(
            f"{path} holds {array.dtype} pixels. Save it as 8- or 16-bit unsigned or 32-bit float."
        )
    return _without_alpha(path, array)


def _black_is_zero(path: pathlib.Path, array: np.ndarray, page: Any) -> np.ndarray:
    """Turns white-is-zero where that is left to the reader: Pillow does so up to 8 bits."""
    if page.photometric != 0 or (page.bitspersample <= 8 and page.sampleformat == 1):
        return array
    if page.sampleformat != 1:
        raise DataError(
            f"{path} says that white is zero, but not which number is black (they are signed or real). "
            "Save it black-is-zero."
        )
    return (2 ** min(page.bitspersample, 16) - 1 - array.astype("int64")).clip(0).astype(array.dtype)


def _without_alpha(path: pathlib.Path, array: np.ndarray) -> np.ndarray:
    channels = array.shape[-1]
    if channels in (2, 4):
        log.info("%s: alpha channel dropped", path)
        return np.ascontiguousarray(array[..., : channels - 1])
    if channels not in (1, 3):
        raise DataError(f"{path} has {channels} channels. Grey (1) and RGB (3) images can be read.")
    return array


def _encode(kind: str, array: np.ndarray) -> bytes:
    deep_colour = array.dtype != np.uint8 and array.shape[-1] == 3
    if deep_colour and kind == "PNG":
        import tensorflow as tf

        return tf.io.encode_png(array).numpy()
    buffer = io.BytesIO()
    if deep_colour:
        import tifffile

        tifffile.imwrite(buffer, array, photometric="rgb", metadata=None)
    else:
        options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, kind, **options)
    return buffer.getvalue()
