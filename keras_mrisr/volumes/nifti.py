"""NIfTI-1 and NIfTI-2 files, plain or gzipped, through nibabel."""

import dataclasses
import gzip
import logging
import math
import pathlib
import zlib

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.files import check_new_file, whole_file
from keras_mrisr.volumes.geometry import is_invertible
from keras_mrisr.volumes.stored_values import IntegerStorage
from keras_mrisr.volumes.volume import Volume

NAME = "NIfTI"
ENDINGS = (".nii", ".nii.gz")

log = logging.getLogger(__name__)
_BROKEN = (HeaderDataError, EOFError, zlib.error, OSError, ValueError, OverflowError)
_CHUNK = 2**20
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # By code of xyzt_units: metres, microns. Others are millimetres.
_ROUNDING = 1e-3  # Of the length of a quaternion.
_MOST_ZIPPED = 1032  # Deflate makes no file smaller than by this.
_DESCRIPTION_BYTES = 79  # The field has 80, and readers in C want the last to be zero.


@dataclasses.dataclass(frozen=True)
class NiftiSource:
    """What writing needs of the file that a volume was read from.

    Attributes:
        path: The file.
        header: Its nibabel header.
        affine: From its voxel indices to millimetres.
        unit: Millimetres in a unit of its spacings.
        storage: Slope, intercept and type where the file scales integers to floats; or None.
    """

    path: pathlib.Path
    header: nibabel.Nifti1Header
    affine: np.ndarray
    unit: float
    storage: IntegerStorage | None

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return (self.path,)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is named like a NIfTI file."""
    return path.name.lower().endswith(ENDINGS)


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of a NIfTI file; see `read_volume`."""
    if series is not None:
        raise DataError(f"{path} is NIfTI and has no series: leave out --series.")
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            header = _read_header(stream)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            if dtype.kind not in "iuf" or dtype.itemsize > 8:
                raise DataError(f"{path} holds {dtype} voxels. Only integers and real numbers can be read.")
            _check_size(path, shape, dtype, zipped)
            proxy = ArrayProxy(stream, (shape, dtype, header.get_data_offset()), mmap=False)
            stored = proxy[_place_in_file(path, shape, index)]
            while zipped and stream.read(_CHUNK):  # The checksum stands at the end, behind the voxels.
                pass
        slope, intercept = header.get_slope_inter()
    except MrisrError:
        raise
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Cut it, or take a larger machine.") from error
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is broken or cut off ({reason}). Copy or download it again.") from error
    slope, intercept = 1.0 if slope is None else float(slope), float(intercept or 0)
    storage = None
    if (slope, intercept) != (1.0, 0.0) and dtype.kind in "iu" and dtype.itemsize <= 4:
        storage = IntegerStorage(8 * dtype.itemsize, dtype.kind == "i", slope, intercept)
    array = _scaled(stored.reshape((*stored.shape, 1, 1)[:3]), slope, intercept)
    _mend_qform(header, path)
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ header.get_best_affine()
    source = NiftiSource(path.absolute(), header, affine, unit, storage)
    return Volume(array, affine, name=str(path), source=source)


