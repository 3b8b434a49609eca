"""Results of Enhanced multi-frame MR as Enhanced multi-frame MR."""

import warnings

import numpy as np
import pydicom
import pytest
from pydicom import uid
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume, write_volume

SHAPE = (12, 10, 6)
SAID = "keras-mrisr 1.2, model test"


def upscaled(volume, factors, **options):
    array = ndimage.zoom(volume.array.astype("float32"), factors, order=1, grid_mode=True, mode="nearest")
    return volume.upscaled(array, factors, SAID, **options)


def load(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(path)
        str(dataset)
        _ = dataset.pixel_array
    return dataset


@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 1, 2), (2, 1, 3)])
@pytest.mark.parametrize("name", ["out", "out.dcm"])
def test_values_and_place_come_back(tmp_path, enhanced_series, phantom, oblique, factors, name):
    path = enhanced_series(tmp_path / "in", phantom(SHAPE, oblique).astype("uint16"), oblique)
    finer = upscaled(read_volume(path), factors)
    (written,) = write_volume(finer, tmp_path / name)
    assert written == tmp_path / (name if name == "out.dcm" else "out/sr-0001.dcm")
    load(written)
    back = read_volume(tmp_path / name)
    assert back.array.dtype == np.uint16
    np.testing.assert_array_equal(back.array, finer.array)
    np.testing.assert_allclose(back.affine, finer.affine, atol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_what_changes_in_the_header(tmp_path, enhanced_series, phantom, axial, shared):
    path = enhanced_series(
        tmp_path / "in", phantom(SHAPE, axial).astype("uint16"), axial, slope=0.5, shared_rescale=shared
    )
    (written,) = write_volume(upscaled(read_volume(path), (1, 2, 2)), tmp_path / "out.dcm")
    before, after = pydicom.dcmread(path), load(written)
    assert after.SOPClassUID == before.SOPClassUID
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert after.StudyInstanceUID == before.StudyInstanceUID
    assert after.PatientName == before.PatientName
    assert after.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert (after.NumberOfFrames, after.Rows, after.Columns) == (12, 20, 12)
    assert after.ImageType == ["DERIVED", "PRIMARY", "T1", "NONE"]
    assert after.SeriesDescription == "t1 phantom SR"
    assert "DerivationDescription" not in after

    (common,) = after.SharedFunctionalGroupsSequence
    assert common.MRImageFrameTypeSequence[0].FrameType == ["DERIVED", "PRIMARY", "T1", "NONE"]
    measures = common.PixelMeasuresSequence[0]
    assert measures.PixelSpacing == [0.375, 0.75]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (1.5, 1.5)
    assert common.PixelValueTransformationSequence[0].RescaleSlope == 0.5
    (evidence,) = after.SourceImageEvidenceSequence
    referenced = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == before.SOPInstanceUID
    pointers = [one.DimensionIndexPointer for one in after.DimensionIndexSequence]
    assert pointers == [0x00209056, 0x00209057]

    frames = after.PerFrameFunctionalGroupsSequence
    assert len(frames) == 12
    for place, frame in enumerate(frames):
        assert "PixelValueTransformationSequence" not in frame
        content = frame.FrameContentSequence[0]
        assert (content.StackID, content.InStackPositionNumber) == ("1", place + 1)
        assert content.DimensionIndexValues == [1, place + 1]
        derivation = frame.DerivationImageSequence[0]
        assert derivation.DerivationDescription == SAID
        assert derivation.DerivationCodeSequence[0].CodeValue == "113085"
        reference = derivation.SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert reference.ReferencedFrameNumber == place // 2 + 1


def test_twice_derived(tmp_path, enhanced_series, phantom, axial):
    path = enhanced_series(tmp_path / "in", phantom(SHAPE, axial).astype("uint16"), axial)
    (once,) = write_volume(upscaled(read_volume(path), (2, 2, 1)), tmp_path / "once")
    (twice,) = write_volume(upscaled(read_volume(once), (2, 2, 1)), tmp_path / "twice")
    for frame in load(twice).PerFrameFunctionalGroupsSequence:
        assert frame.DerivationImageSequence[0].DerivationDescription == f"{SAID}; {SAID}"


def test_one_time_point(tmp_path, enhanced_series, phantom, axial):
    first = phantom(SHAPE, axial).astype("uint16")
    path = enhanced_series(tmp_path / "in", np.stack([first, first // 2], axis=-1), axial)
    volume = read_volume(path, index=1)
    (written,) = write_volume(upscaled(volume, (2, 2, 1)), tmp_path / "out")
    after = load(written)
    assert after.NumberOfFrames == 6
    reference = after.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedFrameNumber == 7
    assert read_volume(tmp_path / "out").shape == (24, 20, 6)


@pytest.mark.parametrize("shared", [True, False])
def test_another_quantity(tmp_path, enhanced_series, edit_dicom, phantom, axial, shared):
    def map_values(dataset):
        for group in dataset[f"{'Shared' if shared else 'PerFrame'}FunctionalGroupsSequence"]:
            group.RealWorldValueMappingSequence = [pydicom.Dataset()]

    path = enhanced_series(tmp_path / "in", phantom(SHAPE, axial).astype("uint16"), axial)
    edit_dicom(path, map_values)
    deviation = upscaled(read_volume(path), (1, 1, 1), quantity="standard deviation")
    (written,) = write_volume(deviation, tmp_path / "out")
    (common,) = load(written).SharedFunctionalGroupsSequence
    for group in (common, *load(written).PerFrameFunctionalGroupsSequence):
        assert "RealWorldValueMappingSequence" not in group
    assert common.FrameVOILUTSequence[0].WindowWidth == pytest.approx(deviation.array.max(), rel=0.01)
    np.testing.assert_allclose(read_volume(written).array, deviation.array, atol=1e-4 * deviation.array.max())


def test_a_volume_of_several_files_becomes_nifti_only(tmp_path, enhanced_series, phantom, axial):
    array = phantom(SHAPE, axial).astype("uint16")
    above = axial.copy()
    above[2, 3] += 3 * 6
    for name, affine in (("a", axial), ("b", above)):
        enhanced_series(tmp_path / "in" / name, array, affine, SeriesInstanceUID="1.2.9")
    volume = read_volume(tmp_path / "in")
    np.testing.assert_array_equal(volume.array, np.concatenate([array, array], axis=2))
    with pytest.raises(MrisrError, match=r"spread over several multi-frame files\. End it in \.nii\.gz"):
        write_volume(volume, tmp_path / "out")
    write_volume(volume, tmp_path / "out.nii.gz")
