"""MGH and MGZ files of FreeSurfer, through nibabel."""

import dataclasses
import logging
import pathlib

import nibabel
import numpy as np
from nibabel.freesurfer.mghformat import DATA_OFFSET, MGHHeader

from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, whole_file
from keras_mrisr.volumes.stored_values import narrowest
from keras_mrisr.volumes.volume import Volume
from keras_mrisr.volumes.voxel_file import misnamed, opened, read_voxels, reading, scaled

NAME = "MGH"
ENDINGS = (".mgz", ".mgh")

log = logging.getLogger(__name__)
_HEADER_BYTES = MGHHeader._hdrdtype.itemsize
_VERSION = b"\0\0\0\x01"
_INTEGERS = ("uint8", "int16", "uint16", "int32")


@dataclasses.dataclass(frozen=True)
class MghSource:
    """What writing needs of the file that a volume was read from.

    Attributes:
        path: The file.
        header: Its header, with TR, flip angle, TE and TI from the file's end.
    """

    path: pathlib.Path
    header: MGHHeader

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The files that the volume comes from."""
        return (self.path,)


def recognises(path: pathlib.Path) -> bool:
    """Whether a path is named like an MGH file."""
    return path.name.lower().endswith((*ENDINGS, ".mgh.gz"))


def read(path: pathlib.Path, index: int | None = None, series: str | int | None = None) -> Volume:
    """Reads one volume of an MGH file; see `read_volume`."""
    if series is not None:
        raise DataError(f"{path} is MGH and has no series: leave out `series`.")
    with reading(path):
        with opened(path) as (stream, zipped):
            block = stream.read(DATA_OFFSET)
            if not block.startswith(_VERSION):
                raise misnamed(path, block, "MGH")
            header = MGHHeader(block[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0"))
            shape = [int(size) for size in header["dims"]]
            stored = read_voxels(stream, path, zipped, shape, _type_of(header, path), DATA_OFFSET, index)
            stream.seek(header.get_footer_offset())
            header = MGHHeader(block[:_HEADER_BYTES] + stream.read(MGHHeader._ftrdtype.itemsize))
        if not int.from_bytes(block[28:30]):
            log.warning("%s does not say where its voxels lie: FreeSurfer's coronal 1 mm is taken", path)
        source = MghSource(path.absolute(), header)
        return Volume(scaled(stored), header.get_affine(), name=str(path), source=source)


def check_target(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> None:
    """Checks that a file can be written at `path`; see `keras_mrisr.volumes.check_target`."""
    check_new_file(path, overwrite)


def write(volume: Volume, path: pathlib.Path, overwrite: bool = False) -> list[pathlib.Path]:
    """Writes a volume as MGH; see `write_volume`.

    The type is the volume's where MGH has it, and else the narrowest that holds its values.
    """
    header = volume.source.header.copy() if isinstance(volume.source, MghSource) else MGHHeader()
    array = volume.array.astype(_type_for(volume.array, path), copy=False)
    header.set_data_dtype(array.dtype)
    with whole_file(path) as temporary:
        nibabel.save(nibabel.MGHImage(array, volume.affine, header), temporary)
    return [path]


def _type_of(header: MGHHeader, path: pathlib.Path) -> np.dtype:
    try:
        return header.get_data_dtype()
    except KeyError:
        raise DataError(
            f"{path} holds voxels of a type that cannot be read (code {int(header['type'])}). Convert it "
            "with mri_convert -odt float."
        ) from None


def _type_for(array: np.ndarray, path: pathlib.Path) -> str:
    if array.dtype.kind in "iu":
        name = narrowest(array, sorted(_INTEGERS, key=lambda name: name != array.dtype.name))
        if name is not None:
            return name
    low, high = array.min(), array.max()
    if max(-float(low), float(high)) > float(np.finfo("float32").max):
        raise DataError(f"{path}: MGH holds single precision, and values go up to {high}. Use .nii.gz.")
    return "float32"
