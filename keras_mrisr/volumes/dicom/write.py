"""Volumes that come from DICOM -> a new series of the same study."""

import functools
import io
import pathlib
import re

from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_directory, check_new_file, whole_directory, whole_file
from keras_mrisr.volumes.dicom.derived import NewSeries, slice_dataset
from keras_mrisr.volumes.dicom.enhanced import enhanced_dataset
from keras_mrisr.volumes.dicom.files import one_line, pydicom_at_work
from keras_mrisr.volumes.dicom.read import DicomSource
from keras_mrisr.volumes.volume import Volume

_OUR_FILE = re.compile(r"sr-\d{4,}\.dcm")
# Endings that ask for another form than a folder of DICOM.
_FOREIGN = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".pdf",
    ".nifti", ".img", ".hdr", ".mgz", ".mgh", ".mha", ".mhd", ".nrrd", ".nhdr", ".mnc", ".par", ".rec",
    ".npy", ".npz", ".mat", ".h5", ".hdf5", ".raw", ".json", ".csv", ".txt",
    ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz",
)  # fmt: skip


def check_dicom_target(volume: Volume, path: pathlib.Path, overwrite: bool) -> None:
    """Checks that `volume` can become DICOM at `path`; see `check_target`."""
    if not isinstance(volume.source, DicomSource):
        raise DataError(
            f"{path} should end in .nii or .nii.gz: {volume.name} is not DICOM, and has no patient and no "
            "study to make DICOM of."
        )
    _check_name(volume, path)
    if volume.array.ndim > 3:
        raise DataError(f"{path}: a volume with channels cannot become DICOM. End it in .nii.gz.")
    if len({frame.path for frame in volume.source.frames if frame.number is not None}) > 1:
        raise DataError(f"{path}: {volume.name} is spread over several multi-frame files. End it in .nii.gz.")
    if path.suffix.lower() == ".dcm":
        check_new_file(path, overwrite)
    else:
        _check_folder(path, overwrite)


def _check_name(volume: Volume, path: pathlib.Path) -> None:
    if path.suffix.lower() in _FOREIGN:
        raise DataError(f"{path} has no ending that can be written. Use .nii.gz, or a folder for DICOM.")
    source = volume.source.place
    if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
        # Its images would be taken for a series of the source the next time.
        raise DataError(f"{path} lies in the source {volume.name}. Choose another folder.")
    if path.suffix.lower() == ".dcm" and volume.source.frames[0].number is None and volume.shape[2] > 1:
        raise DataError(f"{path} is one file, but there are {volume.shape[2]} slices. Name a folder.")


def _check_folder(path: pathlib.Path, overwrite: bool) -> None:
    check_new_directory(path, overwrite)
    if path.is_dir():
        others = sorted(file.name for file in path.iterdir() if not _OUR_FILE.fullmatch(file.name))
        if others:
            raise DataError(f"{path} holds {others[0]}, which is no result of this: choose another folder.")


def write_dicom(volume: Volume, path: pathlib.Path, overwrite: bool) -> list[pathlib.Path]:
    """Writes a new series; see `write_volume`."""
    with pydicom_at_work():
        series = NewSeries.of(volume)
        if series.frames[0].number is not None:
            makers = [functools.partial(enhanced_dataset, series)]
        else:
            makers = [functools.partial(slice_dataset, series, place) for place in range(series.slices)]
        if path.suffix.lower() == ".dcm":
            with whole_file(path) as temporary:
                temporary.write_bytes(_content(makers[0], volume))
            return [path]
        names = [f"sr-{number:04d}.dcm" for number in range(1, len(makers) + 1)]
        try:
            with whole_directory(path, overwrite) as temporary:
                for name, make in zip(names, makers, strict=True):
                    (temporary / name).write_bytes(_content(make, volume))
        except OSError as error:
            raise DataError(
                f"Cannot write {path}: {error.strerror or error}. Nothing was changed."
            ) from error
    return [path / name for name in names]


def _content(make, volume):
    """A file in explicit VR little endian, which every reader knows.

    Made in memory, because pydicom wraps the error of a full disk into a traceback of its own.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    content = io.BytesIO()
    with one_line(f"{volume.name} has an element that cannot be copied ({{}}). End the output in .nii.gz."):
        dataset = make()
        dataset.preamble = bytes(128)  # The source's could hold the header of another format.
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # Not save_as, which refuses what was big endian; words outside of the pixels are not in MR.
        dcmwrite(content, dataset, enforce_file_format=True)
    return content.getbuffer()
