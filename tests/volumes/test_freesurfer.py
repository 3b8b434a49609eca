import gzip
import struct

import nibabel
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import Volume, read_volume, write_volume

FACTORS = (2, 2, 1)


def save(path, array, affine, **fields):
    image = nibabel.MGHImage(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def load(path):
    """As nibabel reads it, which leaves .mgh files open."""
    content = path.read_bytes()
    zipped = path.suffix.lower() == ".mgz"
    return nibabel.MGHImage.from_bytes(gzip.decompress(content) if zipped else content)


@pytest.mark.parametrize("suffix", [".mgh", ".mgz", ".MGZ"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_values_type_and_box_survive(tmp_path, phantom, oblique, suffix, dtype):
    array = phantom((10, 8, 5), oblique, top=200).astype(dtype)
    path = save(tmp_path / "in.mgz", array, oblique, tr=2300, te=2.98, ti=900, flip_angle=0.15)
    volume = read_volume(path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, load(path).affine, atol=1e-6)
    finer = volume.upscaled(volume.array.repeat(2, 0).repeat(2, 1), FACTORS)
    write_volume(finer, tmp_path / f"out{suffix}")
    after = load(tmp_path / f"out{suffix}")
    assert after.get_data_dtype() == np.dtype(dtype).newbyteorder(">")
    np.testing.assert_array_equal(after.dataobj, finer.array)
    np.testing.assert_allclose(after.affine, finer.affine, atol=1e-4)
    np.testing.assert_allclose([after.header[name] for name in ("tr", "te", "ti")], [2300, 2.98, 900])
    np.testing.assert_allclose(
        after.affine @ [-0.5, -0.5, -0.5, 1], oblique @ [-0.5, -0.5, -0.5, 1], atol=1e-4
    )


def test_from_and_to_nifti(tmp_path, phantom, oblique):
    array = phantom((10, 8, 5), oblique)
    volume = read_volume(save(tmp_path / "in.mgz", array.astype("int16"), oblique))
    write_volume(volume, tmp_path / "out.nii.gz")
    nifti = read_volume(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii.gz").get_qform(), oblique, atol=1e-4)
    write_volume(nifti, tmp_path / "back.mgz")
    np.testing.assert_array_equal(read_volume(tmp_path / "back.mgz").array, volume.array)


@pytest.mark.parametrize(
    ("values", "dtype", "stored"),
    [
        ([-5, 100], "int8", "int16"),
        ([0, 2**31], "uint32", "float32"),
        ([0, 70000], "uint32", "int32"),
        ([-(2**40), 7], "int64", "float32"),
        ([0.5, 1e30], "float64", "float32"),
    ],
)
def test_a_type_that_mgh_lacks_becomes_one_that_holds_the_values(tmp_path, values, dtype, stored):
    array = np.array(values, dtype).reshape(2, 1, 1)
    write_volume(Volume(array, np.eye(4)), tmp_path / "out.mgz")
    after = load(tmp_path / "out.mgz")
    assert after.get_data_dtype().name == stored
    np.testing.assert_allclose(np.asarray(after.dataobj), array, rtol=1e-7)


def test_beyond_single_precision(tmp_path):
    with pytest.raises(MrisrError, match="MGH holds single precision"):
        write_volume(Volume(np.array([[[1.0, 1e300]]]), np.eye(4)), tmp_path / "out.mgz")
    assert list(tmp_path.iterdir()) == []


def test_frames_ask_for_an_index(tmp_path, axial):
    array = np.arange(8 * 6 * 4 * 3).reshape(8, 6, 4, 3).astype("int16")
    path = save(tmp_path / "in.mgz", array, axial)
    with pytest.raises(MrisrError, match="4-D: it holds 3 volumes"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, 2).array, array[..., 2])


def test_a_file_that_does_not_say_where_it_lies(tmp_path, caplog):
    path = save(tmp_path / "in.mgh", np.ones((8, 6, 4), "int16"), np.eye(4))
    content = bytearray(path.read_bytes())
    struct.pack_into(">h", content, 28, 0)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_volume(path).affine, load(path).affine)
    assert "FreeSurfer's coronal 1 mm is taken" in caplog.text


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (20, 2, r"of a type that cannot be read \(code 2\)"),
        (4, 30_000, "header says 30000 x 6 x 4 x 1 voxels, and the file has"),
        (4, -8, "header says -8 x 6 x 4 x 1 voxels"),
        (0, 7, "holds no MGH header, although its name says so"),
    ],
)
def test_bad_headers(tmp_path, place, value, message):
    path = save(tmp_path / "in.mgh", np.ones((8, 6, 4), "int16"), np.eye(4))
    content = bytearray(path.read_bytes())
    struct.pack_into(">i", content, place, value)
    path.write_bytes(content)
    with pytest.raises(MrisrError, match=message) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 50, 250, 400])
def test_a_file_that_is_cut_off(tmp_path, kept):
    path = save(tmp_path / "in.mgh", np.ones((8, 6, 4), "int16"), np.eye(4))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MrisrError, match=r"broken or cut off|holds no MGH header"):
        read_volume(path)
