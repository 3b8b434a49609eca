"""NIfTI-1 and NIfTI-2 files, plain or gzipped, through nibabel."""

import dataclasses
import json
import logging
import math
import pathlib
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from keras_mrisr.checks import is_number
from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, whole_file
from keras_mrisr.volumes.geometry import is_invertible, is_sheared
from keras_mrisr.volumes.stored_values import IntegerStorage, narrowest, rounded
from keras_mrisr.volumes.volume import Volume
from keras_mrisr.volumes.voxel_file import Stream, as_rgb, misnamed, opened, read_voxels, reading, scaled

NAME = "NIfTI"
ENDINGS = (".nii", ".nii.gz")

log = logging.getLogger(__name__)
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # By code of xyzt_units: metres, microns. Others are millimetres.
_INTEGERS = ("uint8", "int16", "uint16", "int32", "uint32")
_ROUNDING = 1e-3  # Of the length of a quaternion.
_COLOURS = (128, 2304)  # RGB, and RGB with alpha, which is dropped.
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
        more: Other files that belong to it.
    """

    path: pathlib.Path
    header: nibabel.Nifti1Header
    affine: np.ndarray
    unit: float
    storage: IntegerStorage | None
    more: tuple[pathlib.Path, ...] = ()

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return (self.path, *self.more)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is named like a NIfTI file."""
    return path.name.lower().endswith(ENDINGS)


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of a NIfTI file; see `read_volume`."""
    if series is not None:
        raise DataError(f"{path} is NIfTI and has no series: leave out `series`.")
    with reading(path):
        with opened(path) as (stream, zipped):
            header = _read_header(stream, path)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            stored = read_voxels(stream, path, zipped, shape, dtype, header.get_data_offset(), index)
        volume = volume_of(stored, header, path)
    return dataclasses.replace(volume, slice_thickness=_thickness(path))


def _thickness(path: pathlib.Path) -> float | None:
    """The slice thickness that the sidecar says (NAME.json beside NAME.nii.gz, as in BIDS), or None."""
    name = path.name[: -len(".nii.gz" if path.name.lower().endswith(".gz") else ".nii")]
    try:
        values = json.loads(path.with_name(f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # None there, or none that anybody can read.
        return None
    return thickness_in(values)


def thickness_in(values: Any) -> float | None:
    """The slice thickness that a sidecar says, in millimetres; None where it says none that can be."""
    value: Any = values.get("SliceThickness") if isinstance(values, dict) else None
    return float(value) if is_number(value) and 0 < value < math.inf else None


def volume_of(
    stored: np.ndarray, header: nibabel.Nifti1Header, path: pathlib.Path, *more: pathlib.Path
) -> Volume:
    """The volume of stored numbers and their header.

    Args:
        stored: Array (X, Y, Z), or (X, Y, Z, 3) of uint8 for RGB.
        header: Of NIfTI-1 or NIfTI-2.
        path: The file.
        more: Other files that it comes from.
    """
    slope, intercept = (value if value is None else float(value) for value in header.get_slope_inter())
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    dtype, storage = stored.dtype, None
    if stored.ndim == 4:  # Colours are not scaled.
        slope, intercept = 1.0, 0.0
    elif (slope, intercept) != (1.0, 0.0) and dtype.kind in "iu" and dtype.itemsize <= 4:
        storage = IntegerStorage(8 * dtype.itemsize, dtype.kind == "i", slope, intercept)
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ _affine(header, path)
    source = NiftiSource(
        path.absolute(), header, affine, unit, storage, tuple(each.absolute() for each in more)
    )
    return Volume(scaled(stored, slope, intercept), affine, name=str(path), source=source)


def check_target(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> None:
    """Checks that a file can be written at `path`; see `keras_mrisr.volumes.check_target`."""
    check_new_file(path, overwrite)


def write(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> list[pathlib.Path]:
    """Writes a volume as NIfTI; see `write_volume`."""
    source = volume.source if isinstance(volume.source, NiftiSource) else None
    array, storage = volume.array, None
    if source and volume.quantity is None:
        array, storage = _as_stored(array, source)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:  # ANTs opens no such file.
        array = array.astype(narrowest(array, _INTEGERS) or array.dtype, copy=False)
    header = _changed_header(source, volume, array) if source else _new_header(volume)
    header.set_data_dtype(array.dtype)
    image_class = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    # No affine: nibabel would put one over the two that the header has.
    image = image_class(array, None, header)
    # With a slope nibabel stores numbers as they are. Only here: it takes none from another header.
    image.header.set_slope_inter(*((storage.slope, storage.intercept) if storage else (1.0, 0.0)))
    with whole_file(path) as temporary:
        nibabel.save(image, temporary)
    return [path]


def _as_stored(array: np.ndarray, source: NiftiSource) -> tuple[np.ndarray, IntegerStorage | None]:
    """Values as the file of the source has them: colours, or integers with a slope."""
    if array.ndim == 4 and source.header["datatype"] in _COLOURS:
        return as_rgb(rounded(array, "uint8")), None
    if source.storage is None:
        return array, None
    storage = source.storage.fitted(float(array.min()), float(array.max()), source.storage.bits)
    return storage.encode(array), storage


def _read_header(stream: Stream, path: pathlib.Path) -> nibabel.Nifti1Header:
    """The header at the beginning of a stream, NIfTI-1 or NIfTI-2."""
    block = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    stream.seek(0)
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if header_class.may_contain_header(block):
            header = header_class.from_fileobj(stream, check=False)
            _check_known(header, path)
            header.check_fix()
            return header
    if len(block) < nibabel.Nifti1Header.sizeof_hdr:
        raise ValueError(f"it has {len(block)} bytes, fewer than a header")
    raise misnamed(path, block, "NIfTI")


def _check_known(header: nibabel.Nifti1Header, path: pathlib.Path) -> None:
    """Raises DataError for voxels of a type that no reader knows, which is no damage."""
    try:
        known = header.get_data_dtype().itemsize > 0
    except (HeaderDataError, KeyError):
        known = False
    if not known:
        code = int(header["datatype"])
        raise DataError(f"{path} holds voxels of an unknown type (code {code}). Save it as float32.")


def _affine(header: nibabel.Nifti1Header, path: pathlib.Path) -> np.ndarray:
    """The affine of the sform or else of the qform, of whichever says where voxels are."""
    _mend_qform(header, path)
    sform = header.get_sform()
    if header["sform_code"] and header["qform_code"]:
        broken = not (np.isfinite(sform).all() and is_invertible(sform))
        if broken or is_sheared(sform):
            log.warning("%s has %s sform: the qform is taken", path, "an unusable" if broken else "a sheared")
            header["sform_code"] = 0 if broken else header["sform_code"]
            return header.get_qform()
    return header.get_best_affine()


def _mend_qform(header: nibabel.Nifti1Header, path: pathlib.Path) -> None:
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


def _is_usable(header: nibabel.Nifti1Header) -> bool:
    try:
        return is_invertible(header.get_qform())
    except (HeaderDataError, ValueError):
        return False


def _changed_header(source: NiftiSource, volume: Volume, array: np.ndarray) -> nibabel.Nifti1Header:
    """The header of the source, with what the new grid and the new values change."""
    header = source.header.copy()
    # A file of one slice may leave out the third axis, and still say that slices lie across it.
    old_shape = (*header.get_data_shape(), 1, 1)[:3]
    # Both forms follow the same step from new to old voxel indices, whichever of them gave the affine, and
    # whatever their unit.
    step = np.linalg.inv(source.affine) @ volume.affine
    qform, qform_code = header.get_qform(coded=True)
    sform, sform_code = header.get_sform(coded=True)
    _set_grid(header, volume, array.shape, source.unit)
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


def _new_header(volume: Volume) -> nibabel.Nifti1Header:
    """A header for voxels that don't come from a NIfTI file."""
    header = nibabel.Nifti1Header()
    _set_grid(header, volume, volume.array.shape)
    code = "scanner" if volume.source is not None else "aligned"
    header.set_qform(volume.affine, code)
    header.set_sform(volume.affine, code)
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = _description(b"", volume)
    return header


def _set_grid(
    header: nibabel.Nifti1Header, volume: Volume, shape: tuple[int, ...], unit: float = 1.0
) -> None:
    times = header["pixdim"][4:].copy()  # TR stands there also in a 3-D file; nibabel would reset it.
    header.set_data_shape(shape)
    header["pixdim"][4:] = times
    header.set_zooms([*volume.spacing / unit, 1.0][: len(shape)])


def _description(old: bytes, volume: Volume) -> bytes:
    """What the header said, as far as there is room for it, and then what was done."""
    quantity = volume.quantity.encode("ascii", "replace") if volume.quantity else b""
    new = b"; ".join(text for text in (quantity, volume.description.encode("ascii", "replace")) if text)
    room = _DESCRIPTION_BYTES - len(new) - len("; ") if new else _DESCRIPTION_BYTES
    return b"; ".join(text for text in (old[: max(room, 0)], new) if text)[:_DESCRIPTION_BYTES]
