import errno
import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import Volume, check_volume, read_volume, write_volume

FACTORS = (2, 2, 1)


def save(path, array, affine, image_class=nibabel.Nifti1Image, **fields):
    image = image_class(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def doubled(volume):
    """The volume with each voxel as 2 x 2 in the plane."""
    array = volume.array.repeat(2, 0).repeat(2, 1)
    return volume.upscaled(array, FACTORS, "keras-mrisr 1.2, model test")


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int32", "float32", "float64"])
def test_values_type_and_place_survive(tmp_path, phantom, oblique, image_class, suffix, dtype):
    array = phantom((10, 8, 5), oblique, top=200).astype(dtype)
    volume = read_volume(save(tmp_path / f"in{suffix}", array, oblique, image_class))
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, oblique, atol=1e-5)
    finer = doubled(volume)
    assert write_volume(finer, tmp_path / f"out{suffix}") == [tmp_path / f"out{suffix}"]
    image = nibabel.load(tmp_path / f"out{suffix}")
    assert type(image) is image_class
    assert image.get_data_dtype() == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(image.dataobj, finer.array)
    np.testing.assert_allclose(image.affine, finer.affine, atol=1e-5)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)


def test_both_forms_keep_their_codes_and_their_difference(tmp_path, phantom, oblique):
    image = nibabel.Nifti1Image(phantom((10, 8, 5), oblique), None)
    qform = oblique.copy()
    qform[:3, 3] += (4, -5, 6)  # A scan that was registered: sform differs from qform.
    image.set_qform(qform, 1)
    image.set_sform(oblique, 4)
    nibabel.save(image, tmp_path / "in.nii")
    write_volume(doubled(read_volume(tmp_path / "in.nii")), tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii")
    for old, new in (
        (qform, after.header.get_qform(coded=True)),
        (oblique, after.header.get_sform(coded=True)),
    ):
        assert new[1] == (1 if old is qform else 4)
        np.testing.assert_allclose(new[0] @ [19.5, 15.5, 4.5, 1], old @ [9.5, 7.5, 4.5, 1], atol=1e-4)
        np.testing.assert_allclose(new[0] @ [-0.5, -0.5, -0.5, 1], old @ [-0.5, -0.5, -0.5, 1], atol=1e-4)


@pytest.mark.parametrize(("qform_code", "sform_code"), [(1, 0), (0, 2), (0, 0)])
def test_a_form_without_a_code_gets_none(tmp_path, phantom, axial, qform_code, sform_code):
    image = nibabel.Nifti1Image(phantom((10, 8, 5), axial), None)
    image.header.set_zooms((0.75, 0.75, 3))
    if qform_code:
        image.set_qform(axial, qform_code)
    if sform_code:
        image.set_sform(axial, sform_code)
    nibabel.save(image, tmp_path / "in.nii")
    source = read_volume(tmp_path / "in.nii")
    write_volume(doubled(source), tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii")
    assert (after.header["qform_code"], after.header["sform_code"]) == (qform_code, sform_code)
    np.testing.assert_allclose(after.header.get_zooms(), (0.375, 0.375, 3))
    corner = after.affine @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(corner, source.affine @ [-0.5, -0.5, -0.5, 1], atol=1e-5)


def with_quaternion(path, axial, quaternion, sform_code):
    image = nibabel.Nifti1Image(np.arange(160).reshape(8, 5, 4).astype("int16"), None)
    image.set_qform(axial, 1)
    image.set_sform(axial, sform_code)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 256, *quaternion)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("sform_code", [0, 1])
@pytest.mark.parametrize("excess", [6e-7, 1e-3])
def test_a_qform_that_is_rounded_badly(tmp_path, axial, sform_code, excess):
    """Other programs write b2 + c2 + d2 a little over 1."""
    half = np.sqrt((1 + excess) / 2)
    path = with_quaternion(tmp_path / "in.nii", axial, (half, half, 0), sform_code)
    volume = read_volume(path)
    if not sform_code:
        np.testing.assert_allclose(volume.spacing, (0.75, 0.75, 3), rtol=1e-6)
    write_volume(doubled(volume), tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert header["qform_code"] == 1
    np.testing.assert_allclose([header["quatern_b"], header["quatern_c"]], np.sqrt(0.5), rtol=1e-4)


@pytest.mark.parametrize("quaternion", [(1, 1, 0), (np.nan, 0, 0)])
def test_a_qform_that_is_no_rotation(tmp_path, axial, caplog, quaternion):
    path = with_quaternion(tmp_path / "in.nii", axial, quaternion, 1)
    volume = read_volume(path)
    assert "in.nii has a qform that is no rotation: the sform is taken" in caplog.text
    np.testing.assert_allclose(volume.affine, axial, atol=1e-5)
    write_volume(doubled(volume), tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)
    np.testing.assert_allclose(header.get_zooms(), (0.375, 0.375, 3))
    with pytest.raises(MrisrError, match=r"a qform that is no rotation, and no sform\. Mend its header"):
        read_volume(with_quaternion(tmp_path / "only.nii", axial, quaternion, 0))


def test_the_rest_of_the_header_is_kept(tmp_path, phantom, axial):
    path = save(
        tmp_path / "in.nii", phantom((10, 8, 5), axial), axial, descrip=b"TE=90", cal_max=800, xyzt_units=10,
        slice_code=1, slice_end=4, dim_info=54, aux_file=b"aux", pixdim=[1, 0.75, 0.75, 3, 2.5, 0, 0, 0],
    )  # fmt: skip
    write_volume(doubled(read_volume(path)), tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert header["descrip"].item() == b"TE=90; keras-mrisr 1.2, model test"
    assert header["cal_max"] == 800
    assert header["pixdim"][4] == 2.5
    assert header.get_xyzt_units() == ("mm", "sec")
    assert (header["slice_code"], header["slice_end"], header["dim_info"]) == (1, 4, 54)
    assert header["aux_file"].item() == b"aux"


def test_slice_timing_goes_when_slices_are_added(tmp_path, phantom, axial):
    path = save(
        tmp_path / "in.nii", phantom((10, 8, 5), axial), axial, slice_code=1, slice_end=4, dim_info=54
    )
    volume = read_volume(path)
    write_volume(volume.upscaled(volume.array.repeat(2, 2), (1, 1, 2)), tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert (header["slice_code"], header["slice_end"]) == (0, 0)


@pytest.mark.parametrize("length", [60, 79, 80])
def test_a_long_description_makes_room_for_what_was_done(tmp_path, phantom, axial, length):
    path = save(tmp_path / "in.nii", phantom((10, 8, 5), axial), axial, descrip=b"x" * length)
    write_volume(doubled(read_volume(path)), tmp_path / "out.nii")
    description = nibabel.load(tmp_path / "out.nii").header["descrip"].item()
    assert description == b"x" * 50 + b"; keras-mrisr 1.2, model test"
    assert len(description) == 79


@pytest.mark.parametrize(("unit", "millimetres"), [("meter", 1000), ("micron", 0.001), ("unknown", 1)])
@pytest.mark.parametrize("coded", [0, 1])
def test_units(tmp_path, phantom, axial, unit, millimetres, coded):
    """A volume is in millimetres; a file stays in its own unit."""
    affine = np.diag([1 / millimetres] * 3 + [1]) @ axial
    image = nibabel.Nifti1Image(phantom((10, 8, 5), axial), None)
    image.header.set_xyzt_units(unit, "sec")
    image.header.set_zooms(np.abs(np.diag(affine)[:3]))
    image.set_qform(affine, coded)
    image.set_sform(affine, coded)
    nibabel.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    np.testing.assert_allclose(volume.spacing, (0.75, 0.75, 3), rtol=1e-6)
    write_volume(doubled(volume), tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert header.get_xyzt_units() == (unit, "sec")
    np.testing.assert_allclose(header.get_zooms(), np.divide((0.375, 0.375, 3), millimetres), rtol=1e-6)
    before, after = volume.affine, read_volume(tmp_path / "out.nii").affine
    corner = [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(after @ corner, before @ corner, atol=1e-4)


@pytest.mark.parametrize(("dtype", "inter"), [("int16", 0), ("uint16", -100), ("uint8", 0), ("int32", 7)])
def test_scaled_integers_are_scaled_again(tmp_path, axial, dtype, inter):
    stored = np.arange(160).reshape(8, 5, 4).astype(dtype)
    image = nibabel.Nifti1Image(stored, axial)
    image.header.set_slope_inter(0.5, inter)
    nibabel.save(image, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    assert volume.array.dtype == ("float64" if dtype == "int32" else "float32")
    np.testing.assert_array_equal(volume.array, stored * 0.5 + inter)
    write_volume(doubled(volume), tmp_path / "out.nii.gz")
    after = nibabel.load(tmp_path / "out.nii.gz")
    assert after.get_data_dtype() == dtype
    assert (after.dataobj.slope, after.dataobj.inter) == (0.5, inter)
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), stored.repeat(2, 0).repeat(2, 1))


def test_scaled_floats_keep_their_type(tmp_path, axial):
    stored = np.arange(160, dtype="float32").reshape(8, 5, 4)
    path = save(tmp_path / "in.nii", stored, axial)
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 2.0, 1.0)  # Slope and intercept; nibabel writes none to floats.
    path.write_bytes(content)
    volume = read_volume(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, stored * 2 + 1)


def test_scaled_integers_take_little_memory(tmp_path, axial):
    """Neither reading nor writing holds much more than the values and the stored numbers."""
    stored = np.arange(64 * 64 * 50).reshape(64, 64, 50).astype("int16")
    image = nibabel.Nifti1Image(stored, axial)
    image.header.set_slope_inter(0.5, 0)
    nibabel.save(image, tmp_path / "in.nii")
    tracemalloc.start()
    try:
        volume = read_volume(tmp_path / "in.nii")
        read = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        write_volume(volume, tmp_path / "out.nii")
        written = tracemalloc.get_traced_memory()[1] - volume.array.nbytes
    finally:
        tracemalloc.stop()
    assert read < 8 * stored.size
    assert written < 5 * stored.size


def test_a_brighter_result_gets_another_slope(tmp_path, axial):
    image = nibabel.Nifti1Image(np.arange(160).reshape(8, 5, 4).astype("uint8"), axial)
    image.header.set_slope_inter(0.5, 0)
    nibabel.save(image, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    result = volume.array.copy()
    result[0, 0, 0], result[0, 0, 1], result[0, 0, 2] = 0, 200.0, -3.0  # 127.5 was the most.
    write_volume(volume.upscaled(result), tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii")
    assert after.get_data_dtype() == "uint8"
    back = np.asarray(after.dataobj)
    np.testing.assert_allclose(back, np.maximum(result, 0), atol=0.5)
    assert back[0, 0, 0] == 0


def test_a_new_file_without_a_source(tmp_path, phantom, oblique):
    array = phantom((10, 8, 5), oblique).astype("float32")
    write_volume(Volume(array, oblique, description="made"), tmp_path / "new.nii.gz")
    image = nibabel.load(tmp_path / "new.nii.gz")
    np.testing.assert_array_equal(image.dataobj, array)
    np.testing.assert_allclose(image.affine, oblique, atol=1e-6)
    np.testing.assert_allclose(image.header.get_qform(), oblique, atol=1e-5)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header["descrip"].item() == b"made"


def test_another_quantity_is_named(tmp_path, phantom, axial):
    path = save(tmp_path / "in.nii", phantom((10, 8, 5), axial).astype("int16"), axial, cal_max=800)
    volume = read_volume(path)
    write_volume(
        volume.upscaled(volume.array / 7, description="by x", quantity="standard deviation"),
        tmp_path / "out.nii",
    )
    image = nibabel.load(tmp_path / "out.nii")
    assert image.get_data_dtype() == "float32"
    assert image.header["cal_max"] == 0
    assert image.header["descrip"].item() == b"standard deviation; by x"


def test_4d_files_ask_for_an_index(tmp_path, axial):
    array = np.arange(8 * 6 * 4 * 3).reshape(8, 6, 4, 3).astype("int16")
    path = save(tmp_path / "in.nii.gz", array, axial)
    with pytest.raises(MrisrError, match=r"4-D: it holds 3 volumes. Choose one with `volume_index` 0 to 2"):
        read_volume(path)
    for index in range(3):
        np.testing.assert_array_equal(read_volume(path, index).array, array[..., index])
    for index in (3, -1):
        with pytest.raises(MrisrError, match=r"3 volume\(s\), numbered from 0"):
            read_volume(path, index)
    write_volume(doubled(read_volume(path, 1)), tmp_path / "out.nii.gz")
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (16, 12, 4)


def test_empty_dimensions_do_not_count(tmp_path, axial):
    array = np.arange(8 * 6 * 4).reshape(8, 6, 4, 1, 1).astype("int16")
    volume = read_volume(save(tmp_path / "in.nii", array, axial))
    np.testing.assert_array_equal(volume.array, array[..., 0, 0])
    flat = read_volume(save(tmp_path / "flat.nii", array[:, :, 0, 0, 0], axial))
    assert flat.shape == (8, 6, 1)


def test_more_than_four_dimensions_are_refused(tmp_path, axial):
    path = save(tmp_path / "in.nii", np.zeros((4, 4, 4, 2, 3), "int16"), axial)
    with pytest.raises(MrisrError, match="5 dimensions"):
        read_volume(path, 0)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_refused(tmp_path, axial, dtype):
    path = save(tmp_path / "in.nii", np.zeros((4, 4, 4), dtype), axial)
    with pytest.raises(MrisrError, match="holds complex numbers: save the magnitude"):
        read_volume(path)


@pytest.mark.parametrize("code", [1, 17, 9999])
def test_voxels_of_an_unknown_type_are_refused(tmp_path, axial, code, capfd):
    path = save(tmp_path / "in.nii", np.ones((4, 4, 4), "int16"), axial)
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 70, code)
    path.write_bytes(content)
    with pytest.raises(MrisrError, match=rf"unknown type \(code {code}\). Save it as float32") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # Nor does nibabel say anything.


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_survive(tmp_path, axial, names):
    stored = np.zeros((4, 5, 3), [(name, "u1") for name in names])
    for channel, name in enumerate(names):
        stored[name] = np.arange(60).reshape(4, 5, 3) + 60 * channel
    path = save(tmp_path / "in.nii.gz", stored, axial)
    volume = read_volume(path)
    expected = np.stack([stored[name] for name in "RGB"], axis=-1)
    np.testing.assert_array_equal(volume.array, expected)
    brighter = expected.repeat(2, 0).repeat(2, 1).astype("float32") + 100  # Up to 279: beyond 8 bits.
    write_volume(volume.upscaled(brighter, FACTORS), tmp_path / "out.nii.gz")
    after = nibabel.load(tmp_path / "out.nii.gz")
    assert after.get_data_dtype().names == ("R", "G", "B")
    assert after.shape == (8, 10, 3)
    np.testing.assert_array_equal(np.asarray(after.dataobj)["B"], np.minimum(brighter[..., 2], 255))
    write_volume(volume.upscaled(brighter / 7, FACTORS, quantity="std"), tmp_path / "std.nii.gz")
    np.testing.assert_allclose(nibabel.load(tmp_path / "std.nii.gz").get_fdata(), brighter / 7, rtol=1e-6)


@pytest.mark.parametrize("shape", [(10, 8), (10,)])
def test_slices_across_an_axis_that_the_file_leaves_out(tmp_path, axial, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype("int16")
    path = save(tmp_path / "in.nii", array, axial, dim_info=0b111001)
    volume = read_volume(path)
    write_volume(volume.upscaled(volume.array.repeat(2, 0).repeat(2, 1), FACTORS), tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii")
    assert after.header.get_dim_info() == (0, 1, 2)
    assert after.shape == (20, 2 * volume.shape[1], 1)


def test_the_end_of_64_bits_is_not_wrapped(tmp_path, axial):
    array = np.array([[[0, 5]], [[2**63 - 1024, -(2**63)]]], "int64")
    path = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(array, axial, dtype="int64"), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    brighter = np.rint(array.astype("float64") * 1.25)
    write_volume(volume.upscaled(brighter), tmp_path / "out.nii")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").dataobj, brighter)


@pytest.mark.parametrize(
    ("ends", "dtype", "kept"),
    [
        ((0, 200), "int64", "uint8"),
        ((-1, 200), "int64", "int16"),
        ((0, 40000), "uint64", "uint16"),
        ((-(2**31), 7), "int64", "int32"),
        ((0, 2**32), "int64", "int64"),
        ((0, 2**63), "uint64", "uint64"),
        ((0, 7), "int32", "int32"),
    ],
)
def test_64_bits_become_the_narrowest_type_that_holds_the_values(tmp_path, axial, ends, dtype, kept):
    array = np.array([[ends], [ends]], dtype)
    nibabel.save(nibabel.Nifti1Image(array, axial, dtype=dtype), tmp_path / "in.nii")
    for number, volume in enumerate((Volume(array, axial), read_volume(tmp_path / "in.nii"))):
        write_volume(volume, tmp_path / f"{number}.nii")
        after = nibabel.load(tmp_path / f"{number}.nii")
        assert after.get_data_dtype() == kept
        np.testing.assert_array_equal(after.dataobj.get_unscaled(), array)


@pytest.mark.parametrize("wrong", ["zero", "nan", "sheared"])
def test_a_good_qform_beside_a_bad_sform(tmp_path, phantom, axial, caplog, wrong):
    sform = {"zero": np.diag([0, 0, 0, 1.0]), "nan": np.full((4, 4), np.nan), "sheared": axial.copy()}[wrong]
    if wrong == "sheared":
        sform[0, 1] = 0.2
    image = nibabel.Nifti1Image(phantom((10, 8, 5), axial), None)
    header = image.header
    header.set_qform(axial, 1)
    header["sform_code"] = 4
    for name, row in zip("xyz", sform, strict=False):
        header[f"srow_{name}"] = row
    nibabel.save(nibabel.Nifti1Image(image.dataobj, None, header), tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    np.testing.assert_allclose(volume.affine, axial, atol=1e-5)
    assert "sform: the qform is taken" in caplog.text
    check_volume(volume)
    finer = doubled(volume)
    write_volume(finer, tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    np.testing.assert_allclose(header.get_qform(), finer.affine, atol=1e-5)
    assert header["qform_code"] == 1
    assert header["sform_code"] == (4 if wrong == "sheared" else 0)
    if wrong == "sheared":  # Another place on purpose, which the result keeps.
        corner = [-0.5, -0.5, -0.5, 1]
        np.testing.assert_allclose(header.get_sform() @ corner, sform @ corner, atol=1e-4)


def test_a_bad_sform_alone_says_nothing(tmp_path, axial):
    path = save(tmp_path / "in.nii", np.ones((4, 4, 4), "int16"), axial, qform_code=0, sform_code=1)
    content = bytearray(path.read_bytes())
    content[280:328] = bytes(48)
    path.write_bytes(content)
    with pytest.raises(MrisrError, match="no usable affine"):
        read_volume(path)


@pytest.mark.parametrize("named", [".nii.gz", ".nii"])
def test_what_a_file_begins_with_says_whether_it_is_zipped(tmp_path, phantom, axial, named):
    array = phantom((10, 8, 5), axial)
    content = save(tmp_path / "right.nii", array, axial).read_bytes()
    path = tmp_path / f"in{named}"
    path.write_bytes(content if named == ".nii.gz" else gzip.compress(content))
    np.testing.assert_array_equal(read_volume(path).array, array)
    write_volume(doubled(read_volume(path)), tmp_path / f"out{named}")
    assert nibabel.load(tmp_path / f"out{named}").shape == (20, 16, 5)  # nibabel goes by the name.


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(400), "a PNG image"),
        (bytes(128) + b"DICM" + bytes(400), "DICOM"),
        (b"<!DOCTYPE html>" + b" " * 400, "a web page"),
        (b"NRRD0004\n" + bytes(400), "NRRD"),
        (b"\0\0\0\x01" + bytes(400), "MGH"),
    ],
)
def test_a_misnamed_file_is_called_so(tmp_path, content, holds):
    path = tmp_path / "in.nii"
    path.write_bytes(content)
    with pytest.raises(MrisrError, match=f"is not NIfTI, as its name says, but {holds}") as caught:
        read_volume(path)
    assert "opy or download" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.95])
def test_a_file_that_is_cut_off(tmp_path, axial, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 10)).astype("int16")
    path = save(tmp_path / f"in{suffix}", noise, axial)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(MrisrError, match=r"broken or cut off") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_gzip_is_found_by_its_checksum(tmp_path, axial):
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 10)).astype("int16")
    path = save(tmp_path / "in.nii.gz", noise, axial)
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[-6] ^= 1  # In the checksum, as if the voxels before it were others.
    for broken in (damaged, content[:-1], content[:-8]):
        path.write_bytes(broken)
        with pytest.raises(MrisrError, match="broken or cut off"):
            read_volume(path)


def test_also_behind_the_volume_that_is_read(tmp_path, axial):
    noise = np.random.default_rng(0).integers(0, 1000, (10, 10, 5, 4)).astype("int16")
    path = save(tmp_path / "in.nii.gz", noise, axial)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(MrisrError, match="broken or cut off"):
        read_volume(path, 0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [(-5, 6, 4), (0, 6, 4), (32767, 32767, 32767)])
def test_a_header_with_an_impossible_size(tmp_path, axial, suffix, size):
    path = save(tmp_path / "in.nii", np.ones((8, 6, 4), "int16"), axial)
    content = bytearray(path.read_bytes())
    struct.pack_into("<3h", content, 42, *size)
    path = tmp_path / f"in{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(MrisrError, match=rf"header says {size[0]} x {size[1]} x {size[2]} voxels"):
        read_volume(path)


def test_what_does_not_fit_into_memory(tmp_path, axial, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    path = save(tmp_path / "in.nii", np.ones((8, 6, 4), "int16"), axial)
    monkeypatch.setattr("keras_mrisr.volumes.voxel_file.ArrayProxy", fail)
    with pytest.raises(MrisrError, match="does not fit into memory"):
        read_volume(path)


def test_other_content_is_no_nifti(tmp_path):
    path = tmp_path / "in.nii"
    path.write_bytes(b"not an image at all" * 100)
    with pytest.raises(MrisrError, match="holds no NIfTI header, although its name says so"):
        read_volume(path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path, phantom, axial, monkeypatch, error):
    def fail(image, path):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(nibabel, "save", fail)
    volume = Volume(phantom((8, 6, 4), axial), axial)
    with pytest.raises(MrisrError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_volume(volume, tmp_path / "folder/out.nii.gz")
    assert isinstance(error, KeyboardInterrupt) or "No space left" in str(caught.value)
    assert not list(tmp_path.iterdir())
