"""The grid of slices whose headers are rounded: the box is right to what the rounding allows."""

import itertools

import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import check_volume, read_volume, write_volume

SHAPE = (24, 20, 12)


@pytest.fixture
def turned():
    """A RAS affine of slices that are turned about two axes, none of whose numbers is round."""
    a, b = np.deg2rad(11.3), np.deg2rad(-7.7)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_y @ np.diag([-0.8, -0.9, 1.0])
    affine[:3, 3] = (91.234567, 82.345678, -33.456789)
    return affine


def with_distance(affine, distance):
    scaled = affine.copy()
    scaled[:3, 2] *= distance
    return scaled


def corners(affine, shape):
    """The corners of the box, (8, 3) millimetres."""
    return np.array(
        [affine[:3] @ [*(np.array(shape) * one - 0.5), 1] for one in itertools.product((0, 1), repeat=3)]
    )


def write(folder, dicom_series, edit_dicom, affine, slices, **digits):
    array = np.arange(np.prod(SHAPE), dtype="int16").reshape(SHAPE)[..., :slices]
    for path in dicom_series(folder, array, affine):

        def change(dataset):
            for keyword, count in digits.items():
                setattr(dataset, keyword, [f"{value:.{count}f}" for value in dataset[keyword].value])

        edit_dicom(path, change)
    return array


@pytest.mark.parametrize(("digits", "slices"), [(1, 12), (1, 8), (1, 4), (2, 2), (2, 12), (3, 3)])
@pytest.mark.parametrize("distance", [0.9, 3, 5.5])
def test_rounded_positions(tmp_path, dicom_series, edit_dicom, turned, digits, slices, distance):
    affine = with_distance(turned, distance)
    array = write(tmp_path, dicom_series, edit_dicom, affine, slices, ImagePositionPatient=digits)
    volume = read_volume(tmp_path)
    check_volume(volume)
    np.testing.assert_array_equal(volume.array, array)
    axes = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-7)
    # Of n slices each moved by at most this much, the line that fits them best is off by less than thrice.
    most = np.sqrt(3) * 10.0**-digits / 2
    off = np.linalg.norm(corners(volume.affine, array.shape) - corners(affine, array.shape), axis=1)
    assert off.max() < 3 * most


def test_many_rounded_slices_are_fitted_better_than_any_one_is_written(
    tmp_path, dicom_series, edit_dicom, turned
):
    affine = with_distance(turned, 3)
    write(tmp_path, dicom_series, edit_dicom, affine, 12, ImagePositionPatient=1)
    off = corners(read_volume(tmp_path).affine, SHAPE) - corners(affine, SHAPE)
    assert np.linalg.norm(off, axis=1).max() < 0.05  # The rounding of one slice is up to 0.087 mm.


@pytest.mark.parametrize("digits", [3, 4])
def test_rounded_directions_follow_exact_positions(tmp_path, dicom_series, edit_dicom, turned, digits):
    affine = with_distance(turned, 3)
    write(tmp_path, dicom_series, edit_dicom, affine, 12, ImageOrientationPatient=digits)
    volume = read_volume(tmp_path)
    check_volume(volume)
    np.testing.assert_allclose(volume.affine[:3, 2], affine[:3, 2], atol=1e-9)
    off = np.linalg.norm(corners(volume.affine, SHAPE) - corners(affine, SHAPE), axis=1)
    assert off.max() < np.sqrt(3) * 10.0**-digits * 20  # Of an image of 20 mm.


def test_positions_as_float32(tmp_path, dicom_series, edit_dicom, turned):
    """A position that was rounded to 0.1 mm and then kept as float32 has more digits than it means."""
    affine = with_distance(turned, 3)
    array = np.ones(SHAPE, "int16")
    for path in dicom_series(tmp_path, array, affine):

        def change(dataset):
            rounded = [float(np.float32(round(float(one), 1))) for one in dataset.ImagePositionPatient]
            dataset.ImagePositionPatient = [f"{one:.10g}" for one in rounded]

        edit_dicom(path, change)
    volume = read_volume(tmp_path)
    axes = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-7)


def test_a_shear_beyond_rounding_is_kept(tmp_path, dicom_series, edit_dicom, turned):
    affine = with_distance(turned, 3)
    affine[:3, 2] += 0.15 * affine[:3, 0]
    write(tmp_path, dicom_series, edit_dicom, affine, 12, ImagePositionPatient=1)
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.affine[:3, 2], affine[:3, 2], atol=0.02)
    with pytest.raises(MrisrError, match="sheared"):
        check_volume(volume)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.78125", "0.781250029802"),
        ("0.7812", "0.7813"),  # Digits that "%.4g" keeps.
        ("0.9375", "0.937"),
        ("1", "1.0000001"),
    ],
)
def test_one_spacing_written_in_two_ways(tmp_path, dicom_series, axial, one, other):
    slices = {place: {"PixelSpacing": [(one, other)[place % 2]] * 2} for place in range(12)}
    dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial, slices=slices)
    spacing = read_volume(tmp_path).spacing
    np.testing.assert_allclose(spacing, [*[(float(one) + float(other)) / 2] * 2, 3], rtol=1e-9)


def test_two_spacings_are_two(tmp_path, dicom_series, axial):
    slices = {place: {"PixelSpacing": ["0.78", ("0.78", "0.785")[place % 2]]} for place in range(12)}
    dicom_series(tmp_path, np.ones(SHAPE, "int16"), axial, slices=slices)
    with pytest.raises(MrisrError, match=r"2 pixel spacings \(6 of 0\.78x0\.785, 6 of 0\.78x0\.78\)"):
        read_volume(tmp_path)


@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 1, 2)])
def test_what_is_written_of_rounded_positions_has_the_same_box(
    tmp_path, dicom_series, edit_dicom, turned, factors
):
    affine = with_distance(turned, 3)
    array = write(tmp_path / "in", dicom_series, edit_dicom, affine, 12, ImagePositionPatient=1)
    volume = read_volume(tmp_path / "in")
    result = array
    for axis, factor in enumerate(factors):
        result = result.repeat(factor, axis)
    write_volume(volume.upscaled(result, factors), tmp_path / "out")
    back = read_volume(tmp_path / "out")
    np.testing.assert_allclose(
        corners(back.affine, back.shape), corners(volume.affine, volume.shape), atol=1e-6
    )
