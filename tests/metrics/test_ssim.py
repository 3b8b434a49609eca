import keras
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import PSNR, SSIM, ssim, ssim_map


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :36] / 40.0
    smooth = np.stack([x * y, 0.9 + 0.0 * x, np.sin(9 * x) ** 2], axis=-1)
    hr = np.stack([smooth, np.zeros_like(smooth), rng.random(smooth.shape)])
    return hr, np.clip(hr + rng.normal(0, 0.03, hr.shape), 0, 1)


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def reference(hr, sr, data_range, full=False):
    return structural_similarity(
        hr,
        sr,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        channel_axis=-1,
        full=full,
    )


@pytest.mark.parametrize(
    "kind,data_range,tolerance", [("float64", 1.0, 1e-5), ("float32", 1.0, 1e-4), ("uint8", 255, 1e-4)]
)
def test_equals_skimage(pair, kind, data_range, tolerance):
    hr, sr = ((x * data_range).astype(kind) for x in pair)
    expected = [reference(a, b, data_range) for a, b in zip(hr, sr, strict=True)]
    values = numpy(ssim(hr, sr, data_range))
    assert values.shape == (3,)
    np.testing.assert_allclose(values, expected, atol=tolerance)


def test_map_lies_five_pixels_inside(pair):
    hr, sr = pair
    values = numpy(ssim_map(hr, sr, 1.0))
    assert values.shape == (3, 30, 26, 3)
    full = reference(hr[0], sr[0], 1.0, full=True)[1]
    np.testing.assert_allclose(values[0], full[5:-5, 5:-5], atol=1e-4)


def test_mask_averages_the_map(pair):
    hr, sr = pair
    mask = np.zeros(hr.shape[:3])
    mask[0, 8:20, 9:30] = 1
    mask[1, :4] = 1  # Only where the map has no values.
    values = numpy(ssim(hr, sr, 1.0, mask=mask))
    full = reference(hr[0], sr[0], 1.0, full=True)[1]
    np.testing.assert_allclose(values[0], full[8:20, 9:30].mean(), atol=1e-4)
    assert np.all(np.isnan(values[1:]))


def test_equal_images_are_one(pair):
    np.testing.assert_allclose(numpy(ssim(pair[0], pair[0], 1.0)), np.ones(3), atol=1e-6)


def test_smaller_than_the_window():
    with pytest.raises(MrisrError, match="11x11"):
        ssim(np.zeros((1, 10, 30, 1)), np.zeros((1, 10, 30, 1)), 1.0)


def test_metric_is_the_mean_per_image_over_batches(pair):
    hr, sr = (x.astype("float32") for x in pair)
    metric = SSIM(data_range=1.0)
    metric.update_state(hr[:2], sr[:2])
    metric.update_state(hr[2:], sr[2:])
    np.testing.assert_allclose(float(metric.result()), numpy(ssim(hr, sr, 1.0)).mean(), rtol=1e-5)


def test_metric_survives_serialisation():
    metric = SSIM(data_range=2.0)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(twin, SSIM)
    assert twin.get_config() == metric.get_config()


def test_in_compile_with_sizes_known_at_run_time(pair):
    """The graph of `fit` doesn't know height and width of a fully convolutional model."""
    hr, sr = (x.astype("float32") for x in pair)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile(loss="mae", metrics=[PSNR(data_range=1.0), SSIM(data_range=1.0)])
    logs = model.evaluate(sr, hr, batch_size=2, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["ssim"], numpy(ssim(hr, sr, 1.0)).mean(), atol=1e-5)
