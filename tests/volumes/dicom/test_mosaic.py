"""Siemens's mosaics: the slices of a volume as tiles of one image."""

import struct
import warnings

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume, write_volume

SHAPE = (12, 10, 7)  # columns, rows, slices: of 3 x 3 tiles two stay empty


def csa(**tags):
    """A Siemens image header of the second kind: names with texts."""
    content = b"SV10\x04\x03\x02\x01" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        vr = b"FD" if isinstance(values[0], float) else b"US"
        content += struct.pack("<64si4s3i", name.encode(), len(values), vr, 0, len(values), 77)
        for value in values:
            text = f"{value:.8f}".encode() if isinstance(value, float) else str(value).encode()
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text
            content += bytes(-len(text) % 4)
    return content


@pytest.fixture
def mosaics(tmp_path, dicom_series):
    """A function that writes volumes (column, row, slice[, time]) with a RAS affine as mosaics."""

    def write(array, affine, header=None, normal=1.0, **tags):
        array = array[..., np.newaxis] if array.ndim == 3 else array
        edge = int(np.ceil(np.sqrt(array.shape[2])))
        columns, rows = array.shape[:2]
        slab = np.zeros((edge * columns, edge * rows, array.shape[3]), array.dtype)
        for place in range(array.shape[2]):
            x, y = place % edge * columns, place // edge * rows
            slab[x : x + columns, y : y + rows] = array[:, :, place]
        # A mosaic lies about the middle of its first slice.
        corner = affine @ [(1 - edge) * columns / 2, (1 - edge) * rows / 2, 0, 1]
        moved = affine.copy()
        moved[:, 3] = corner
        axis = affine[:3, 2] / np.linalg.norm(affine[:3, 2]) * (-1, -1, 1)
        header = header or csa(
            NumberOfImagesInMosaic=[array.shape[2]], SliceNormalVector=[float(one) for one in axis * normal]
        )
        uid = generate_uid()
        for time in range(array.shape[3]):
            (path,) = dicom_series(
                tmp_path / "in" / str(time), slab[:, :, time, np.newaxis], moved, uid=uid,
                ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], AcquisitionNumber=time + 1,
                InstanceNumber=time + 1, **tags,
            )  # fmt: skip
            dataset = pydicom.dcmread(path)
            block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
            block.add_new(0x10, "OB", header)
            dataset.save_as(path)
        return tmp_path / "in"

    return write


@pytest.fixture(params=["axial", "oblique"])
def affine(request):
    return request.getfixturevalue(request.param)


def test_a_mosaic_is_a_volume(mosaics, phantom, affine):
    array = phantom(SHAPE, affine).astype("int16")
    folder = mosaics(array, affine)
    for source in (folder, folder / "0/image999"):
        volume = read_volume(source)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-6)


def test_slices_that_follow_each_other_against_the_normal(mosaics, phantom, affine):
    array = phantom(SHAPE, affine).astype("int16")
    backwards = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1]])
    volume = read_volume(mosaics(array[:, :, ::-1], backwards))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)


def test_nibabel_sees_the_same(mosaics, phantom, affine):
    """An independent reader of mosaics."""
    path = mosaics(phantom(SHAPE, affine).astype("int16"), affine) / "0/image999"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import MosaicWrapper

        other = MosaicWrapper(pydicom.dcmread(path))
        data, lps = other.get_data(), other.affine
    volume = read_volume(path)
    # It has (row, column, slice) in LPS.
    np.testing.assert_array_equal(volume.array, data.transpose(1, 0, 2))
    swapped = np.diag([-1, -1, 1, 1]) @ lps @ np.eye(4)[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(volume.affine, swapped, atol=1e-6)
    assert nibabel.aff2axcodes(volume.affine) == nibabel.aff2axcodes(affine)


def test_a_mosaic_for_each_time(mosaics, phantom, axial):
    first = phantom(SHAPE, axial).astype("int16")
    array = np.stack([first, first + 50, first + 90], -1)
    folder = mosaics(array, axial)
    with pytest.raises(MrisrError, match=r"0 to 2 \(0: AcquisitionNumber 1; 1: AcquisitionNumber 2; 2: "):
        read_volume(folder)
    for index in range(3):
        np.testing.assert_array_equal(read_volume(folder, index).array, array[..., index])


def test_a_result_is_a_series_of_slices(tmp_path, mosaics, phantom, affine):
    array = phantom(SHAPE, affine).astype("int16")
    source = read_volume(mosaics(array, affine))
    write_volume(source.upscaled(array.repeat(2, 0), (2, 1, 1)), tmp_path / "out")
    back = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(back.array, array.repeat(2, 0))
    np.testing.assert_allclose(back.affine @ [0.5, 0, 0, 1], affine[:, 3], atol=1e-6)
    after = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [one.InstanceNumber for one in after] == list(range(1, 8))
    assert {(one.Rows, one.Columns) for one in after} == {(10, 24)}
    assert {tuple(one.ImageType) for one in after} == {("DERIVED", "SECONDARY", "M", "ND")}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (csa(Other=[1]), "a mosaic without Siemens's private header: convert it with dcm2niix"),
        (csa(NumberOfImagesInMosaic=[50], SliceNormalVector=[0.0, 0.0, 1.0]), "50 slices don't fit"),
        (csa(NumberOfImagesInMosaic=[7], SliceNormalVector=[1.0, 0.0, 0.0]), "does not stand on the slices"),
        (b"SV10" + bytes(20), "places no image in space"),
        (b"SV10\x04\x03\x02\x01\xff\xff\xff\xff", "places no image in space"),
    ],
)
def test_headers_that_do_not_fit(mosaics, phantom, axial, header, said):
    folder = mosaics(phantom(SHAPE, axial).astype("int16"), axial, header)
    with pytest.raises(MrisrError) as caught:
        read_volume(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
