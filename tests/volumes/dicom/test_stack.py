"""Which images make a volume, and what is said of those that don't."""

import logging
import shutil

import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import check_volume, read_volume

SHAPE = (12, 10, 6)


@pytest.fixture
def array(phantom, axial):
    return phantom(SHAPE, axial).astype("int16")


def refused(folder, *parts, index=None):
    with pytest.raises(MrisrError) as caught:
        read_volume(folder, index)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    for part in parts:
        assert part in message


def test_a_missing_slice(tmp_path, dicom_series, array, axial):
    paths = dicom_series(tmp_path, array, axial)
    paths[3].unlink()
    refused(
        tmp_path, f"lacks a slice between {paths[2]} and {paths[4]}", "6.000 mm there, 3.000 mm elsewhere"
    )


def test_a_missing_slice_of_few(tmp_path, dicom_series, array, axial):
    paths = dicom_series(tmp_path, array[..., :4], axial)
    paths[1].unlink()
    refused(tmp_path, "lacks a slice between")


@pytest.mark.parametrize("gone", [(1, 3), (1, 3, 5)])
def test_every_second_slice_is_missing(tmp_path, dicom_series, array, axial, gone):
    paths = dicom_series(tmp_path, array[..., : gone[-1] + 2], axial)
    for place in gone:
        paths[place].unlink()
    refused(tmp_path, "lacks slices: all are 6.000 mm apart, but SpacingBetweenSlices is 3.000 mm")


def test_a_missing_slice_of_three(tmp_path, dicom_series, array, axial):
    paths = dicom_series(tmp_path, array[..., :3], axial, SpacingBetweenSlices=-3)  # As Philips has it.
    paths[1].unlink()
    refused(tmp_path, "lacks slices: all are 6.000 mm apart, but SpacingBetweenSlices is 3.000 mm")


@pytest.mark.parametrize(
    "tags",
    [
        {"SpacingBetweenSlices": 0.5, "SliceThickness": 2.5},  # The gap between the slices' faces.
        {"SpacingBetweenSlices": 3, "SliceThickness": 6},  # Slices that overlap.
        {"SpacingBetweenSlices": 0},
        {"SpacingBetweenSlices": None},
    ],
)
def test_said_distances_that_pass(tmp_path, dicom_series, array, axial, tags, caplog):
    dicom_series(tmp_path, array, axial, **tags)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(3)
    assert not caplog.records


def test_a_wrong_distance_of_images_numbered_one_by_one(tmp_path, dicom_series, array, axial, caplog):
    dicom_series(tmp_path, array, axial, SpacingBetweenSlices=1, SliceThickness=1)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(3)
    assert "all are 3.000 mm apart, but SpacingBetweenSlices is 1.000 mm. Their positions" in caplog.text


def test_slices_that_drift(tmp_path, dicom_series, edit_dicom, array, axial):
    paths = dicom_series(tmp_path, array, axial)
    edit_dicom(paths[2], lambda one: setattr(one, "ImagePositionPatient", [-90, -110, -13.2]))
    refused(tmp_path, "slices at uneven distances", str(paths[2]), "0.800 mm off")


def test_rounded_positions_pass(tmp_path, dicom_series, edit_dicom, array, axial):
    axial[2, 2] = 0.667
    paths = dicom_series(tmp_path, array, axial)
    for path in paths:
        edit_dicom(
            path,
            lambda one: setattr(one, "ImagePositionPatient", [round(v, 1) for v in one.ImagePositionPatient]),
        )
    volume = read_volume(tmp_path)
    assert volume.spacing[2] == pytest.approx(0.667, abs=0.02)


def test_two_images_at_one_position(tmp_path, dicom_series, edit_dicom, array, axial):
    paths = dicom_series(tmp_path, array, axial)
    shutil.copy(paths[2], tmp_path / "again")
    edit_dicom(tmp_path / "again", lambda one: setattr(one, "SOPInstanceUID", "1.2.3.4.5"))
    refused(tmp_path, "2 images at one position", str(paths[2]), "again", "Keep one")


