"""NIfTI pairs (`.hdr` and `.img`) and Analyze 7.5, through nibabel. They are read, not written."""

import contextlib
import dataclasses
import logging
import pathlib

import nibabel
from nibabel.filebasedimages import ImageFileError

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.nifti import volume_of
from keras_mrisr.volumes.volume import Volume
from keras_mrisr.volumes.voxel_file import opened, read_voxels, reading, scaled

NAME = "NIfTI pair"

log = logging.getLogger(__name__)
_BOTH = {".img": ".hdr", ".hdr": ".img"}


@dataclasses.dataclass(frozen=True)
class PairSource:
    """The two files that a volume was read from."""

    paths: tuple[pathlib.Path, ...]


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is named like one half of a pair, and is no DICOM file of such a name."""
    if not path.name.lower().removesuffix(".gz").endswith(tuple(_BOTH)):
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(132)[128:] != b"DICM"
    return True


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of a pair; see `read_volume`."""
    if series is not None:
        raise DataError(f"{path} is a pair and has no series: leave out `series`.")
    header_path, image_path = _halves(path)
    with reading(path):
        try:
            image = nibabel.load(header_path)
        except ImageFileError:
            raise DataError(
                f"{header_path} is the header of no NIfTI pair and of no Analyze file. Check what wrote it."
            ) from None
        header = image.header
        with opened(image_path) as (stream, zipped):
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            stored = read_voxels(stream, image_path, zipped, shape, dtype, header.get_data_offset(), index)
        if isinstance(header, nibabel.Nifti1Header):
            return volume_of(stored, _as_single(header), image_path, header_path)
        log.warning("%s is Analyze, which does not tell left from right: x runs to the left, as in SPM", path)
        slope, intercept = header.get_slope_inter()
        values = scaled(stored, 1.0 if slope is None else float(slope), float(intercept or 0))
        source = PairSource((image_path.absolute(), header_path.absolute()))
        return Volume(values, image.affine, name=str(image_path), source=source)


def _halves(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(header, image) of the pair that one of them belongs to, zipped or not."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    halves = {plain.suffix.lower(): path}
    wanted = _BOTH[plain.suffix.lower()]
    other = [
        one
        for one in sorted(plain.parent.glob(f"{_escaped(plain.stem)}.*"))
        if one.name[len(plain.stem) :].lower() in (wanted, f"{wanted}.gz")
    ]
    if not other:
        raise DataError(f"{path} is one half of a pair, and {plain.stem}{wanted} is missing beside it.")
    halves[wanted] = other[0]
    return halves[".hdr"], halves[".img"]


def _escaped(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)


def _as_single(header: nibabel.Nifti1Header) -> nibabel.Nifti1Header:
    """The header of the same volume in one file, in which it is written again."""
    single = nibabel.Nifti2Header if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Header
    one = single(header.binaryblock, header.endianness, check=False)
    one["magic"], one["vox_offset"] = single().structarr["magic"], 0
    return one
