"""Reading single-slice and multi-frame DICOM."""

import logging
import shutil

import numpy as np
import pydicom
import pytest
from pydicom import uid

from keras_mrisr.errors import MissingDependencyError, MrisrError
from keras_mrisr.volumes import Volume, check_volume, read_volume
from keras_mrisr.volumes.dicom.read import read_dicom_series, read_series

SHAPE = (12, 10, 6)  # columns, rows, slices


@pytest.fixture(params=["axial", "oblique"])
def affine(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_slices_become_a_volume_in_the_right_place(tmp_path, dicom_series, phantom, affine, dtype):
    array = phantom(SHAPE, affine, top=250).astype(dtype)
    if dtype == "int16":
        array -= 100
    dicom_series(tmp_path / "a/{b}", array, affine)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    check_volume(volume)


def test_slices_are_sorted_by_place_not_by_number(tmp_path, dicom_series, phantom, oblique):
    array = phantom(SHAPE, oblique).astype("int16")
    numbers = {place: {"InstanceNumber": 1 + (place * 5) % 6} for place in range(6)}
    dicom_series(tmp_path, array, oblique, slices=numbers)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_slices_against_the_normal(tmp_path, dicom_series, phantom, oblique):
    """As scanners number them in many series: the array runs along the normal all the same."""
    array = phantom(SHAPE, oblique).astype("int16")
    backwards = oblique @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1]])
    dicom_series(tmp_path, array[..., ::-1], backwards)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, oblique, atol=1e-9)


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless, uid.JPEG2000Lossless,
    ],
)  # fmt: skip
def test_transfer_syntaxes(tmp_path, dicom_series, phantom, axial, syntax):
    array = phantom((40, 32, 3), axial).astype("int16") - 50
    dicom_series(tmp_path, array, axial, syntax)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, array)


