"""Image files as arrays, 8 and 16 bit and float, and folders of them as data sets."""

import io
import logging
import os
import pathlib
import struct

import numpy as np
from PIL import Image

from keras_mrisr.data.patient_pattern import PatientPattern
from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, natural_key
from keras_mrisr.data.tiff_extent import is_complete_tiff
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import visible_files, whole_file

log = logging.getLogger(__name__)

_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
IMAGE_SUFFIXES = tuple(_FORMATS)
"""File name endings (lower case) that count as images."""

# Pillow refuses images of over 179 million pixels, as an attack, and warns of half as many.
Image.MAX_IMAGE_PIXELS = None

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a PNG, TIFF or JPEG file without losing depth.

    Alpha channels are dropped (with a log line), palettes become the colours they stand for, 1-bit
    images become 0 and 255. Grey stays one channel.

    Args:
        path: The file; what it holds decides the format, not its name.

    Returns:
        An array (H, W, C), C 1 or 3, of uint8, uint16 or float32, in the file's own intensities.

    Raises:
        DataError: The file is missing, broken, truncated, empty, no such image, of several pages, of
            another type (CMYK, negative integers, over 16 bits), or holds NaN or infinity.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder. Give an image file here.") from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
    if not content:
        raise DataError(f"{path} is empty (0 bytes). Copy it again or remove it.")
    try:
        array = _decode(path, content)
    except (MrisrError, MemoryError):
        raise
    except Exception as error:  # Decoders raise almost anything on broken bytes: struct.error, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is broken or cut short ({reason[:120]}). Copy or export it again, or remove it."
        ) from error
    if array.size == 0:
        raise DataError(f"{path} has no pixels (shape {array.shape}). Export it again or remove it.")
    if array.dtype == np.float32 and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise DataError(
            f"{path} holds {bad} NaN or infinite values. Replace them (numpy.nan_to_num) and save it again."
        )
    return array


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


def read_image_folder(root: str | os.PathLike, patient_pattern: str | None = None) -> SliceDataset:
    """Finds the images in a folder and below; reads no pixels.

    A file `*_mask.*` is the mask of the image beside it, not a slice. Hidden files are skipped.

    Args:
        root: The folder.
        patient_pattern: A regular expression searched in each path relative to `root` (with `/`). Its
            group named `patient`, or else its only group, is the patient; a group named `site` is the
            site. Without a pattern the folder that holds a file is the patient.

    Returns:
        A data set of kind "images", patients and slices in natural order.

    Raises:
        DataError: No such folder, no images in it, a pattern that is not one, or a file that the
            pattern does not match.
    """
    root = pathlib.Path(root)
    pattern = PatientPattern(patient_pattern) if patient_pattern is not None else None
    names = image_files(root)
    masks = {_unmasked(name): root / name for name in sorted(names) if _is_mask(name)}
    names = [name for name in names if not _is_mask(name)]
    if not names:
        raise DataError(f"{root} holds no images. Expected {', '.join(IMAGE_SUFFIXES)} files in it or below.")
    slices: dict[str, list[SliceRecord]] = {}
    for name in sorted(names, key=natural_key):
        if pattern is None:
            # Files in the root itself belong to one patient: the root.
            patient, site = os.path.dirname(name) or root.resolve().name, None
        else:
            patient, site = pattern.find(root, name)
        stack = slices.setdefault(patient, [])
        if stack and stack[0].site != site:
            raise DataError(
                f"{root / name} puts patient {patient!r} at site {site!r}, other files at {stack[0].site!r}."
                " Mend the patient pattern: a patient has one site."
            )
        stack.append(
            SliceRecord(root / name, patient, len(stack), site, masks.get(os.path.splitext(name)[0]))
        )
    ordered = tuple(record for patient in sorted(slices, key=natural_key) for record in slices[patient])
    used = {record.mask for record in ordered}
    findings = tuple(
        Finding("unpaired-mask", mask, None, f"{mask.name} has no image beside it")
        for mask in masks.values()
        if mask not in used
    )
    dataset = SliceDataset(root=root, kind="images", slices=ordered, findings=findings)
    odd = f"{len(findings)} masks without an image" if findings else "nothing odd"
    log.info("%s: %s; %s", root, dataset.extent, odd)
    return dataset