def test_a_second_copy_of_an_image(tmp_path, dicom_series, array, axial, caplog):
    paths = dicom_series(tmp_path, array, axial)
    shutil.copy(paths[2], tmp_path / "image_copy")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_volume(tmp_path).array, array)
    assert "1 second copies left out" in caplog.text


def test_two_orientations(tmp_path, dicom_series, edit_dicom, array, axial):
    paths = dicom_series(tmp_path, array, axial)
    edit_dicom(paths[4], lambda one: setattr(one, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]))
    refused(tmp_path, "2 orientations (5 and 1 images)", str(paths[4]))


def test_two_sizes(tmp_path, dicom_series, array, axial):
    dicom_series(tmp_path, array[..., :3], axial, uid="1.2.9")
    dicom_series(tmp_path / "small", array[:6, :5, 3:5], axial, uid="1.2.9")
    refused(tmp_path, "2 sizes (3 of 12x10, 2 of 6x5)", "small", "of their own")


def test_two_pixel_spacings(tmp_path, dicom_series, edit_dicom, array, axial):
    paths = dicom_series(tmp_path, array, axial)
    edit_dicom(paths[1], lambda one: setattr(one, "PixelSpacing", [0.5, 0.5]))
    refused(tmp_path, "2 pixel spacings (5 of 0.75x0.75, 1 of 0.5x0.5)", str(paths[1]))


def test_two_stacks_side_by_side(tmp_path, dicom_series, array, axial):
    beside = axial.copy()
    beside[0, 3] += 60
    dicom_series(tmp_path / "left", array, axial, uid="1.2.9")
    dicom_series(tmp_path / "right", array, beside, uid="1.2.9")
    refused(tmp_path, "two stacks side by side")


def test_a_tilted_gantry_is_a_sheared_affine(tmp_path, dicom_series, array, axial):
    axial[1, 2] = 0.8  # Each slice is moved along its rows' normal.
    dicom_series(tmp_path, array, axial)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.affine, axial, atol=1e-9)
    with pytest.raises(MrisrError, match="sheared"):
        check_volume(volume)


def echoes(folder, dicom_series, array, axial, numbers):
    """Two echoes in one series, numbered by `numbers(echo, place)`."""
    for echo in (0, 1):
        slices = {p: {"InstanceNumber": numbers(echo, p)} for p in range(array.shape[2])}
        dicom_series(
            folder / str(echo), array + 100 * echo, axial, slices=slices, uid="1.2.9", EchoTime=10 + echo
        )


@pytest.mark.parametrize("numbers", [lambda e, p: 1 + p + 6 * e, lambda e, p: 1 + 2 * p + e, lambda e, p: 1])
def test_several_echoes(tmp_path, dicom_series, array, axial, numbers):
    echoes(tmp_path, dicom_series, array, axial, numbers)
    differ = "`volume_index` 0 to 1 (0: EchoTime 10; 1: EchoTime 11)"
    refused(tmp_path, "is 4-D: 2 images at each position", differ)
    for index in (0, 1):
        np.testing.assert_array_equal(read_volume(tmp_path, index).array, array + 100 * index)
    refused(tmp_path, "2 volume(s), numbered from 0", index=2)


def test_an_incomplete_echo(tmp_path, dicom_series, array, axial):
    echoes(tmp_path, dicom_series, array, axial, lambda echo, place: place)
    next((tmp_path / "1").iterdir()).unlink()
    refused(tmp_path, "2 images at most positions, but 1 at that of", index=0)


def test_volumes_that_cannot_be_told_apart(tmp_path, dicom_series, edit_dicom, array, axial):
    echoes(tmp_path, dicom_series, array, axial, lambda echo, place: place)
    edit_dicom(next((tmp_path / "0").iterdir()), lambda one: setattr(one, "EchoTime", 12))
    refused(tmp_path, "cannot be told apart", index=0)


def test_an_index_for_a_plain_series(tmp_path, dicom_series, array, axial):
    dicom_series(tmp_path, array, axial)
    assert read_volume(tmp_path, index=0).shape == SHAPE
    refused(tmp_path, "1 volume(s), numbered from 0", index=1)