def test_files_without_a_preamble(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("int16")
    for path in dicom_series(tmp_path, array, axial, uid.ImplicitVRLittleEndian):
        dataset = pydicom.dcmread(path)
        dataset.preamble, dataset.file_meta = None, pydicom.dataset.FileMetaDataset()
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_rescale_is_applied(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("uint16")
    dicom_series(tmp_path, array, axial, RescaleSlope=0.5, RescaleIntercept=-10)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array * 0.5 - 10)


def test_rescale_of_each_slice(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("uint16")
    slopes = [1, 2, 0.5, 1, 4, 1]
    slices = {place: {"RescaleSlope": slope, "RescaleIntercept": 0} for place, slope in enumerate(slopes)}
    dicom_series(tmp_path, array, axial, slices=slices)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array * np.array(slopes))


def test_signed_and_unsigned_slices_in_one_series(tmp_path, dicom_series, axial):
    array = np.full(SHAPE, 40000, "uint16")
    array[:, :, 0] = 5
    dicom_series(tmp_path, array, axial, slices={0: {"PixelRepresentation": 1}})
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_monochrome1_is_turned(tmp_path, dicom_series, phantom, axial, dtype):
    array = phantom(SHAPE, axial, top=250).astype(dtype)
    shown = array.max() + array.min() - array.astype(int)
    dicom_series(tmp_path, shown.astype(dtype), axial, PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(tmp_path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)


class TestPadding:
    """PixelPaddingValue: stored pixels that are no signal."""

    def read(self, folder, dicom_series, edit_dicom, array, axial, first, last=None, kind="SS", **tags):
        """The series with padding from `first` to `last` in its headers."""

        def pad(dataset):
            dataset.add_new("PixelPaddingValue", kind, first)
            if last is not None:
                dataset.add_new("PixelPaddingRangeLimit", kind, last)

        for path in dicom_series(folder, array, axial, **tags):
            edit_dicom(path, pad)
        return read_volume(folder).array

    @pytest.fixture
    def padded(self, phantom, axial):
        """Values from 10 to 910, and a corner of -2000."""
        array = phantom(SHAPE, axial).astype("int16") + 10
        array[:3, :4, 1:] = -2000
        return array

    @pytest.mark.parametrize("kind", ["SS", "US"])  # -2000 or, as some write it, 63536.
    def test_becomes_zero(self, tmp_path, dicom_series, edit_dicom, padded, axial, kind):
        first = -2000 if kind == "SS" else 63536
        read = self.read(tmp_path, dicom_series, edit_dicom, padded, axial, first, kind=kind)
        assert read.dtype == np.int16
        np.testing.assert_array_equal(read, np.where(padded == -2000, 0, padded))

    def test_becomes_the_lowest_of_values_below_zero(self, tmp_path, dicom_series, edit_dicom, padded, axial):
        padded[8, 8, 0] = -40
        read = self.read(tmp_path, dicom_series, edit_dicom, padded, axial, -2000)
        np.testing.assert_array_equal(read, np.where(padded == -2000, -40, padded))

    @pytest.mark.parametrize(("first", "last"), [(-2000, -1000), (-1000, -2000)])
    def test_a_range_of_stored_values(self, tmp_path, dicom_series, edit_dicom, padded, axial, first, last):
        padded[0, 0, :], padded[8, 8, 0] = -1500, -999
        tags = {"RescaleSlope": 0.5, "RescaleIntercept": 100}
        read = self.read(tmp_path, dicom_series, edit_dicom, padded, axial, first, last, **tags)
        values = padded * 0.5 + 100
        np.testing.assert_array_equal(read, np.where(padded <= -1000, values[8, 8, 0], values))

    def test_is_dark_in_monochrome1(self, tmp_path, dicom_series, edit_dicom, phantom, axial):
        array = phantom(SHAPE, axial).astype("uint16") + 100
        array[:3, :4] = 0  # Would be the brightest.
        read = self.read(
            tmp_path, dicom_series, edit_dicom, array, axial, 0, kind="US",
            PhotometricInterpretation="MONOCHROME1",
        )  # fmt: skip
        top = array.max()
        np.testing.assert_array_equal(read, np.where(array == 0, 0, top - array))

    def test_of_everything_is_a_wrong_header(self, tmp_path, dicom_series, edit_dicom, padded, axial):
        read = self.read(tmp_path, dicom_series, edit_dicom, padded, axial, -2000, 2000)
        np.testing.assert_array_equal(read, padded)

    def test_amid_the_values_stays(self, tmp_path, dicom_series, edit_dicom, phantom, axial):
        array = phantom(SHAPE, axial).astype("int16") - 450
        array[5, 5, 3] = 0
        read = self.read(tmp_path, dicom_series, edit_dicom, array, axial, 0)
        np.testing.assert_array_equal(read, array)

    def test_in_an_enhanced_file(self, tmp_path, enhanced_series, edit_dicom, padded, axial):
        path = enhanced_series(tmp_path / "in", padded, axial)
        edit_dicom(path, lambda dataset: dataset.add_new("PixelPaddingValue", "SS", -2000))
        np.testing.assert_array_equal(read_volume(path).array, np.where(padded == -2000, 0, padded))


def test_one_slice(tmp_path, dicom_series, phantom, axial):
    array = phantom((12, 10, 1), axial).astype("int16")
    (path,) = dicom_series(tmp_path, array, axial)
    for source in (tmp_path, path):
        volume = read_volume(source)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.affine, axial, atol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("slope", [1.0, 0.25])
def test_enhanced_multi_frame(tmp_path, enhanced_series, phantom, affine, shared, slope):
    array = phantom(SHAPE, affine).astype("uint16")
    path = enhanced_series(tmp_path / "enhanced", array, affine, slope=slope, shared_rescale=shared)
    for source in (tmp_path, path):
        volume = read_volume(source)
        np.testing.assert_array_equal(volume.array, array * slope)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-9)


def test_enhanced_with_time_points(tmp_path, enhanced_series, phantom, axial):
    first = phantom(SHAPE, axial).astype("uint16")
    array = np.stack([first, first + 7], axis=-1)
    enhanced_series(tmp_path / "enhanced", array, axial)
    with pytest.raises(MrisrError, match="4-D: 2 images at each position"):
        read_volume(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path, index=1).array, array[..., 1])


def test_frames_without_places(tmp_path, enhanced_series, edit_dicom, axial):
    path = enhanced_series(tmp_path / "enhanced", np.ones(SHAPE, "uint16"), axial)
    edit_dicom(path, lambda dataset: dataset.PerFrameFunctionalGroupsSequence[3].clear())
    with pytest.raises(MrisrError, match=r"places no image in space \(frame 4 has no ImagePositionPatient\)"):
        read_volume(tmp_path)


