"""Files among the slices of a series that are none: set apart, unless a slice is missing for it."""

import shutil

import numpy as np
import pytest
from pydicom import uid

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume

SHAPE = (12, 10, 6)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage


@pytest.fixture
def series(tmp_path, dicom_series, phantom, axial):
    """The folder of a series, the paths of its slices and its values."""
    array = phantom(SHAPE, axial).astype("int16")
    return tmp_path / "in", dicom_series(tmp_path / "in", array, axial), array


def add(folder, source, edit_dicom, change, name="screenshot"):
    """One more file of the series, made from one of its slices."""
    path = folder / name
    shutil.copy(source, path)

    def new(dataset):
        dataset.SOPInstanceUID = uid.generate_uid()
        change(dataset)

    edit_dicom(path, new)
    return path


def colour(dataset):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = bytes(3 * dataset.Rows * dataset.Columns)


def screenshot(dataset):
    colour(dataset)
    dataset.SOPClassUID, dataset.Modality = CAPTURE, "OT"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)


def grey_screenshot(dataset):
    dataset.SOPClassUID = CAPTURE
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        delattr(dataset, keyword)


def captured_slice(dataset):
    dataset.SOPClassUID = CAPTURE


def other_size(dataset):
    dataset.Rows, dataset.Columns, dataset.PixelData = 5, 6, bytes(60)


def other_orientation(dataset):
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def no_directions(dataset):
    dataset.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def no_spacing(dataset):
    del dataset.PixelSpacing


def no_slope(dataset):
    dataset.RescaleSlope, dataset.RescaleIntercept = 0, 0


def several_rows(dataset):
    dataset.Rows = [10, 10]


def several_classes(dataset):
    dataset.PhotometricInterpretation = ["MONOCHROME2", "RGB"]


def no_number_of_frames(dataset):
    dataset.add_new("NumberOfFrames", "LO", "many")


def empty_groups(dataset):
    dataset.PerFrameFunctionalGroupsSequence = []


def unknown_syntax(dataset):
    dataset.file_meta.TransferSyntaxUID = "1.2.3.4.5"


def too_many_pixels(dataset):
    dataset.Rows = 60000


STRAYS = {
    "screenshot": (screenshot, "its modality is OT, not MR"),
    "grey screenshot": (grey_screenshot, "does not say where it lies in space"),
    "captured slice": (captured_slice, "images of 2 kinds"),
    "colour": (colour, "it is a colour image"),
    "other size": (other_size, "of 2 sizes ("),
    "other orientation": (other_orientation, "of 2 orientations ("),
    "no directions": (no_directions, "is no pair of directions"),
    "no spacing": (no_spacing, "PixelSpacing"),
    "no slope": (no_slope, "RescaleSlope is 0"),
    "several rows": (several_rows, "has 2 values in Rows, where one belongs"),
    "several kinds of colour": (several_classes, "has 2 values in PhotometricInterpretation"),
    "no number of frames": (no_number_of_frames, "many"),
    "empty groups": (empty_groups, "it has 1 frames, and 0 items that say where they lie"),
    "unknown syntax": (unknown_syntax, "unknown transfer syntax 1.2.3.4.5"),
    "too many pixels": (too_many_pixels, "its header says 12 x 60000 pixels, and the file has"),
}


@pytest.mark.parametrize("kind", STRAYS)
def test_a_stray_file_is_set_apart(series, edit_dicom, caplog, kind):
    folder, paths, array = series
    change, reason = STRAYS[kind]
    path = add(folder, paths[2], edit_dicom, change)
    np.testing.assert_array_equal(read_volume(folder).array, array)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "file(s) left out" in record.message
    assert path.name in record.message
    assert reason in record.message
    assert "\n" not in record.message


