"""Slice profiles against integrals of their definitions."""

import numpy as np
import pytest

from keras_mrisr.degrade.thick_slices import PROFILES, ThickSlices, positions
from keras_mrisr.errors import ConfigError


def width_at_half_maximum(profile, thickness=1.0):
    """In lines, of the weights on a grid 50 times as fine."""
    fine = np.arange(-40, 40, 0.02)
    weights = ThickSlices(6, thickness, profile).weights(np.array([0.0]), fine)[0]
    return 0.02 * np.count_nonzero(weights >= weights.max() / 2)


@pytest.mark.parametrize("profile", ["gaussian", "sinc"])
@pytest.mark.parametrize("thickness", [0.8, 1.0, 1.3])
def test_thickness_is_the_full_width_at_half_maximum(profile, thickness):
    assert width_at_half_maximum(profile, thickness) == pytest.approx(6 * thickness, abs=0.05)


@pytest.mark.parametrize("factor", [1.2, 2, 4.8 / 0.72, 8])
def test_a_box_is_the_mean_over_the_area_of_a_slice(factor):
    rng = np.random.default_rng(0)
    lines = rng.normal(size=40)
    edges = np.concatenate([[0], np.cumsum(lines)])  # The integral at each face between lines.
    slices = int(40 / factor + 1e-9)
    faces = np.interp(np.arange(slices + 1) * factor, np.arange(41), edges)
    expected = np.diff(faces) / factor
    np.testing.assert_allclose(
        ThickSlices(factor, profile="box").degrade(lines, 0), expected, atol=1e-5 * abs(lines).max()
    )


def test_a_gaussian_profile_dampens_a_wave_as_its_transform_says():
    factor, lines = 4.0, np.arange(400)
    for frequency in (0.02, 0.05):
        wave = np.cos(2 * np.pi * frequency * lines)
        sigma = factor / (2 * np.sqrt(2 * np.log(2)))
        centres = (np.arange(100) + 0.5) * factor - 0.5
        expected = np.exp(-2 * (np.pi * frequency * sigma) ** 2) * np.cos(2 * np.pi * frequency * centres)
        inner = slice(10, -10)
        np.testing.assert_allclose(ThickSlices(factor).degrade(wave, 0)[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("factor", "thickness"), [(1.2, 1.0), (2.5, 0.8), (8, 1.2)])
def test_constants_stay_and_nothing_moves(profile, factor, thickness):
    slices = ThickSlices(factor, thickness, profile)
    hr = np.full((5, 96, 3), 7.25, "float32")
    lr = slices.degrade(hr, 1)
    assert lr.shape == (5, int(96 / factor + 1e-6), 3)
    np.testing.assert_allclose(lr, 7.25, rtol=1e-6)
    blob = np.exp(-(((np.arange(96) - 46.3) / 9) ** 2))
    lr = slices.degrade(blob, 0).astype("float64")
    centre = (lr @ ((np.arange(len(lr)) + 0.5) * factor - 0.5)) / lr.sum()
    assert centre == pytest.approx(46.3, abs=0.02)


def test_positions_are_those_of_the_same_box():
    np.testing.assert_allclose(positions(2, 4), [-0.25, 0.25, 0.75, 1.25])
    faces = (positions(30, 200)[[0, -1]] + 0.5) / 30  # As shares of the box.
    np.testing.assert_allclose(faces, [0.5 / 200, 1 - 0.5 / 200])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"factor": 1.1}, "factor must be 1.2 to 8"),
        ({"factor": 8.1}, "factor must be 1.2 to 8"),
        ({"factor": float("nan")}, "factor must be"),
        ({"factor": 2, "thickness": 0}, "thickness must be over 0"),
        ({"factor": 2, "profile": "square"}, "profile must be one of gaussian, sinc, box"),
    ],
)
def test_bad_arguments(arguments, part):
    with pytest.raises(ConfigError, match=part):
        ThickSlices(**arguments)
