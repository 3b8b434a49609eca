"""NRRD and MetaImage files, through SimpleITK."""

import dataclasses
import logging
import math
import pathlib
import re
import zlib
from typing import Any, BinaryIO

import numpy as np

from keras_mrisr.errors import DataError, MissingDependencyError
from keras_mrisr.files import check_new_file, whole_file
from keras_mrisr.memory import check_claim
from keras_mrisr.stderr import captured_stderr
from keras_mrisr.volumes.volume import Volume
from keras_mrisr.volumes.voxel_file import MOST_DEFLATED, check_index, reading

NAME = "NRRD or MetaImage"
ENDINGS = (".nrrd", ".mha")

log = logging.getLogger(__name__)
_HEADERS = (".nhdr", ".mhd")  # Their voxels lie in another file beside them.
# Of the types in ITK's order: 8 to 64 bits signed and not, float, double, and complex; vectors follow.
_BYTES = (1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 8, 16)
_CHUNK = 2**20
_LPS = np.diag([-1.0, -1.0, 1.0])  # ITK's world, and the one of DICOM.


@dataclasses.dataclass(frozen=True)
class ItkSource:
    """The file that a volume was read from."""

    path: pathlib.Path

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return (self.path,)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is named like a NRRD or MetaImage file."""
    return path.name.lower().endswith((*ENDINGS, *_HEADERS))


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of a NRRD or MetaImage file; see `read_volume`."""
    if series is not None:
        raise DataError(f"{path} has no series: leave out `series`.")
    itk = _simpleitk()
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    with reading(path), captured_stderr() as said:  # MetaIO writes there what it finds.
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise ValueError(said() or _reason(error)) from error
        shape = reader.GetSize()
        if len(shape) not in (2, 3, 4):
            raise DataError(f"{path} has {len(shape)} dimensions. Save the volume that you want.")
        count = shape[3] if len(shape) == 4 else 1
        check_index(path, count, index)
        _check_size(path, reader, count)
        _check_code(path)
        if len(shape) == 4:
            reader.SetExtractIndex([0, 0, 0, index or 0])
            reader.SetExtractSize([*shape[:3], 0])
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise ValueError(said() or _reason(error)) from error
        channels = image.GetNumberOfComponentsPerPixel()
        spatial = image.GetDimension()
        array = itk.GetArrayFromImage(image).reshape(*image.GetSize()[::-1], channels)
        array = array.transpose(*reversed(range(spatial)), spatial)
        array = array.reshape(*(*array.shape[:spatial], 1)[:3], channels)
        values = np.ascontiguousarray(array if channels > 1 else array[..., 0])
        return Volume(values, _affine(image), name=str(path), source=ItkSource(path.absolute()))


def check_target(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> None:
    """Checks that a file can be written at `path`; see `keras_mrisr.volumes.check_target`."""
    _simpleitk()
    check_new_file(path, overwrite)


def write(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> list[pathlib.Path]:
    """Writes a volume as NRRD or MetaImage, compressed; see `write_volume`."""
    itk = _simpleitk()
    array = volume.array
    image = itk.GetImageFromArray(array.transpose(2, 1, 0, *range(3, array.ndim)), isVector=array.ndim == 4)
    spacing = volume.spacing
    image.SetSpacing(spacing.tolist())
    image.SetDirection((_LPS @ volume.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((_LPS @ volume.affine[:3, 3]).tolist())
    with whole_file(path) as temporary:
        try:
            itk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise DataError(f"Cannot write {path}: {_reason(error)}. Use .nii.gz.") from error
    return [path]


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingDependencyError(
            "NRRD and MetaImage need SimpleITK. Install it with: pip install SimpleITK"
        ) from error
    return SimpleITK


def _check_size(path: pathlib.Path, reader: Any, count: int) -> None:
    shape, channels = reader.GetSize(), reader.GetNumberOfComponents()
    item = _BYTES[reader.GetPixelID() % len(_BYTES)]
    stored = math.prod(shape) * channels * item
    # Names of other files in the header may be anything: all that lies beside it counts.
    files = path.parent.iterdir() if path.suffix.lower() in _HEADERS else [path]
    held = sum(file.stat().st_size for file in files if file.is_file()) * MOST_DEFLATED
    check_claim(path, f"{' x '.join(map(str, shape))} voxels", stored // count, stored, held)


def _check_code(path: pathlib.Path) -> None:
    """Unpacks zipped voxels once: ITK passes over damage in them."""
    with path.open("rb") as file:
        fields = _fields(file)
        begin = file.tell()
    if fields.get("compresseddata") != "true" and fields.get("encoding") not in ("gzip", "gz"):
        return
    name = fields.get("elementdatafile", fields.get("data file", fields.get("datafile", "LOCAL")))
    apart = name.upper() != "LOCAL"
    source = path.parent / name if apart else path
    # What only ITK finds its way in: lists of files, and bytes before the voxels.
    if not source.is_file() or {"byte skip", "line skip", "headersize"} & set(fields):
        return
    with source.open("rb") as file:
        file.seek(0 if apart else begin)
        unzip = zlib.decompressobj(wbits=47)  # With zlib's header or gzip's.
        while not unzip.eof:
            content = unzip.unconsumed_tail or file.read(_CHUNK)
            if not content:
                raise ValueError("the end of its voxels is missing")
            unzip.decompress(content, _CHUNK)


def _fields(file: BinaryIO) -> dict[str, str]:
    """The fields of a header: it ends with an empty line (NRRD) or the name of what holds the voxels."""
    fields: dict[str, str] = {}
    while line := file.readline(_CHUNK).decode("latin-1").strip():
        name, _, value = re.sub("[:=]+", "=", line, count=1).partition("=")
        fields[name.strip().lower()] = value.strip()
        if "elementdatafile" in fields:
            break
    return {name: value if "file" in name else value.lower() for name, value in fields.items()}


def _affine(image: Any) -> np.ndarray:
    axes = image.GetDimension()
    affine, spacing = np.eye(4), np.ones(3)
    spacing[:axes] = image.GetSpacing()
    affine[:axes, :axes] = np.reshape(image.GetDirection(), (axes, axes))
    affine[:3, :3] = _LPS @ affine[:3, :3] * spacing
    affine[:axes, 3] = image.GetOrigin()
    affine[:3, 3] = _LPS @ affine[:3, 3]
    return affine


def _reason(error: RuntimeError) -> str:
    """What went wrong, out of ITK's lines about where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ")[:160] if lines else "SimpleITK cannot read it"
