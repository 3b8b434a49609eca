import keras
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import PSNR, psnr


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = rng.random((3, 20, 24, 3), dtype="float32")
    return hr, np.clip(hr + rng.normal(0, 0.05, hr.shape), 0, 1).astype("float32")


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize("kind,data_range", [("float32", 1.0), ("float64", 1.0), ("uint8", 255)])
def test_equals_skimage(pair, kind, data_range):
    hr, sr = ((x * data_range).astype(kind) for x in pair)
    expected = [peak_signal_noise_ratio(a, b, data_range=data_range) for a, b in zip(hr, sr, strict=True)]
    values = numpy(psnr(hr, sr, data_range))
    assert values.shape == (3,)
    np.testing.assert_allclose(values, expected, atol=2e-4)


def test_by_hand():
    hr, sr = np.zeros((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.1)
    np.testing.assert_allclose(numpy(psnr(hr, sr, 1.0)), [20.0], atol=1e-5)


def test_equal_images_are_infinite():
    x = np.ones((2, 4, 4, 1), "uint8")
    assert np.all(np.isposinf(numpy(psnr(x, x, 255))))


def test_mask_selects_pixels(pair):
    hr, sr = pair
    mask = np.zeros(hr.shape[:3], bool)
    mask[0, 5:10, 5:15] = True
    mask[1] = True
    values = numpy(psnr(hr, sr, 1.0, mask=mask))
    inside = peak_signal_noise_ratio(hr[0, 5:10, 5:15], sr[0, 5:10, 5:15], data_range=1)
    np.testing.assert_allclose(values[0], inside, atol=2e-4)
    np.testing.assert_allclose(values[1], numpy(psnr(hr, sr, 1.0))[1], atol=2e-4)
    assert np.isnan(values[2])


@pytest.mark.parametrize("data_range", [0, -1, float("nan"), float("inf"), None, "255"])
def test_data_range_is_explicit_and_positive(pair, data_range):
    with pytest.raises(MrisrError, match="data_range"):
        psnr(*pair, data_range)


@pytest.mark.parametrize("shape", [(3, 20, 24), (3, 20, 24, 1), (3, 40, 48, 3)])
def test_shapes_must_agree(pair, shape):
    with pytest.raises(MrisrError, match="one shape"):
        psnr(pair[0], np.zeros(shape), 1.0)


def test_mask_of_wrong_shape(pair):
    with pytest.raises(MrisrError, match="mask"):
        psnr(*pair, 1.0, mask=np.ones((3, 20, 20)))


def test_metric_is_the_mean_per_image_over_batches(pair):
    hr, sr = pair
    metric = PSNR(data_range=1.0)
    metric.update_state(hr[:2], sr[:2])
    metric.update_state(hr[2:], sr[2:])
    np.testing.assert_allclose(float(metric.result()), numpy(psnr(hr, sr, 1.0)).mean(), rtol=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_metric_leaves_out_equal_images_and_counts_them(pair):
    hr, sr = pair[0], pair[1].copy()
    sr[1] = hr[1]
    metric = PSNR()
    metric.update_state(hr, sr, sample_weight=np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(float(metric.result()), numpy(psnr(hr, sr, 1.0))[0], rtol=1e-6)
    assert float(metric.excluded) == 1


def test_metric_survives_serialisation():
    metric = PSNR(data_range=255, name="quality")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(twin, PSNR)
    assert twin.get_config() == metric.get_config()
    assert (twin.data_range, twin.name) == (255.0, "quality")


def test_metric_checks_its_range_when_made():
    with pytest.raises(MrisrError, match="data_range"):
        PSNR(data_range=0)