def test_series_are_sorted_apart(tmp_path, dicom_series, phantom, axial, oblique):
    first, second = (phantom(SHAPE, one).astype("int16") for one in (axial, oblique))
    dicom_series(tmp_path / "s", first, axial, SeriesNumber=5, SeriesDescription="axial t1")
    dicom_series(tmp_path / "s/b", second[..., :4], oblique, SeriesNumber=7, SeriesDescription="sag t2")
    dicom_series(tmp_path / "s/b/a", second, oblique, SeriesNumber=14, SeriesDescription="sag t3")
    found = read_dicom_series(tmp_path)
    names = [(one.number, one.description) for one in found]
    assert names == [("5", "axial t1"), ("7", "sag t2"), ("14", "sag t3")]
    np.testing.assert_array_equal(read_series(found[1]).array, second[..., :4])
    np.testing.assert_array_equal(read_series(found[2]).array, second)
    with pytest.raises(MrisrError) as caught:
        read_volume(tmp_path)
    message = str(caught.value)
    assert "Choose one with `series`: 5 'axial t1' (6 images); 7 'sag t2' (4 images); 14 'sag t3'" in message
    assert "\n" not in message
    for wanted in (7, "7", "sag t2", found[1].uid):
        assert read_volume(tmp_path, series=wanted).shape == (12, 10, 4)
    with pytest.raises(MrisrError, match="holds no series '9'"):
        read_volume(tmp_path, series=9)


def test_series_of_one_number_are_listed_with_their_identifiers(tmp_path, dicom_series, axial):
    for name in "ab":
        dicom_series(tmp_path / name, np.ones(SHAPE, "int16"), axial, uid=f"1.2.{ord(name)}")
    with pytest.raises(MrisrError, match=r"\(6 images\) 1\.2\.97; .* 1\.2\.98"):
        read_volume(tmp_path)
    with pytest.raises(MrisrError, match="2 series '3'"):
        read_volume(tmp_path, series=3)
    assert read_volume(tmp_path, series="1.2.98").shape == SHAPE


def test_a_localizer_beside_the_series_is_left_out(tmp_path, dicom_series, phantom, axial, oblique, caplog):
    array = phantom(SHAPE, axial).astype("int16")
    dicom_series(tmp_path / "1", array, axial)
    dicom_series(
        tmp_path / "0", array[..., :3], oblique, SeriesNumber=1, SeriesDescription="scout",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    assert "left out: 1 'scout' (3 images) [it is a localizer]" in caplog.text
    with pytest.raises(MrisrError, match=r"series 1 'scout' .* is no MR volume: it is a localizer"):
        read_volume(tmp_path, series=1)


def test_a_localizer_in_the_series_is_left_out(tmp_path, dicom_series, phantom, axial, caplog):
    array = phantom(SHAPE, axial).astype("int16")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}
    paths = dicom_series(tmp_path, array, axial, slices={0: scout})
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array[..., 1:])
    assert f"1 localizer(s) left out: {paths[0]}" in caplog.text


def test_only_a_localizer(tmp_path, dicom_series, axial):
    dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(MrisrError, match="no MR volume: it is a localizer"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"Modality": "CT"}, "its modality is CT, not MR"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "it is a colour image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic without Siemens's private header"),
    ],
)
def test_what_is_no_mr_volume(tmp_path, dicom_series, axial, tags, text):
    dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial, **tags)
    with pytest.raises(MrisrError, match=text):
        read_volume(tmp_path)


def test_colour_images(tmp_path, dicom_series, axial):
    for path in dicom_series(tmp_path, np.ones((4, 4, 2), "uint8"), axial):
        dataset = pydicom.dcmread(path)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(48)
        dataset.save_as(path)
    with pytest.raises(MrisrError, match="it is a colour image"):
        read_volume(tmp_path)


def test_no_place_in_space(tmp_path, dicom_series, edit_dicom, axial):
    for path in dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial):
        edit_dicom(path, lambda dataset: delattr(dataset, "ImagePositionPatient"))
    with pytest.raises(MrisrError, match="does not say where it lies in space"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImagePositionPatient", [1, 2]),
        ("PixelSpacing", None),
    ],
)
def test_a_header_without_sense(tmp_path, dicom_series, edit_dicom, axial, keyword, value):
    paths = dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial)
    edit_dicom(paths[2], lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(MrisrError, match=f"{paths[2].name} has a header that places no image in space"):
        read_volume(tmp_path)


def test_elements_that_are_not_needed_may_be_wrong(tmp_path, dicom_series, phantom, axial, caplog):
    array = phantom(SHAPE, axial).astype("int16")
    for path in dicom_series(tmp_path, array, axial, SeriesNumber=1234, InstanceNumber=5678, EchoTime="111"):
        content = path.read_bytes()
        for kind, value, wrong in (
            (b"IS", b"1234", b"1A34"),
            (b"IS", b"5678", b"56_8"),
            (b"DS", b"111 ", b"1\\2 "),
        ):
            head = kind + b"\x04\x00"  # A UID may hold the digits too.
            assert content.count(head + value) == 1
            content = content.replace(head + value, head + wrong)
        path.write_bytes(content)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)
    assert not caplog.records


