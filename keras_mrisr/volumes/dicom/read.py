"""MR series in DICOM files -> volumes, through pydicom."""

import contextlib
import dataclasses
import logging
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from keras_mrisr.errors import DataError, MissingDependencyError
from keras_mrisr.volumes.dicom.frames import Frame, frames_of, number_of, one_line, open_dicom, read_headers
from keras_mrisr.volumes.dicom.series import DicomSeries, choose_series, sort_into_series
from keras_mrisr.volumes.dicom.stack import stack_affine, stack_frames
from keras_mrisr.volumes.volume import Volume

log = logging.getLogger(__name__)

# Not an extra of this package, which would bring TensorFlow to a machine that runs ONNX alone.
INSTALL = "pip install pydicom 'pylibjpeg[all]'"


@dataclasses.dataclass(frozen=True, eq=False)
class DicomSource:
    """What writing needs of the series that a volume was read from.

    Attributes:
        place: The folder or file in which the series was found, absolute.
        frames: The frames of the volume, in its order.
        turned: MONOCHROME1: the sum of the darkest and the brightest value, about which all were turned;
            None for MONOCHROME2.
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
        path: A DICOM file, or a folder of them, possibly with other files among them.

    Returns:
        The series, in the order of their numbers; `read_series` makes a volume of one.

    Raises:
        DataError: A DICOM file is cut off, or pydicom is not installed.
    """
    path = pathlib.Path(path)
    with pydicom_at_work():
        return sort_into_series(path, list(read_headers(path)))


def read_series(series: DicomSeries, index: int | None = None) -> Volume:
    """Reads a series as a volume; see `read_volume`.

    Raises:
        DataError: It cannot be one.
    """
    with pydicom_at_work():
        if series.problem is not None:
            raise DataError(f"{series.place}: series {series.label} is no MR volume: {series.problem}.")
        name = str(series.place)
        frames = [frame for path, header in series.files for frame in frames_of(path, header)]
        frames = stack_frames(frames, name, index)
        inverse = _photometric(frames, name) == "MONOCHROME1"
        array = _read_values(frames, name, inverse)
    turned = None
    if inverse:
        # As Python numbers, which don't wrap around.
        turned = array.min().item() + array.max().item()
        array = (turned - array.astype(np.result_type(array.dtype, np.int32))).astype(array.dtype)
    source = DicomSource(series.place.absolute(), tuple(frames), turned)
    return Volume(array, stack_affine(frames), name=name, source=source)


def read_dicom(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one series as a volume; see `read_volume`."""
    with pydicom_at_work():
        return read_series(choose_series(read_dicom_series(path), path, series), index)


@contextlib.contextmanager
def pydicom_at_work() -> Iterator[None]:
    """Asks for pydicom if it is missing, and keeps it quiet.

    It warns of every header that others wrote badly, and logs the traceback of every decoder that fails,
    both for each file. What matters of that becomes an `DataError`.
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


def _photometric(frames, name):
    kinds = {frame.header.get("PhotometricInterpretation", "MONOCHROME2") for frame in frames}
    if len(kinds) > 1:
        raise DataError(
            f"{name} mixes MONOCHROME1 and MONOCHROME2 images. Export them as series of their own."
        )
    return kinds.pop()


def _read_values(frames, name, inverse):
    """The values of stacked frames with their rescale applied and padding filled, (column, row, slice)."""
    plain = all((frame.slope, frame.intercept) == (1.0, 0.0) for frame in frames)
    stack, decoded, path, paddings = None, None, None, {}
    for place, frame in enumerate(frames):
        if frame.path != path:
            decoded, path = _decode(frame), frame.path
        pixels = decoded if frame.number is None else decoded[frame.number]
        values = pixels if plain else (pixels * frame.slope + frame.intercept).astype("float32")
        if stack is None:
            stack = np.empty((len(frames), *values.shape), values.dtype)
        elif values.dtype != stack.dtype:
            stack = stack.astype(np.result_type(stack, values))
        stack[place] = values
        padding = _padding(pixels, frame.header)
        if padding is not None:
            paddings[place] = padding
    _fill(stack, paddings, name, inverse)
    return stack.transpose(2, 1, 0)


def _padding(pixels, header):
    """Where the stored pixels of a frame only fill up the rectangle; None if nowhere."""
    ends = [number_of(header, word, np.nan) for word in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [int(end) for end in ends if np.isfinite(end)]
    if not ends or "PixelPaddingValue" not in header:
        return None
    # Some write the value of signed pixels without a sign: in the type of the pixels it is the same.
    ends = np.array(ends).astype(pixels.dtype)
    padding = (pixels >= ends.min()) & (pixels <= ends.max())
    return padding if padding.any() else None


def _fill(stack, paddings, name, inverse):
    """Makes padding background: zero, or the darkest of the other values where that is below zero."""
    if not paddings:
        return
    kept = np.ones(stack.shape, bool)
    for place, padding in paddings.items():
        kept[place] = ~padding
    if not kept.any():
        return  # Nothing but padding: more likely a wrong header.
    low, high = stack.min(where=kept, initial=stack.max()), stack.max(where=kept, initial=stack.min())
    if low <= stack.min() and stack.max() <= high:
        return  # Amid the others (a zero of phase images) it may well be signal, and does no harm.
    value = high if inverse else min(low, 0)
    stack[~kept] = value
    log.info("%s: %d padding pixels are taken for background", name, kept.size - np.count_nonzero(kept))


def _decode(frame):
    """The stored pixels of a file: (rows, columns), or (frames, rows, columns)."""
    way_out = "Copy it again."
    if frame.header.file_meta.TransferSyntaxUID.is_compressed:
        way_out = f"Copy it again, or install decoders with: {INSTALL}"
    with one_line(f"The pixels of {frame.path} cannot be read ({{}}). {way_out}"):
        pixels = open_dicom(frame.path).pixel_array
    if frame.number is not None and pixels.ndim == 2:
        pixels = pixels[np.newaxis]
    if (frame.number is None and pixels.ndim != 2) or pixels.dtype.kind not in "iu":
        raise DataError(f"{frame.path} holds {pixels.dtype} pixels of shape {pixels.shape}. Export it again.")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
