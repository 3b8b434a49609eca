import keras
import numpy as np
import pytest

from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import consistency


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.random((2, 32, 32, 3), dtype="float32"), rng.random((2, 32, 32, 3), dtype="float32")


@pytest.mark.parametrize("data_range", [1.0, 255])
def test_equals_numpy_in_grey_levels(images, data_range):
    hr, sr = images
    degradation = get_degradation("paper", 2)
    lr, again = numpy(degradation(hr)), numpy(degradation(sr))
    values = numpy(consistency(lr * data_range, sr * data_range, degradation, data_range))
    expected = 255 * np.sqrt(np.square(again - lr).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    np.testing.assert_allclose(numpy(consistency(lr, hr, degradation, 1.0)), [0, 0], atol=1e-3)
    mask = np.zeros((2, 16, 16))
    mask[0, 3:9, 2:4] = 1
    masked = numpy(consistency(lr, sr, degradation, 1.0, mask=mask))
    inside = np.square(again - lr)[0, 3:9, 2:4]
    np.testing.assert_allclose(masked[0], 255 * np.sqrt(inside.mean()), rtol=1e-4)
    assert np.isnan(masked[1])


def test_another_scale_is_refused(images):
    with pytest.raises(MrisrError, match="another scale"):
        consistency(images[0][:, :8, :8], images[1], get_degradation("bicubic", 2), 1.0)
    with pytest.raises(MrisrError, match="data_range"):
        consistency(images[0], images[1], get_degradation("bicubic", 2), 0)
