import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import hfen


def kernel():
    """MATLAB's fspecial('log', 15, 1.5), written out."""
    y, x = np.mgrid[-7:8, -7:8]
    square, variance = x**2 + y**2, 1.5**2
    gauss = np.exp(-square / (2 * variance))
    gauss /= gauss.sum()
    log = gauss * (square - 2 * variance) / variance**2
    return log - log.sum() / log.size


def reference(hr, sr, mask=None):
    def filtered(image):
        planes = [ndimage.convolve(plane, kernel(), mode="reflect") for plane in np.moveaxis(image, -1, 0)]
        return np.stack(planes, axis=-1)

    error, original = filtered(sr - hr), filtered(hr)
    if mask is not None:
        error, original = error[mask], original[mask]
    return np.linalg.norm(error) / np.linalg.norm(original)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = ndimage.gaussian_filter(rng.random((2, 30, 26, 3)), (0, 1, 1, 0))
    return hr, ndimage.gaussian_filter(hr, (0, 1, 1, 0))


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def test_the_reference_is_a_laplacian_of_a_gaussian():
    image = ndimage.gaussian_filter(np.random.default_rng(1).random((60, 60)), 3)
    ours = ndimage.convolve(image, kernel(), mode="reflect")
    theirs = ndimage.gaussian_laplace(image, 1.5)
    np.testing.assert_allclose(ours, theirs, atol=0.05 * np.abs(theirs).max())


def test_equals_the_reference(pair):
    hr, sr = pair
    values = numpy(hfen(hr, sr))
    assert values.shape == (2,)
    np.testing.assert_allclose(values, [reference(*one) for one in zip(hr, sr, strict=True)], rtol=1e-5)
    # It has no unit.
    np.testing.assert_allclose(numpy(hfen(255 * hr, 255 * sr)), values, rtol=1e-4)


def test_mask_compares_inside(pair):
    hr, sr = pair
    mask = np.zeros(hr.shape[:3], bool)
    mask[0, :8, 9:20] = True
    values = numpy(hfen(hr, sr, mask=mask))
    np.testing.assert_allclose(values[0], reference(hr[0], sr[0], mask[0]), rtol=1e-5)
    assert np.isnan(values[1])


def test_without_detail(pair):
    assert numpy(hfen(pair[0], pair[0])).tolist() == [0, 0]
    black = np.zeros((1, 16, 16, 1))
    assert np.isnan(numpy(hfen(black, black)))


def test_shapes_must_agree(pair):
    with pytest.raises(MrisrError, match="one shape"):
        hfen(pair[0], pair[1][:1])
