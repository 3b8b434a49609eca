import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import Volume, check_target, check_volume, read_volume, write_volume


@pytest.fixture
def volume(phantom, axial):
    return Volume(phantom((8, 6, 4), axial).astype("int16"), axial, name="scan.nii")


def test_shape_and_spacing(volume):
    assert volume.shape == (8, 6, 4)
    np.testing.assert_allclose(volume.spacing, (0.75, 0.75, 3.0))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 1, 1), (4, 0, 4)])
def test_a_volume_has_three_axes(shape):
    with pytest.raises(MrisrError, match=r"A volume is \(X, Y, Z\)"):
        Volume(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize(
    ("dtype", "kept"), [("bool", "uint8"), ("float16", "float32"), ("int64", "int64"), (">i2", ">i2")]
)
def test_types_that_files_do_not_have_become_others(dtype, kept):
    array = np.arange(8).reshape(2, 2, 2).astype(dtype)
    volume = Volume(array, np.eye(4))
    assert volume.array.dtype == kept
    np.testing.assert_array_equal(volume.array, array)
    assert Volume(array.tolist(), np.eye(4)).shape == (2, 2, 2)


@pytest.mark.parametrize("dtype", ["complex64", "longdouble", "object", "U1"])
def test_other_voxels_than_numbers_are_refused(dtype):
    with pytest.raises(MrisrError, match=r"scan\.nii holds .* voxels. Give integers or real numbers"):
        Volume(np.ones((2, 2, 2)).astype(dtype), np.eye(4), name="scan.nii")


def test_nifti_has_no_series(volume, tmp_path):
    write_volume(volume, tmp_path / "out.nii")
    with pytest.raises(MrisrError, match=r"out\.nii is NIfTI and has no series: leave out `series`"):
        read_volume(tmp_path / "out.nii", series="99")


@pytest.mark.parametrize(
    "affine", [np.eye(3), np.diag([1, 1, 0, 1]), np.diag([1, 1, np.nan, 1]), np.diag([1, 1, 1, 2])]
)
def test_an_affine_must_place_voxels(affine):
    with pytest.raises(MrisrError, match="no usable affine"):
        Volume(np.zeros((4, 4, 4)), affine, name="scan.nii")


def test_upscaled_keeps_type_and_box(volume):
    result = np.full((16, 12, 4), 7.6)
    result[0, 0, 0] = 40000.2
    finer = volume.upscaled(result, (2, 2, 1), "by a test")
    assert finer.array.dtype == np.int32  # 40000 is beyond int16.
    assert finer.array[0, 0, 0] == 40000
    assert finer.array[1, 1, 1] == 8
    assert finer.description == "by a test"
    assert finer.name == "scan.nii"
    np.testing.assert_allclose(finer.spacing, (0.375, 0.375, 3.0))
    corner, finer_corner = (one.affine @ [-0.5, -0.5, -0.5, 1] for one in (volume, finer))
    np.testing.assert_allclose(finer_corner, corner)


def test_another_quantity_stays_float(volume):
    deviation = volume.upscaled(np.full((8, 6, 4), 0.25), quantity="standard deviation")
    assert deviation.array.dtype == np.float32
    assert deviation.quantity == "standard deviation"


def test_a_result_of_another_shape_is_refused(volume):
    with pytest.raises(MrisrError, match=r"shape \(8, 12, 4\) for scan.nii should have shape \(16, 12, 4\)"):
        volume.upscaled(np.zeros((8, 12, 4)), (2, 2, 1))


def test_a_good_volume_passes(volume):
    check_volume(volume)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(volume, value):
    array = volume.array.astype("float32")
    array[1, 2, 3] = value
    with pytest.raises(MrisrError, match=r"scan\.nii holds 1 NaN or infinite voxels"):
        check_volume(Volume(array, volume.affine, name="scan.nii"))


@pytest.mark.parametrize("value", [0, 17])
def test_nothing_to_upscale_in_a_constant_volume(volume, value):
    with pytest.raises(MrisrError, match=f"scan.nii is {value} in every voxel"):
        check_volume(Volume(np.full((8, 6, 4), value, "int16"), volume.affine, name="scan.nii"))


def test_sheared_affines_are_refused(volume):
    sheared = volume.affine.copy()
    sheared[0, 2] = 0.5
    with pytest.raises(MrisrError, match=r"scan\.nii has a sheared affine"):
        check_volume(Volume(volume.array, sheared, name="scan.nii"))


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(MrisrError, match="does not exist"):
        read_volume(tmp_path / "no.nii.gz")


def test_an_existing_file_is_kept(volume, tmp_path):
    target = tmp_path / "out.nii.gz"
    write_volume(volume, target)
    before = target.read_bytes()
    with pytest.raises(
        MrisrError, match=r"out\.nii\.gz exists\. Choose another name or pass `overwrite=True`"
    ):
        write_volume(volume, target)
    assert target.read_bytes() == before
    write_volume(volume.upscaled(volume.array, description="again"), target, overwrite=True)
    assert target.read_bytes() != before


def test_the_source_is_never_overwritten(volume, tmp_path):
    target = tmp_path / "out.nii"
    write_volume(volume, target)
    with pytest.raises(MrisrError, match="is or holds the source"):
        check_target(read_volume(target), target, overwrite=True)


def test_a_folder_is_no_nifti_file(volume, tmp_path):
    (tmp_path / "out.nii").mkdir()
    with pytest.raises(MrisrError, match="is a folder"):
        check_target(volume, tmp_path / "out.nii", overwrite=True)


def test_a_place_that_cannot_hold_files(volume, tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(MrisrError, match="notes is not a writable folder"):
        check_target(volume, tmp_path / "notes/out.nii.gz")


@pytest.mark.parametrize("name", ["out", "out.dcm", "out.mnc", "out.nii.zip"])
def test_nifti_does_not_become_dicom(volume, tmp_path, name):
    with pytest.raises(MrisrError, match=r"should end in \.nii or \.nii\.gz"):
        write_volume(volume, tmp_path / name)
    assert not list(tmp_path.iterdir())