def check_target(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> None:
    """Checks that a file can be written at `path`; see `keras_mrisr.volumes.check_target`."""
    check_new_file(path, overwrite)


def write(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> list[pathlib.Path]:
    """Writes a volume as NIfTI; see `write_volume`."""
    source = volume.source if isinstance(volume.source, NiftiSource) else None
    array, storage = volume.array, None
    if source and source.storage and volume.quantity is None:
        storage = source.storage.fitted(float(array.min()), float(array.max()), source.storage.bits)
        array = storage.encode(array)
    header = _changed_header(source, volume) if source else _new_header(volume)
    header.set_data_dtype(array.dtype)
    image_class = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    # No affine: nibabel would put one over the two that the header has.
    image = image_class(array, None, header)
    # With a slope nibabel stores numbers as they are. Only here: it takes none from another header.
    image.header.set_slope_inter(*((storage.slope, storage.intercept) if storage else (1.0, 0.0)))
    with whole_file(path) as temporary:
        nibabel.save(image, temporary)
    return [path]


def _read_header(stream):
    """The header at the beginning of a stream, NIfTI-1 or NIfTI-2."""
    block = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    stream.seek(0)
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if header_class.may_contain_header(block):
            return header_class.from_fileobj(stream)
    raise ValueError("it has no NIfTI header")


def _check_size(path, shape, dtype, zipped):
    """Finds a header that promises more than the file can hold before memory is taken for it."""
    held = path.stat().st_size * (_MOST_ZIPPED if zipped else 1)
    if min(shape, default=0) < 1 or math.prod(shape) * dtype.itemsize > held:
        size = " x ".join(map(str, shape))
        raise ValueError(f"its header says {size} voxels, and the file has {path.stat().st_size} bytes")


def _scaled(stored, slope, intercept):
    """Stored numbers -> values that can be changed, in this machine's byte order."""
    if (slope, intercept) == (1.0, 0.0):
        return np.require(stored, stored.dtype.newbyteorder("="), "W")
    # Single precision holds every 16-bit step, in half the memory.
    single = stored.dtype.itemsize <= 2 or stored.dtype.newbyteorder("=") == np.float32
    values = np.empty_like(stored, dtype="float32" if single else "float64")
    for place in range(stored.shape[2]):  # A volume at once would need its memory several times.
        values[:, :, place] = stored[:, :, place].astype("float64") * slope + intercept
    return values


def _mend_qform(header, path):
    """Makes a rotation of a qform that misses one by rounding; leaves one out that says nothing."""
    if not header["qform_code"] or _is_usable(header):
        return
    fields = ("quatern_b", "quatern_c", "quatern_d")
    length = np.linalg.norm([float(header[field]) for field in fields])
    if 1 < length < 1 + _ROUNDING:
        for field in fields:
            header[field] = header[field] / length
        if _is_usable(header):
            return
    if not header["sform_code"]:
        raise DataError(f"{path} has a qform that is no rotation, and no sform. Mend its header.")
    log.warning("%s has a qform that is no rotation: the sform is taken, and the result has no qform", path)
    header["qform_code"] = 0


def _is_usable(header):
    try:
        return is_invertible(header.get_qform())
    except (HeaderDataError, ValueError):
        return False


def _place_in_file(path, shape, index):
    """The slices that take one volume out of a file, whose empty dimensions don't count."""
    extra = [axis for axis in range(3, len(shape)) if shape[axis] > 1]
    if len(extra) > 1:
        raise DataError(f"{path} has {3 + len(extra)} dimensions {shape}. Save the volume that you want.")
    count = shape[extra[0]] if extra else 1
    if extra and index is None:
        raise DataError(
            f"{path} is 4-D: it holds {count} volumes. Choose one with --volume-index 0 to {count - 1}."
        )
    if index is not None and not 0 <= index < count:
        raise DataError(f"{path} holds {count} volume(s), numbered from 0. Received: --volume-index {index}")
    chosen = {axis: index for axis in extra}
    return tuple(chosen.get(axis, slice(None) if axis < 3 else 0) for axis in range(len(shape)))


def _changed_header(source, volume):
    """The header of the source, with what the new grid and the new values change."""
    header = source.header.copy()
    old_shape = header.get_data_shape()
    # Both forms follow the same step from new to old voxel indices, whichever of them gave the affine, and
    # whatever their unit.
    step = np.linalg.inv(source.affine) @ volume.affine
    qform, qform_code = header.get_qform(coded=True)
    sform, sform_code = header.get_sform(coded=True)
    _set_grid(header, volume, source.unit)
    if qform_code:
        header.set_qform(qform @ step, int(qform_code))
    if sform_code:
        header.set_sform(sform @ step, int(sform_code))
    sliced = header.get_dim_info()[2]
    if sliced is not None and volume.shape[sliced] != old_shape[sliced]:
        for field in ("slice_start", "slice_end", "slice_duration", "slice_code"):
            header[field] = 0
    if volume.quantity is not None:
        header["cal_min"] = header["cal_max"] = 0
        header.set_intent("none")
    header["descrip"] = _description(header["descrip"].item(), volume)
    return header


def _new_header(volume):
    """A header for voxels that don't come from a NIfTI file."""
    header = nibabel.Nifti1Header()
    _set_grid(header, volume)
    code = "scanner" if volume.source is not None else "aligned"
    header.set_qform(volume.affine, code)
    header.set_sform(volume.affine, code)
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = _description(b"", volume)
    return header


def _set_grid(header, volume, unit=1.0):
    times = header["pixdim"][4:].copy()  # TR stands there also in a 3-D file; nibabel would reset it.
    header.set_data_shape(volume.array.shape)
    header["pixdim"][4:] = times
    header.set_zooms([*volume.spacing / unit, 1.0][: volume.array.ndim])


def _description(old, volume):
    """What the header said, as far as there is room for it, and then what was done."""
    quantity = volume.quantity.encode("ascii", "replace") if volume.quantity else b""
    new = b"; ".join(text for text in (quantity, volume.description.encode("ascii", "replace")) if text)
    room = _DESCRIPTION_BYTES - len(new) - len("; ") if new else _DESCRIPTION_BYTES
    return b"; ".join(text for text in (old[: max(room, 0)], new) if text)[:_DESCRIPTION_BYTES]