def test_other_files_are_left_out(tmp_path, dicom_series, phantom, axial, edit_dicom, caplog):
    array = phantom(SHAPE, axial).astype("int16")
    paths = dicom_series(tmp_path, array, axial)
    (tmp_path / "notes.txt").write_text("scanned on a Tuesday\n")
    (tmp_path / "empty").touch()
    report = tmp_path / "report.dcm"
    shutil.copy(paths[0], report)

    def empty(dataset):
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(dataset, keyword)
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR

    edit_dicom(report, empty)
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(read_volume(tmp_path).array, array)
    assert "3 file(s) without a DICOM image left out: empty, notes.txt, report.dcm" in caplog.text


def test_no_dicom_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("scanned on a Tuesday\n")
    for source in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(MrisrError, match="holds no DICOM image"):
            read_volume(source)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.8, 0.99])
def test_a_file_that_is_cut_off(tmp_path, dicom_series, syntax, axial, kept, caplog):
    noise = np.random.default_rng(0).integers(0, 1000, (32, 32, 3)).astype("int16")
    paths = dicom_series(tmp_path / "{x}", noise, axial, syntax)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: int(kept * len(content))])
    with pytest.raises(MrisrError) as caught:
        read_volume(tmp_path)
    assert paths[1].name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records  # Decoders log tracebacks.


@pytest.mark.parametrize("preamble", [True, False])
def test_a_file_that_is_cut_off_near_its_beginning(tmp_path, dicom_series, phantom, axial, preamble):
    paths = dicom_series(tmp_path, phantom(SHAPE, axial).astype("int16"), axial, uid.ImplicitVRLittleEndian)
    if not preamble:
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.preamble, dataset.file_meta = None, pydicom.dataset.FileMetaDataset()
            dataset.save_as(path, implicit_vr=True, little_endian=True)
    content = paths[-1].read_bytes()
    for kept in (0, 2, 8, *range(14, 400, 7), 128, 131, 132):
        paths[-1].write_bytes(content[:kept])
        with pytest.raises(MrisrError, match="cut off") as caught:
            read_volume(tmp_path)
        assert paths[-1].name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("image993", True),  # The images are 994 to 999.
        ("image991", False),
        ("a/image993", False),
        ("image993.dcm", False),
        ("done", False),
        ("ARCHIVE.IMA", False),
    ],
)
def test_an_empty_file(tmp_path, dicom_series, phantom, axial, caplog, name, refused):
    paths = dicom_series(tmp_path, phantom(SHAPE, axial).astype("int16"), axial)
    paths[2].rename(tmp_path / "first.ima")
    (tmp_path / "a").mkdir()
    (tmp_path / name).touch()
    if refused:
        with pytest.raises(MrisrError, match=f"{name} is empty or cut off. .* may be a slice of the series"):
            read_volume(tmp_path)
    else:
        assert read_volume(tmp_path).shape == SHAPE
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert f"left out: {tmp_path / name} is empty or cut off" in record.message


def test_an_index_of_the_folder_is_left_out(tmp_path, dicom_series, phantom, axial, caplog):
    """A DICOMDIR has no SOPClassUID in its data set, and no size."""
    array = phantom(SHAPE, axial).astype("int16")
    dicom_series(tmp_path, array, axial)
    index = pydicom.Dataset()
    index.FileSetID, index.DirectoryRecordSequence = "DISC", []
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)
    assert not caplog.records


def test_decoders_that_are_missing(tmp_path, dicom_series, axial, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 1000, (32, 32, 3)).astype("int16")
    dicom_series(tmp_path, noise, axial, uid.JPEG2000Lossless)
    monkeypatch.setattr(pydicom.pixels.decoders.JPEG2000LosslessDecoder, "_available", {})
    with pytest.raises(MrisrError, match=r"Install decoders with: pip install pydicom 'pylibjpeg\[all\]'"):
        read_volume(tmp_path)


def test_pydicom_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingDependencyError, match=r"pip install pydicom 'pylibjpeg\[all\]'$"):
        read_volume(tmp_path)


def test_one_volume_from_either_form(tmp_path, dicom_series, enhanced_series, phantom, oblique):
    array = phantom(SHAPE, oblique).astype("int16")
    dicom_series(tmp_path / "slices", array, oblique)
    enhanced_series(tmp_path / "frames/file.dcm", array, oblique)
    one, other = (read_volume(tmp_path / name) for name in ("slices", "frames"))
    assert isinstance(one, Volume)
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-9)
