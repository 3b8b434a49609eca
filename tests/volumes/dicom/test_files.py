"""Forms in which DICOM files come: gzipped, listed in a DICOMDIR."""

import gzip
import shutil
import zlib

import numpy as np
import pydicom
import pytest
from pydicom import uid

from keras_mrisr.errors import MrisrError
from keras_mrisr.memory import memory_limit, resident_memory
from keras_mrisr.volumes import read_volume, write_volume
from keras_mrisr.volumes.dicom import pixels
from keras_mrisr.volumes.formats import format_at

SHAPE = (12, 10, 6)


@pytest.fixture
def array(phantom, axial):
    return phantom(SHAPE, axial).astype("int16")


def zipped(path, name=None):
    new = path.with_name(name or f"{path.name}.dcm.gz")
    new.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return new


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.RLELossless])
def test_gzipped_slices(tmp_path, dicom_series, array, axial, syntax):
    paths = [zipped(path) for path in dicom_series(tmp_path / "in", array, axial, syntax)]
    assert format_at(paths[0]).NAME == format_at(tmp_path / "in").NAME == "DICOM"
    volume = read_volume(tmp_path / "in")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, axial, atol=1e-9)
    np.testing.assert_array_equal(read_volume(paths[2]).array, array[:, :, 2:3])
    assert len(write_volume(volume, tmp_path / "out")) == 6


def test_a_gzipped_enhanced_file(tmp_path, enhanced_series, array, axial):
    path = zipped(enhanced_series(tmp_path / "in", array.astype("uint16"), axial), "scan.dcm.gz")
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_gzipped_files_that_are_no_dicom(tmp_path, dicom_series, array, axial):
    dicom_series(tmp_path / "in", array, axial)
    (tmp_path / "in/notes.gz").write_bytes(gzip.compress(b"scanned on a Tuesday"))
    np.testing.assert_array_equal(read_volume(tmp_path / "in").array, array)
    (tmp_path / "notes").mkdir()
    shutil.move(tmp_path / "in/notes.gz", tmp_path / "notes")
    assert format_at(tmp_path / "notes") is None


@pytest.mark.parametrize("name", ["IMG1.img", "scan.hdr", "SCAN.IMA", "scan.dat", "1"])
def test_names_say_nothing(tmp_path, dicom_series, array, axial, name):
    (path,) = dicom_series(tmp_path / "in", array[:, :, :1], axial)
    np.testing.assert_array_equal(read_volume(path.rename(tmp_path / name)).array, array[:, :, :1])


@pytest.mark.parametrize("kept", [20, 200, -20])
def test_a_gzipped_file_that_is_cut_off(tmp_path, dicom_series, array, axial, kept):
    path = zipped(dicom_series(tmp_path, array, axial)[2])
    path.write_bytes(path.read_bytes()[:kept])
    for source in (tmp_path, path):
        with pytest.raises(MrisrError) as caught:
            read_volume(source)
        assert "\n" not in str(caught.value)
    content = bytearray(gzip.compress(b"x" * 500))
    content[15] ^= 0xFF
    with pytest.raises(zlib.error):
        gzip.decompress(bytes(content))
    path.write_bytes(content)
    with pytest.raises(MrisrError):
        read_volume(path)


def test_a_deflated_file_that_unpacks_to_more_memory_than_is_allowed(tmp_path, dicom_series, axial):
    deflated = uid.DeflatedExplicitVRLittleEndian
    (path,) = dicom_series(tmp_path, np.zeros((3000, 3000, 1), "int16"), axial, deflated)
    assert path.stat().st_size < 50_000
    with memory_limit(resident_memory() + 5_000_000), pytest.raises(MrisrError) as caught:
        read_volume(path)
    assert f"of memory are too little for {path}" in str(caught.value)


def test_what_follows_gzipped_pixels_is_not_unpacked(tmp_path, dicom_series, array, axial, monkeypatch):
    (path,) = dicom_series(tmp_path, array[:, :, :1], axial)
    path = zipped(path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(20_000_000)))
    monkeypatch.setattr(pixels, "_BESIDE_PIXELS", 100_000)
    count, read = [0], gzip.GzipFile.read

    def counted(stream, size=-1):
        content = read(stream, size)
        count[0] += len(content)
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    np.testing.assert_array_equal(read_volume(path).array, array[:, :, :1])
    assert 0 < count[0] < 300_000


def write_index(folder, names):
    """A DICOMDIR that lists files by the parts of their names, behind a record of their patient."""
    index = pydicom.Dataset()
    index.FileSetID, index.DirectoryRecordSequence = "DISC", [pydicom.Dataset()]
    index.DirectoryRecordSequence[0].DirectoryRecordType = "PATIENT"
    for name in names:
        record = pydicom.Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.add(pydicom.DataElement("ReferencedFileID", "CS", name, validation_mode=0))
        index.DirectoryRecordSequence.append(record)
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    index.save_as(folder / "DICOMDIR", enforce_file_format=True)


@pytest.fixture
def disc(tmp_path, dicom_series, array, axial):
    """A folder with a DICOMDIR and the files that it lists."""
    folder = tmp_path / "disc"
    names = []
    for number, path in enumerate(dicom_series(folder / "PT0", array, axial)):
        names.append(["PT0", f"IM{number}"])
        path.rename(folder.joinpath(*names[-1]))
    write_index(folder, names)
    return folder


def test_a_dicomdir(disc, array, tmp_path):
    assert format_at(disc / "DICOMDIR").NAME == "DICOM"
    (disc / "stray").write_bytes(b"")  # Nothing that it does not list is looked at.
    volume = read_volume(disc / "DICOMDIR")
    np.testing.assert_array_equal(volume.array, array)
    with pytest.raises(MrisrError, match="lies in the source"):
        write_volume(volume, disc / "out")
    assert len(write_volume(volume, tmp_path / "out")) == 6


def test_a_dicomdir_of_files_in_lower_case(disc, array):
    for path in (disc / "PT0").iterdir():
        path.rename(path.with_name(path.name.lower()))
    (disc / "PT0").rename(disc / "pt0")
    np.testing.assert_array_equal(read_volume(disc / "DICOMDIR").array, array)


def test_a_dicomdir_whose_files_are_not_there(disc):
    (disc / "PT0/IM3").unlink()
    with pytest.raises(MrisrError, match="DICOMDIR lists PT0/IM3, which is not there"):
        read_volume(disc / "DICOMDIR")


@pytest.mark.parametrize(
    "name", [["..", "SECRET"], ["A", "..", "..", "SECRET"], ["", "SECRET"], ["../SECRET"]]
)
def test_a_dicomdir_names_nothing_outside_its_folder(disc, name):
    shutil.move(disc / "PT0/IM0", disc.parent / "SECRET")
    write_index(disc, [name])
    with pytest.raises(MrisrError, match="which is not there"):
        read_volume(disc / "DICOMDIR")


def test_an_empty_dicomdir(tmp_path):
    write_index(tmp_path, [])
    with pytest.raises(MrisrError, match="holds no DICOM image"):
        read_volume(tmp_path / "DICOMDIR")
