import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import GMSD, gms, gmsd
from keras_mrisr.metrics.gmsd import gms_map


def reference_map(hr, sr, constant):
    """Xue et al. 2014, eq. 1 to 4, of one plane of even size."""
    prewitt = np.array([[1, 0, -1]] * 3) / 3

    def gradient(image):
        small = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))
        across = ndimage.convolve(small, prewitt, mode="constant")
        return np.hypot(across, ndimage.convolve(small, prewitt.T, mode="constant"))

    one, two = gradient(hr), gradient(sr)
    return (2 * one * two + constant) / (one**2 + two**2 + constant)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = ndimage.gaussian_filter(rng.random((2, 32, 26, 3)), (0, 1, 1, 0))
    return hr, np.clip(hr + rng.normal(0, 0.03, hr.shape), 0, 1)


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize("data_range", [1.0, 255])
def test_equals_the_reference(pair, data_range):
    hr, sr = (x * data_range for x in pair)
    constant = 170 * (data_range / 255) ** 2
    maps = np.array([
        [reference_map(hr[i, ..., c], sr[i, ..., c], constant) for c in range(3)] for i in range(2)
    ])  # fmt: skip
    np.testing.assert_allclose(numpy(gmsd(hr, sr, data_range)), maps.std(axis=(2, 3)).mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(numpy(gms(hr, sr, data_range)), maps.mean(axis=(1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(numpy(gms_map(hr, sr, data_range))[1, ..., 2], maps[1, 2], atol=1e-5)


def test_equals_piq(pair):
    piq, torch = pytest.importorskip("piq"), pytest.importorskip("torch")
    hr, sr = (x[..., :1] for x in pair)
    planes = (torch.from_numpy(np.moveaxis(x, -1, 1).copy()) for x in (hr, sr))
    expected = piq.gmsd(*planes, data_range=1.0, reduction="none").numpy()
    np.testing.assert_allclose(numpy(gmsd(hr, sr, 1.0)), expected, atol=1e-4)


def test_mask_selects_pixels(pair):
    hr, sr = pair
    mask = np.zeros(hr.shape[:3])
    mask[0, 4:20, 6:16] = 1
    values = numpy(gmsd(hr, sr, 1.0, mask=mask))
    inside = numpy(gms_map(hr, sr, 1.0))[0, 2:10, 3:8]
    np.testing.assert_allclose(values[0], inside.std(axis=(0, 1)).mean(), atol=1e-5)
    np.testing.assert_allclose(numpy(gms(hr, sr, 1.0, mask=mask))[0], inside.mean(), atol=1e-5)
    assert np.isnan(values[1])


def test_equal_images_and_odd_sizes(pair):
    assert numpy(gmsd(pair[0], pair[0], 1.0)).tolist() == [0, 0]
    assert numpy(gms_map(pair[0][:, :11, :13], pair[1][:, :11, :13], 1.0)).shape == (2, 5, 6, 3)


def test_bad_input(pair):
    with pytest.raises(MrisrError, match="2x2"):
        gmsd(np.zeros((1, 1, 9, 1)), np.zeros((1, 1, 9, 1)), 1.0)
    with pytest.raises(MrisrError, match="data_range"):
        gmsd(*pair, -1)


def test_metric_is_the_mean_per_image_and_survives_serialisation(pair):
    metric = GMSD(data_range=1.0)
    metric.update_state(*pair)
    np.testing.assert_allclose(float(metric.result()), numpy(gmsd(*pair, 1.0)).mean(), rtol=1e-5)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(twin, GMSD) and twin.get_config() == metric.get_config()