@pytest.mark.parametrize("kind", STRAYS)
@pytest.mark.parametrize("place", [2, 5])
def test_a_slice_that_cannot_be_used_is_missing(series, edit_dicom, kind, place):
    """At the end of the stack nothing but the broken file shows it."""
    folder, paths, array = series
    change, reason = STRAYS[kind]
    edit_dicom(paths[place], change)
    broken = kind not in (
        "screenshot", "grey screenshot", "captured slice", "colour", "other size", "other orientation"
    )  # fmt: skip
    if place == 5 and not broken:
        np.testing.assert_array_equal(read_volume(folder).array, array[..., :5])
        return
    with pytest.raises(MrisrError) as caught:
        read_volume(folder)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", STRAYS)
def test_a_stray_file_alone(series, edit_dicom, kind):
    folder, paths, _ = series
    edit_dicom(paths[0], STRAYS[kind][0])
    if kind in ("captured slice", "other size", "other orientation"):
        assert read_volume(paths[0]).array.shape[2] == 1
        return
    with pytest.raises(MrisrError) as caught:
        read_volume(paths[0])
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 150, 400])
def test_a_broken_copy_of_a_slice(series, caplog, cut):
    folder, paths, array = series
    content = paths[2].read_bytes()
    (folder / "a copy").write_bytes(content[:-cut])
    np.testing.assert_array_equal(read_volume(folder).array, array)
    assert "a copy is broken or cut off" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", bytes(128) + b"DICM", bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00"]
)
def test_a_broken_file_that_says_nothing(series, caplog, content):
    folder, paths, array = series
    (folder / "broken").write_bytes(content)
    np.testing.assert_array_equal(read_volume(folder).array, array)
    assert "broken is" in caplog.text
    (folder / "broken").rename(folder / "image993")  # The images are image994 to image999.
    with pytest.raises(MrisrError, match=r"image993 is .* It may be a slice of the series"):
        read_volume(folder)
    assert paths[5].name == "image994"


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
def test_a_broken_copy_of_a_compressed_slice(tmp_path, dicom_series, axial, caplog, syntax):
    noise = np.random.default_rng(0).integers(0, 1000, (32, 32, 3)).astype("int16")
    paths = dicom_series(tmp_path, noise, axial, syntax)
    (tmp_path / "a copy").write_bytes(paths[1].read_bytes()[:-200])
    np.testing.assert_array_equal(read_volume(tmp_path).array, noise)
    assert "a copy is broken or cut off (its compressed pixels have no end)" in caplog.text


def test_a_broken_series_beside_a_whole_one(series, enhanced_series, edit_dicom, axial, caplog):
    folder, _, array = series
    path = enhanced_series(folder / "more/enhanced.dcm", array.astype("uint16"), axial)
    edit_dicom(path, empty_groups)
    edit_dicom(path, lambda dataset: setattr(dataset, "SeriesInstanceUID", "1.2.9"))
    path.write_bytes(path.read_bytes()[:700])
    np.testing.assert_array_equal(read_volume(folder).array, array)
    assert "enhanced.dcm is broken or cut off" in caplog.text


def test_several_strays_are_named(series, edit_dicom, caplog):
    folder, paths, array = series
    for name in "abcd":
        add(folder, paths[0], edit_dicom, colour, name)
    np.testing.assert_array_equal(read_volume(folder).array, array)
    assert "4 file(s) left out: a: it is a colour image; b: it is" in caplog.text
    assert "and 1 more" in caplog.text


def test_enhanced_with_another_number_of_frames(tmp_path, enhanced_series, edit_dicom, axial):
    path = enhanced_series(tmp_path / "in", np.ones(SHAPE, "uint16"), axial)
    edit_dicom(path, lambda dataset: dataset.PerFrameFunctionalGroupsSequence.pop())
    with pytest.raises(MrisrError, match="it has 6 frames, and 5 items that say where they lie"):
        read_volume(path)


def test_a_size_that_needs_more_memory_than_there_is(tmp_path, dicom_series, axial):
    from keras_mrisr.memory import memory_limit, resident_memory

    dicom_series(tmp_path, np.ones((256, 256, 6), "uint16"), axial)
    with memory_limit(resident_memory() + 500_000), pytest.raises(MrisrError) as caught:
        read_volume(tmp_path)
    assert "of memory are too little for" in str(caught.value)
    assert "256 x 256 x 6 pixels" in str(caught.value)
