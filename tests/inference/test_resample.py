import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.inference.resample import resample_axis, voxels_for


@pytest.mark.parametrize("count", [12, 25, 67])
def test_finer_as_scipy_does(count):
    array = np.random.default_rng(0).normal(size=(4, 10, 3))
    places = np.clip((np.arange(count) + 0.5) * 10 / count - 0.5, 0, 9)
    grid = np.meshgrid(np.arange(4), places, np.arange(3), indexing="ij")
    # Along the other axes the places are those of voxels, where a spline interpolates.
    expected = ndimage.map_coordinates(array, grid, order=3, mode="mirror")
    np.testing.assert_allclose(resample_axis(array, 1, count), expected, atol=1e-5)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_coarser_keeps_constants_and_centres(count):
    assert resample_axis(np.full((2, 10), 3, "int16"), 1, count) == pytest.approx(3)
    ramp = np.arange(10.0)
    centres = (np.arange(count) + 0.5) * 10 / count - 0.5
    np.testing.assert_allclose(resample_axis(ramp, 0, count)[1:-1], centres[1:-1], atol=0.3)


def test_voxels_for_an_extent():
    assert voxels_for(144, 0.71875) == 200
    assert voxels_for(1, 100) == 1
