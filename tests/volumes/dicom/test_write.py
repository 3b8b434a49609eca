"""Results as new series: headers, values and place of single-slice DICOM."""

import dataclasses
import errno
import pathlib
import shutil
import warnings

import numpy as np
import pydicom
import pytest
from pydicom import uid
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume, write_volume

SHAPE = (12, 10, 6)  # columns, rows, slices
SAID = "keras-mrisr 1.2, model test, SRResNet x2"

KEPT = (
    "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "StudyDate", "AccessionNumber", "EchoTime",
    "Modality", "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "InstanceNumber", "WindowCenter",
    "WindowWidth", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "AcquisitionMatrix",
    "PhotometricInterpretation",
)  # fmt: skip


def upscaled(volume, factors=(2, 2, 1), quantity=None):
    """Interpolation on the finer grid, as float."""
    array = ndimage.zoom(volume.array.astype("float32"), factors, order=1, grid_mode=True, mode="nearest")
    return volume.upscaled(array, factors, SAID, quantity)


def load(folder):
    """The data sets of a folder, in the order of their names; a warning of pydicom is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
        for dataset in datasets:
            str(dataset)  # Converts, and so checks, every element.
            _ = dataset.pixel_array
    return datasets


@pytest.fixture(params=["axial", "oblique"])
def affine(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("factors", [(2, 2, 1), (3, 1, 1), (2, 1, 2), (1, 2, 2), (1, 1, 2), (2, 2, 2)])
@pytest.mark.parametrize("backwards", [False, True])
def test_values_and_place_come_back(tmp_path, dicom_series, phantom, affine, factors, backwards):
    numbers = {p: {"InstanceNumber": 30 - p if backwards else 30 + p} for p in range(6)}
    dicom_series(tmp_path / "in", phantom(SHAPE, affine).astype("int16"), affine, slices=numbers)
    source = read_volume(tmp_path / "in")
    finer = upscaled(source, factors)
    paths = write_volume(finer, tmp_path / "out")
    assert paths == sorted((tmp_path / "out").iterdir())
    back = read_volume(tmp_path / "out")
    assert back.array.dtype == np.int16
    np.testing.assert_array_equal(back.array, finer.array)
    np.testing.assert_allclose(back.affine, finer.affine, atol=1e-9)
    for corner in (np.zeros(3), np.ones(3)):
        old = source.affine @ [*(corner * source.shape - 0.5), 1]
        np.testing.assert_allclose(back.affine @ [*(corner * back.shape - 0.5), 1], old, atol=1e-9)
    instances = [dataset.InstanceNumber for dataset in load(tmp_path / "out")]
    step = -1 if backwards else 1
    assert np.unique(np.diff(instances)).tolist() == [step]


def test_what_changes_in_the_headers_and_what_does_not(tmp_path, dicom_series, phantom, oblique):
    sources = dicom_series(
        tmp_path / "in", phantom(SHAPE, oblique).astype("uint16"), oblique, BitsStored=12,
        WindowCenter=450, WindowWidth=900, SmallestImagePixelValue=0, LargestImagePixelValue=900,
        AccessionNumber="A7", EchoTime=90, AcquisitionMatrix=[0, 10, 12, 0], PixelAspectRatio=[1, 1],
    )  # fmt: skip
    write_volume(upscaled(read_volume(tmp_path / "in")), tmp_path / "out")
    after = load(tmp_path / "out")
    before = [pydicom.dcmread(path) for path in sources]
    assert len(after) == 6
    new = ("SeriesInstanceUID", "SOPInstanceUID")
    assert len({one.SeriesInstanceUID for one in after}) == 1
    assert len({one.SOPInstanceUID for one in after}) == 6
    assert not {one[name].value for one in after for name in new} & {
        one[name].value for one in before for name in new
    }
    for old, one in zip(before, after, strict=True):
        for element in old:
            if element.tag.group == 0x0010:
                assert one[element.tag] == element
        for keyword in KEPT:
            assert one[keyword].value == old[keyword].value, keyword
        np.testing.assert_allclose(one.ImageOrientationPatient, old.ImageOrientationPatient, atol=1e-12)
        assert (one.Rows, one.Columns) == (20, 24)
        np.testing.assert_allclose(one.PixelSpacing, np.array(old.PixelSpacing) / 2)
        row, column = np.array(old.ImageOrientationPatient).reshape(2, 3)
        shift = row * 0.8 / 4 + column * 0.9 / 4  # A quarter of the old pixel towards its corner.
        np.testing.assert_allclose(one.ImagePositionPatient, old.ImagePositionPatient - shift, atol=1e-9)
        assert one.ImageType == ["DERIVED", "SECONDARY", "M"]
        assert one.SeriesNumber == 1003
        assert one.SeriesDescription == "t1 phantom SR"
        assert one.DerivationDescription == SAID
        (reference,) = one.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == old.SOPClassUID
        assert one.SmallestImagePixelValue == one.pixel_array.min()
        assert one.LargestImagePixelValue == one.pixel_array.max()
        assert "RescaleSlope" not in one
        assert "PixelAspectRatio" not in one
        assert one.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        assert one.file_meta.FileMetaInformationGroupLength > 0


def test_thinner_slices(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("int16")
    sources = dicom_series(tmp_path / "in", array, axial, ImagesInAcquisition=6)
    write_volume(upscaled(read_volume(tmp_path / "in"), (1, 1, 3)), tmp_path / "out")
    after = load(tmp_path / "out")
    assert len(after) == 18
    assert {one.ImagesInAcquisition for one in after} == {18}
    assert {(float(one.SliceThickness), float(one.SpacingBetweenSlices)) for one in after} == {(1.0, 1.0)}
    heights = [one.ImagePositionPatient[2] for one in after]
    np.testing.assert_allclose(heights, np.arange(18) - 21)  # -20 is the centre of the first three.
    np.testing.assert_allclose([one.SliceLocation for one in after], heights)
    assert [one.InstanceNumber for one in after] == list(range(1, 19))
    originals = [pydicom.dcmread(path).SOPInstanceUID for path in sources]
    referenced = [one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in after]
    assert referenced == [original for original in originals for _ in range(3)]


class TestPartOfTheSource:
    """Volumes that were cut or turned in Python after reading."""

    @pytest.fixture
    def sources(self, tmp_path, dicom_series, phantom, axial):
        slices = {place: {"EchoTime": 90 + place} for place in range(6)}
        array = phantom(SHAPE, axial).astype("int16")
        return [pydicom.dcmread(path) for path in dicom_series(tmp_path / "in", array, axial, slices=slices)]

    def check(self, folder, sources, places):
        """That the written slices have what the source has at these places; returns them."""
        after = load(folder)
        assert len(after) == len(places)
        for one, place in zip(after, places, strict=True):
            old = sources[place]
            assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
            assert one.EchoTime == old.EchoTime
            assert one.ImagePositionPatient[2] == pytest.approx(old.ImagePositionPatient[2])
            assert (one.SliceThickness, one.SpacingBetweenSlices) == (3, 3)
        return after

    def test_upper_slices(self, tmp_path, sources):
        volume = read_volume(tmp_path / "in")
        shift = np.eye(4)
        shift[2, 3] = 3
        cut = dataclasses.replace(volume, array=volume.array[:, :, 3:], affine=volume.affine @ shift)
        write_volume(upscaled(cut), tmp_path / "out")
        after = self.check(tmp_path / "out", sources, (3, 4, 5))
        assert [one.InstanceNumber for one in after] == [4, 5, 6]
        assert [one.SliceLocation for one in after] == [sources[place].SliceLocation for place in (3, 4, 5)]

    def test_upside_down(self, tmp_path, sources):
        volume = read_volume(tmp_path / "in")
        flip = np.diag([1.0, 1, -1, 1])
        flip[2, 3] = 5
        turned = dataclasses.replace(volume, array=volume.array[:, :, ::-1], affine=volume.affine @ flip)
        write_volume(turned, tmp_path / "out")
        self.check(tmp_path / "out", sources, (5, 4, 3, 2, 1, 0))
        np.testing.assert_array_equal(read_volume(tmp_path / "out").array, volume.array)

    def test_more_slices_than_there_were(self, tmp_path, sources):
        volume = read_volume(tmp_path / "in")
        array = np.pad(volume.array, ((0, 0), (0, 0), (0, 2)))
        write_volume(dataclasses.replace(volume, array=array), tmp_path / "out")
        after = load(tmp_path / "out")
        assert [one.InstanceNumber for one in after] == list(range(1, 9))
        assert {one.SliceThickness for one in after} == {3}
        assert [one.SliceLocation for one in after] == [one.ImagePositionPatient[2] for one in after]


@pytest.mark.parametrize(("factor", "after"), [(1, 3), (3, 1)])
def test_a_wrong_distance_is_corrected(tmp_path, dicom_series, phantom, axial, factor, after):
    dicom_series(tmp_path / "in", phantom(SHAPE, axial).astype("int16"), axial,
                 SpacingBetweenSlices=0.6, SliceThickness=2.4)  # fmt: skip
    write_volume(upscaled(read_volume(tmp_path / "in"), (1, 1, factor)), tmp_path / "out")
    one = load(tmp_path / "out")[0]
    assert (one.SliceThickness, one.SpacingBetweenSlices) == (pytest.approx(2.4 / factor), after)


def test_stale_elements_go(tmp_path, dicom_series, edit_dicom, phantom, axial):
    def clutter(dataset):
        dataset.private_block(0x2005, "Philips MR", create=True).add_new(0x0E, "FL", 3.5)
        dataset.add_new(0x60003000, "OW", bytes(16))
        dataset.IconImageSequence = [pydicom.Dataset()]
        dataset.add_new(0x00080000, "UL", 300)
        dataset.add_new(0x00280120, "US", 0)
        dataset.file_meta.SourceApplicationEntityTitle = "OLD"
        dataset.preamble = b"II*\0" + bytes(124)

    for path in dicom_series(tmp_path / "in", phantom(SHAPE, axial).astype("uint16"), axial):
        edit_dicom(path, clutter)
    write_volume(upscaled(read_volume(tmp_path / "in")), tmp_path / "out")
    for one in load(tmp_path / "out"):
        assert not [
            tag for tag in list(one.keys()) if tag.is_private or tag.group == 0x6000 or tag.element == 0
        ]
        assert "IconImageSequence" not in one
        assert "PixelPaddingValue" not in one  # It was filled on reading.
        assert one.preamble == bytes(128)


def real_world_values():
    """A RealWorldValueMappingSequence."""
    item = pydicom.Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept, item.LUTLabel = 0.1, 0.0, "mg"
    item.add_new("RealWorldValueFirstValueMapped", "US", 0)
    item.add_new("RealWorldValueLastValueMapped", "US", 4095)
    return [item]


def test_real_world_values_go_where_values_are_stored_anew(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("uint16")
    dicom_series(tmp_path / "in", array, axial, RealWorldValueMappingSequence=real_world_values())
    volume = read_volume(tmp_path / "in")
    write_volume(volume.upscaled(array), tmp_path / "same")
    write_volume(volume.upscaled(array * 100.0), tmp_path / "brighter")
    write_volume(volume.upscaled(array / 10, quantity="standard deviation"), tmp_path / "deviation")
    for name, there in (("same", True), ("brighter", False), ("deviation", False)):
        for one in load(tmp_path / name):
            assert ("RealWorldValueMappingSequence" in one) == there


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_every_form_becomes_plain(tmp_path, dicom_series, phantom, axial, syntax):
    dicom_series(
        tmp_path / "in", phantom(SHAPE, axial).astype("int16"), axial, syntax, SmallestImagePixelValue=0
    )
    finer = upscaled(read_volume(tmp_path / "in"))
    write_volume(finer, tmp_path / "out")
    for place, one in enumerate(load(tmp_path / "out")):
        assert one.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
        np.testing.assert_array_equal(one.pixel_array, finer.array[:, :, place].T)
        assert one["SmallestImagePixelValue"].VR == "SS"
        assert one.Rows == 20


@pytest.mark.parametrize(
    ("dtype", "bits", "top", "bits_after", "rescaled"),
    [
        ("uint8", 8, 300, 16, False),
        ("uint16", 12, 5000, 16, False),
        ("int16", 12, 3000, 16, False),
        ("uint16", 16, 70000, 16, True),
        ("int16", 16, 40000, 16, True),
        ("int16", 16, 30000, 16, False),
    ],
)
def test_a_brighter_result_neither_wraps_nor_clips(
    tmp_path, dicom_series, phantom, axial, dtype, bits, top, bits_after, rescaled
):
    array = phantom(SHAPE, axial, top=200).astype(dtype)
    dicom_series(tmp_path / "in", array, axial, BitsStored=bits)
    result = array.astype("float64")
    result[3, 4, 2] = top
    result[0, 0, 0] = 0
    volume = read_volume(tmp_path / "in").upscaled(result)
    write_volume(volume, tmp_path / "out")
    first = load(tmp_path / "out")[0]
    assert (first.BitsStored, first.HighBit, first.BitsAllocated) == (bits_after, bits_after - 1, 16)
    assert first.PixelRepresentation == (dtype == "int16")
    assert ("RescaleSlope" in first) == rescaled
    back = read_volume(tmp_path / "out").array
    np.testing.assert_allclose(back, np.rint(result), atol=0.51 * float(first.get("RescaleSlope", 0)))
    assert back[0, 0, 0] == 0
    assert back.argmax() == result.argmax()


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_rescale_is_kept_where_it_fits(tmp_path, dicom_series, phantom, axial, dtype):
    array = phantom(SHAPE, axial).astype(dtype)
    dicom_series(tmp_path / "in", array, axial, RescaleSlope=0.5, RescaleIntercept=-10, RescaleType="XY")
    volume = read_volume(tmp_path / "in")
    result = volume.array.copy()
    result[0, 0, 0] = -12  # Darker than an unsigned type can say.
    write_volume(volume.upscaled(result), tmp_path / "out")
    first = load(tmp_path / "out")[0]
    assert (first.RescaleSlope, first.RescaleIntercept, first.RescaleType) == (0.5, -10, "XY")
    back = read_volume(tmp_path / "out").array
    assert back[0, 0, 0] == (-12 if dtype == "int16" else -10)
    np.testing.assert_array_equal(back.ravel()[1:], result.ravel()[1:])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_values_normalised_in_python_keep_their_steps(tmp_path, dicom_series, phantom, axial, dtype):
    array = phantom(SHAPE, axial, top=250).astype(dtype)
    dicom_series(tmp_path / "in", array, axial, RealWorldValueMappingSequence=real_world_values())
    volume = read_volume(tmp_path / "in")
    normalised = dataclasses.replace(volume, array=(array / array.max()).astype("float32"))
    write_volume(normalised, tmp_path / "out")
    back = read_volume(tmp_path / "out").array
    np.testing.assert_allclose(back, normalised.array, atol=2e-5)
    assert "RealWorldValueMappingSequence" not in load(tmp_path / "out")[0]


@pytest.mark.parametrize("top", [30, 900])
def test_floats_that_are_steps_are_stored_as_they_were(tmp_path, dicom_series, phantom, axial, top):
    array = phantom(SHAPE, axial, top=top).astype("uint16")
    dicom_series(tmp_path / "in", array, axial, RescaleSlope=0.1, RescaleIntercept=-3)
    volume = read_volume(tmp_path / "in")
    assert volume.array.dtype == np.float32
    write_volume(volume, tmp_path / "out")
    for place, one in enumerate(load(tmp_path / "out")):
        np.testing.assert_array_equal(one.pixel_array, array[:, :, place].T)


def test_slices_with_rescales_of_their_own_get_one(tmp_path, dicom_series, phantom, axial):
    slices = {p: {"RescaleSlope": 0.5 + p, "RescaleIntercept": 0} for p in range(6)}
    dicom_series(tmp_path / "in", phantom(SHAPE, axial).astype("uint16"), axial, slices=slices)
    volume = read_volume(tmp_path / "in")
    write_volume(volume.upscaled(volume.array), tmp_path / "out")
    (slope,) = {float(one.RescaleSlope) for one in load(tmp_path / "out")}
    np.testing.assert_allclose(read_volume(tmp_path / "out").array, volume.array, atol=0.51 * slope)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_monochrome1_stays_monochrome1(tmp_path, dicom_series, phantom, axial, dtype):
    array = phantom(SHAPE, axial, top=250).astype(dtype)
    dicom_series(tmp_path / "in", array, axial, PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(tmp_path / "in")
    write_volume(volume.upscaled(volume.array.repeat(2, 0), (2, 1, 1)), tmp_path / "out")
    for place, one in enumerate(load(tmp_path / "out")):
        assert one.PhotometricInterpretation == "MONOCHROME1"
        np.testing.assert_array_equal(one.pixel_array, array[:, :, place].T.repeat(2, 1))
    back = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(back.array, volume.array.repeat(2, 0))


@pytest.mark.parametrize(("dtype", "top"), [("uint16", 60000), ("uint8", 250), ("int16", 30000)])
def test_monochrome1_beyond_its_type(tmp_path, dicom_series, phantom, axial, dtype, top):
    array = phantom(SHAPE, axial, top=top).astype(dtype)
    dicom_series(tmp_path / "in", array, axial, PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(tmp_path / "in")
    result = volume.array.astype("float64")
    result[2, 2, 2] = 1.3 * top  # Below the type's lowest number, as MONOCHROME1 has it.
    write_volume(volume.upscaled(result), tmp_path / "out")
    datasets = load(tmp_path / "out")
    assert datasets[2].pixel_array[2, 2] == min(one.pixel_array.min() for one in datasets)
    slope = float(datasets[0].get("RescaleSlope", 1))
    values = np.stack(
        [one.pixel_array.T * slope + float(one.get("RescaleIntercept", 0)) for one in datasets], -1
    )
    expected = int(array.max()) - result
    np.testing.assert_allclose(values, expected, atol=0.51 * max(slope, 1))


def test_signed_and_unsigned_slices(tmp_path, dicom_series, axial):
    array = np.full(SHAPE, 40000, "uint16")
    array[:, :, 0] = 5
    dicom_series(tmp_path / "in", array, axial, slices={0: {"PixelRepresentation": 1}})
    volume = read_volume(tmp_path / "in")
    write_volume(volume.upscaled(volume.array), tmp_path / "out")
    assert {one.PixelRepresentation for one in load(tmp_path / "out")} == {0}
    np.testing.assert_array_equal(read_volume(tmp_path / "out").array, array)


def test_another_quantity(tmp_path, dicom_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("int16")
    dicom_series(tmp_path / "in", array, axial, WindowCenter=450, WindowWidth=900, VOILUTFunction="LINEAR",
                 PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")  # fmt: skip
    volume = read_volume(tmp_path / "in")
    deviation = volume.upscaled(volume.array / 9000, description=SAID, quantity="standard deviation")
    write_volume(deviation, tmp_path / "out")
    for one in load(tmp_path / "out"):
        assert one.SeriesDescription == "t1 phantom SR standard deviation"
        assert one.PhotometricInterpretation == "MONOCHROME2"
        assert one.PresentationLUTShape == "IDENTITY"
        assert one.WindowCenter == pytest.approx(deviation.array.max() / 2, rel=0.01)
        assert one.WindowWidth == pytest.approx(deviation.array.max(), rel=0.01)
    back = read_volume(tmp_path / "out").array
    np.testing.assert_allclose(back, deviation.array, atol=1e-5 * deviation.array.max())


def test_texts_that_dicom_cannot_hold(tmp_path, dicom_series, phantom, axial):
    dicom_series(tmp_path / "in", phantom(SHAPE, axial).astype("int16"), axial, SeriesDescription="x" * 64)
    volume = read_volume(tmp_path / "in")
    write_volume(volume.upscaled(volume.array, description="modèle C:\\runs " + "y" * 2000), tmp_path / "out")
    one = load(tmp_path / "out")[0]
    assert one.SeriesDescription == "x" * 61 + " SR"
    assert one.DerivationDescription.startswith("mod?le C:/runs yyy")
    assert len(one.DerivationDescription) == 1024


def test_a_header_that_cannot_be_written(tmp_path, dicom_series, edit_dicom, phantom, axial):
    array = phantom(SHAPE, axial).astype("int16")
    for path in dicom_series(tmp_path / "in", array, axial, uid.ImplicitVRLittleEndian):
        edit_dicom(path, lambda dataset: dataset.add_new("AcquisitionDuration", "OB", bytes(6)))  # It has 8.
    volume = read_volume(tmp_path / "in")
    with pytest.raises(MrisrError, match=r"in has an element .* End the output in \.nii\.gz") as caught:
        write_volume(volume, tmp_path / "out")
    assert "0018,9073" in str(caught.value) or "bytes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    write_volume(volume, tmp_path / "out.nii.gz")


def test_twice_derived(tmp_path, dicom_series, phantom, axial):
    dicom_series(
        tmp_path / "in", phantom(SHAPE, axial).astype("int16"), axial, DerivationDescription="denoised"
    )
    write_volume(upscaled(read_volume(tmp_path / "in")), tmp_path / "out")
    write_volume(upscaled(read_volume(tmp_path / "out")), tmp_path / "again")
    one = load(tmp_path / "again")[0]
    assert one.DerivationDescription == f"denoised; {SAID}; {SAID}"
    assert one.Rows == 40
    assert one.SeriesNumber == 2003


def test_dicom_becomes_nifti(tmp_path, dicom_series, phantom, affine):
    dicom_series(tmp_path / "in", phantom(SHAPE, affine).astype("int16"), affine)
    finer = upscaled(read_volume(tmp_path / "in"))
    write_volume(finer, tmp_path / "out.nii.gz")
    back = read_volume(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(back.array, finer.array)
    np.testing.assert_allclose(back.affine, finer.affine, atol=1e-4)


def test_one_slice_can_be_one_file(tmp_path, dicom_series, phantom, axial):
    dicom_series(tmp_path / "in", phantom((12, 10, 1), axial).astype("int16"), axial)
    finer = upscaled(read_volume(tmp_path / "in"))
    assert write_volume(finer, tmp_path / "out.dcm") == [tmp_path / "out.dcm"]
    np.testing.assert_array_equal(read_volume(tmp_path / "out.dcm").array, finer.array)
    with pytest.raises(MrisrError, match=r"out\.dcm exists"):
        write_volume(finer, tmp_path / "out.dcm")


class TestTargets:
    @pytest.fixture
    def volume(self, tmp_path, dicom_series, phantom, axial):
        dicom_series(tmp_path / "in", phantom(SHAPE, axial).astype("int16"), axial)
        return read_volume(tmp_path / "in")

    def refused(self, volume, path, text, overwrite=False):
        with pytest.raises(MrisrError, match=text) as caught:
            write_volume(volume, path, overwrite)
        assert "\n" not in str(caught.value)

    def test_slices_do_not_fit_in_one_file(self, volume, tmp_path):
        self.refused(volume, tmp_path / "out.dcm", "there are 6 slices. Name a folder")

    @pytest.mark.parametrize("ending", ["png", "JPEG", "tiff", "bmp", "npy", "mnc", "nifti", "nii.bz2"])
    def test_other_endings(self, volume, tmp_path, ending):
        self.refused(volume, tmp_path / f"out.{ending}", "no ending that can be written")

    def test_the_source(self, volume, tmp_path):
        before = sorted((tmp_path / "in").iterdir())
        for place in (tmp_path / "in", tmp_path):
            self.refused(volume, place, "is or holds the source", overwrite=True)
        assert sorted((tmp_path / "in").iterdir()) == before

    @pytest.mark.parametrize("name", ["in/sr", "in/deep/sr", "in/sr.dcm"])
    def test_in_the_folder_of_the_source(self, volume, tmp_path, name):
        one = dataclasses.replace(volume, array=volume.array[:, :, :1])  # Fits into a file.
        self.refused(one, tmp_path / name, r"lies in the source .*in\. Choose another folder")
        assert len(list((tmp_path / "in").iterdir())) == 6

    def test_beside_a_file_that_is_the_source(self, tmp_path, dicom_series, phantom, axial):
        (path,) = dicom_series(tmp_path / "in", phantom((12, 10, 1), axial).astype("int16"), axial)
        assert write_volume(read_volume(path), tmp_path / "in/sr.dcm") == [tmp_path / "in/sr.dcm"]

    def test_nifti_in_the_folder_of_the_source(self, volume, tmp_path):
        write_volume(volume, tmp_path / "in/sr.nii.gz")
        assert read_volume(tmp_path / "in").shape == SHAPE

    def test_a_folder_with_dots_in_its_name(self, volume, tmp_path):
        assert len(write_volume(volume, tmp_path / "st.john.v1")) == 6

    def test_a_folder_with_something_in_it(self, volume, tmp_path):
        write_volume(volume, tmp_path / "out")
        self.refused(volume, tmp_path / "out", "exists and is not empty")
        thick = volume.upscaled(volume.array.repeat(2, 2), (1, 1, 2))
        assert len(write_volume(thick, tmp_path / "out", overwrite=True)) == 12
        assert len(write_volume(volume, tmp_path / "out", overwrite=True)) == 6
        assert len(list((tmp_path / "out").iterdir())) == 6
        (tmp_path / "out/thesis.docx").touch()
        self.refused(volume, tmp_path / "out", "holds thesis.docx, which is no result", overwrite=True)

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_nothing_is_left_of_a_series_that_could_not_be_finished(
        self, volume, tmp_path, monkeypatch, error, overwrite
    ):
        if overwrite:
            write_volume(volume, tmp_path / "out")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        write, calls = pathlib.Path.write_bytes, []

        def fail(path, content):
            calls.append(path)
            if len(calls) == 4:
                write(path, content[:100])
                raise error
            write(path, content)

        monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
        with pytest.raises(MrisrError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            write_volume(volume, tmp_path / "out", overwrite)
        reason = "No space left on device. Nothing was changed."
        assert isinstance(error, KeyboardInterrupt) or str(caught.value).endswith(f"out: {reason}")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        assert overwrite or not (tmp_path / "out").exists()

    def test_a_source_that_is_gone_is_not_needed(self, volume, tmp_path):
        shutil.rmtree(tmp_path / "in")
        assert len(write_volume(volume, tmp_path / "out")) == 6


@pytest.mark.parametrize("thickness", [5, None])
def test_one_slice_says_how_far_the_next_would_be(
    tmp_path, dicom_series, edit_dicom, phantom, axial, thickness
):
    """ITK and highdicom take nothing else for the extent of a slice that has no neighbour."""
    array = phantom((12, 10, 1), axial).astype("int16")
    (path,) = dicom_series(tmp_path / "in", array, axial, SliceThickness=thickness)
    edit_dicom(path, lambda dataset: delattr(dataset, "SpacingBetweenSlices"))
    write_volume(upscaled(read_volume(path)), tmp_path / "out.dcm")
    one = pydicom.dcmread(tmp_path / "out.dcm")
    assert one.get("SpacingBetweenSlices") == thickness  # What nobody knows is not made up.
    write_volume(upscaled(read_volume(path), (1, 1, 2)), tmp_path / "two")
    assert all("SpacingBetweenSlices" not in one for one in load(tmp_path / "two"))


@pytest.mark.parametrize(("dtype", "bits"), [("uint16", 12), ("int16", 16), ("uint8", 8)])
def test_air_of_monochrome1_is_dark_in_nifti(tmp_path, dicom_series, phantom, axial, dtype, bits):
    """Air is stored as the highest number, which is above what tissue leaves of the range."""
    signal = phantom(SHAPE, axial, top=200).astype(int)
    top = np.iinfo(dtype).max if bits > 12 or dtype == "uint8" else 4095
    dicom_series(tmp_path / "in", (top - signal).astype(dtype), axial, BitsStored=bits,
                 PhotometricInterpretation="MONOCHROME1")  # fmt: skip
    write_volume(read_volume(tmp_path / "in"), tmp_path / "out.nii.gz")
    back = read_volume(tmp_path / "out.nii.gz").array
    np.testing.assert_array_equal(back, signal - signal.min())


def test_monochrome1_over_the_whole_range_of_a_signed_type(tmp_path, dicom_series, axial):
    array = np.linspace(-32768, 32767, np.prod(SHAPE)).reshape(SHAPE).astype("int16")
    dicom_series(tmp_path / "in", array, axial, PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(tmp_path / "in")
    np.testing.assert_array_equal(volume.array, 32767 - array.astype(int))
    write_volume(volume, tmp_path / "out")
    for place, one in enumerate(load(tmp_path / "out")):
        np.testing.assert_array_equal(one.pixel_array, array[:, :, place].T)
