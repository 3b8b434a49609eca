import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage.metrics import structural_similarity

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import MultiScaleSSIM, ms_ssim, ssim
from keras_mrisr.metrics.ms_ssim import WEIGHTS, scale_weights


def make_pair(height, width, channels=2, n=2, seed=0):
    rng = np.random.default_rng(seed)
    hr = ndimage.gaussian_filter(rng.random((n, height, width, channels)), (0, 2, 2, 0))
    hr = (hr - hr.min()) / np.ptp(hr)
    return hr.astype("float32"), np.clip(hr + rng.normal(0, 0.05, hr.shape), 0, 1).astype("float32")


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize("size", [(176, 176), (181, 202)])
def test_equals_tensorflow(size):
    hr, sr = make_pair(*size)
    expected = tf.image.ssim_multiscale(hr, sr, 1.0).numpy()
    values = numpy(ms_ssim(hr, sr, 1.0))
    assert values.shape == (2,) and values.dtype == np.float32
    np.testing.assert_allclose(values, expected, atol=2e-5)
    np.testing.assert_allclose(numpy(ms_ssim(255 * hr, 255 * sr, 255)), values, atol=1e-5)


def test_smaller_images_take_the_scales_that_fit():
    sizes = (300, 161, 160, 81, 80, 41, 40, 21, 20, 11)
    assert [len(scale_weights(n, 300)) for n in sizes] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert scale_weights(None, None) == tuple(w / sum(WEIGHTS) for w in WEIGHTS)
    hr, sr = make_pair(64, 50)
    weights = scale_weights(64, 50)
    assert sum(weights) == pytest.approx(1)
    expected = tf.image.ssim_multiscale(hr, sr, 1.0, power_factors=weights).numpy()
    np.testing.assert_allclose(numpy(ms_ssim(hr, sr, 1.0)), expected, atol=2e-5)
    hr, sr = make_pair(14, 20)
    np.testing.assert_allclose(numpy(ms_ssim(hr, sr, 1.0)), numpy(ssim(hr, sr, 1.0)), atol=1e-6)


def test_inside_a_mask():
    """Against scikit-image's filters: contrast and structure at full size, SSIM of the halved images."""
    hr, sr = make_pair(32, 32, channels=1, n=1)
    mask = np.zeros((1, 32, 32))
    mask[0, 0:8, 20:32] = 1  # At the edge, where no window lies inside.

    def factors(x, y):
        def mean(image):
            return ndimage.gaussian_filter(image, 1.5, truncate=3.5, mode="reflect")

        x, y = x.astype(float), y.astype(float)
        variance = mean(x * x) + mean(y * y) - mean(x) ** 2 - mean(y) ** 2
        structure = (2 * (mean(x * y) - mean(x) * mean(y)) + 0.03**2) / (variance + 0.03**2)
        luminance = (2 * mean(x) * mean(y) + 0.01**2) / (mean(x) ** 2 + mean(y) ** 2 + 0.01**2)
        return luminance, structure

    def halve(x):
        return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean(axis=(1, 3))

    x, y, m = hr[0, ..., 0], sr[0, ..., 0], mask[0]
    _, fine = factors(x, y)
    luminance, coarse = factors(halve(x), halve(y))
    first, second = scale_weights(32, 32)
    expected = (
        np.average(fine, weights=m) ** first * np.average(luminance * coarse, weights=halve(m)) ** second
    )
    np.testing.assert_allclose(numpy(ms_ssim(hr, sr, 1.0, mask=mask)), [expected], atol=1e-4)
    assert np.isnan(numpy(ms_ssim(hr, sr, 1.0, mask=0 * mask))).all()
    # The reference is the one that scikit-image computes.
    full = structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )[1]
    whole, inner = factors(x, y), np.s_[5:-5, 5:-5]
    np.testing.assert_allclose((whole[0] * whole[1])[inner], full[inner], atol=1e-5)


def test_equal_and_opposite_images():
    hr, _ = make_pair(50, 50)
    np.testing.assert_allclose(numpy(ms_ssim(hr, hr, 1.0)), np.ones(2), atol=1e-5)
    assert np.all(numpy(ms_ssim(hr, 1 - hr, 1.0)) == 0)  # A negative structure has no real power.


def test_bad_input():
    with pytest.raises(MrisrError, match="11x11"):
        ms_ssim(np.zeros((1, 10, 30, 1)), np.zeros((1, 10, 30, 1)), 1.0)
    with pytest.raises(MrisrError, match="data_range"):
        ms_ssim(*make_pair(20, 20), 0)


def test_metric_is_the_mean_per_image_and_survives_serialisation():
    hr, sr = make_pair(24, 24, n=3)
    metric = MultiScaleSSIM(data_range=1.0)
    metric.update_state(hr[:2], sr[:2])
    metric.update_state(hr[2:], sr[2:])
    np.testing.assert_allclose(float(metric.result()), numpy(ms_ssim(hr, sr, 1.0)).mean(), rtol=1e-5)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(twin, MultiScaleSSIM) and twin.get_config() == metric.get_config()