def image_files(root: pathlib.Path) -> list[str]:
    """Relative paths (with `/`) of all images below `root`, hidden ones left out."""
    if not root.is_dir():
        raise DataError(
            f"{root} {'is not a folder' if root.exists() else 'does not exist'}. Give a folder of images."
        )
    # macOS leaves the hidden `._slice.tif` beside each file: the right ending, but no image.
    paths = (path for path in visible_files(root) if path.suffix.lower() in _FORMATS)
    return [path.relative_to(root).as_posix() for path in paths]


def _is_mask(name: str) -> bool:
    return os.path.splitext(name)[0].lower().endswith("_mask")


def _unmasked(name: str) -> str:
    return os.path.splitext(name)[0][: -len("_mask")]


def _decode(path: pathlib.Path, content: bytes) -> np.ndarray:
    if content.startswith(_TIFF_MAGICS) and not is_complete_tiff(content):
        raise ValueError("its end is missing")
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "TIFF", "JPEG"))
    except Image.UnidentifiedImageError:
        # Pillow knows neither float RGB nor float64 TIFFs.
        if content.startswith(_TIFF_MAGICS):
            return _decode_deep_tiff(path, content)
        raise DataError(f"{path} is not a PNG, TIFF or JPEG image. Convert it or remove it.") from None
    with image:
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(f"{path} holds {pages} pages. Save each page (slice) as a file of its own.")
        image.load()  # Finds a truncated file, also where another decoder reads it below.
        if image.format == "PNG" and _png_is_deep_colour(content):
            return _decode_deep_png(path, content)
        if image.format == "TIFF":
            bits = image.tag_v2.get(258, (1,))
            signed = 2 in image.tag_v2.get(339, ())
            if (len(bits) > 1 and max(bits) > 8) or (signed and max(bits) <= 8):
                return _decode_deep_tiff(path, content)
        return _from_pillow(path, image)


def _from_pillow(path: pathlib.Path, image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        log.info("%s: alpha channel dropped", path)
    if mode in ("P", "PA"):
        # A palette of greys is a grey image, also where this slice happens to use one colour only.
        colours = np.reshape(image.getpalette("RGB"), (-1, 3))
        mode = "L" if (colours == colours[:, :1]).all() else "RGB"
        # By way of RGB, where equal channels are taken as they are: "L" of Pillow is a weighted sum.
        return np.array(image.convert("RGB"))[..., : len(mode)]
    if mode == "1":
        mode = "L"
    if mode in ("L", "RGB", "LA", "RGBA"):
        array = np.array(image.convert(mode.removesuffix("A") if mode != "LA" else "L"))
    elif mode.startswith("I;16"):
        array = np.array(image).astype(np.uint16)
    elif mode == "I":
        array = _unsigned(path, np.array(image))
    elif mode == "F":
        array = np.array(image, dtype=np.float32)
    else:
        raise DataError(f"{path} is a {mode} image. Convert it to grey or RGB.")
    return array[..., np.newaxis] if array.ndim == 2 else array


def _unsigned(path: pathlib.Path, array: np.ndarray) -> np.ndarray:
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise DataError(
            f"{path} holds integers from {low} to {high}. Save it as 16-bit unsigned or 32-bit float TIFF."
        )
    return array.astype(np.uint16)


def _png_is_deep_colour(content: bytes) -> bool:
    """Whether a PNG has 16 bits and more than one channel, which Pillow cuts down to 8 silently."""
    depth, colour = struct.unpack_from(">BB", content, 24)  # IHDR is always first and of fixed layout.
    return content.startswith(_PNG_MAGIC) and depth == 16 and colour != 0


def _decode_deep_png(path: pathlib.Path, content: bytes) -> np.ndarray:
    import tensorflow as tf

    array = tf.io.decode_png(content, dtype=tf.uint16).numpy()
    return _without_alpha(path, array)


def _decode_deep_tiff(path: pathlib.Path, content: bytes) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        if len(tiff.pages) != 1:
            raise DataError(
                f"{path} holds {len(tiff.pages)} pages. Save each page (slice) as a file of its own."
            )
        page = tiff.pages[0]
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
