import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.degrade import interpolate
from keras_mrisr.layers import ICNR, BicubicUpsampling, ContentNoise, PixelShuffle
from keras_mrisr.models.blocks import prelu


@pytest.mark.parametrize("scale", [2, 3])
def test_pixel_shuffle(scale):
    x = np.random.default_rng(0).random((2, 4, 5, 3 * scale**2), dtype="float32")
    expected = x.reshape(2, 4, 5, scale, scale, 3).transpose(0, 1, 3, 2, 4, 5)
    expected = expected.reshape(2, 4 * scale, 5 * scale, 3)
    y = PixelShuffle(scale)(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(y, tf.nn.depth_to_space(x, scale))


def test_pixel_shuffle_by_hand():
    x = np.arange(8, dtype="float32").reshape(1, 1, 2, 4)
    np.testing.assert_array_equal(PixelShuffle(2)(x)[0, ..., 0], [[0, 1, 4, 5], [2, 3, 6, 7]])


@pytest.mark.parametrize(
    "layer",
    [PixelShuffle(3, name="a"), BicubicUpsampling(3, name="a"), ContentNoise(3, 2, seed=5, name="a")],
    ids=lambda x: type(x).__name__,
)
def test_layers_serialise(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    x = np.random.default_rng(0).random((1, 4, 4, 9), dtype="float32")
    np.testing.assert_array_equal(again(x), layer(x))
    assert not layer.weights


@pytest.mark.parametrize("layer", [PixelShuffle, BicubicUpsampling, ContentNoise])
def test_shapes_are_known_before_the_call(layer):
    out = 4 if layer is BicubicUpsampling else 1
    assert layer(2).compute_output_shape((None, None, None, 4)) == (None, None, None, out)
    assert layer(2)(keras.Input((3, None, 4))).shape == (None, 6, None, out)
    assert tuple(layer(2)(np.zeros((1, 3, 5, 4), "float32")).shape) == (1, 6, 10, out)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_upsampling_is_pillows_inside(scale, smooth_image):
    image = smooth_image(10, 13, 3, "float32")
    y = np.asarray(BicubicUpsampling(scale)(image[np.newaxis]))[0]
    inside = slice(2 * scale, -2 * scale)
    expected = interpolate(image, scale, "bicubic")
    np.testing.assert_allclose(y[inside, inside], expected[inside, inside], atol=2e-6)


def test_bicubic_upsampling_repeats_the_edge():
    image = np.random.default_rng(0).random((1, 4, 5, 1), dtype="float32")
    y = BicubicUpsampling(2)(image)
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    np.testing.assert_allclose(y, BicubicUpsampling(2)(padded)[:, 4:-4, 4:-4], atol=1e-6)
    np.testing.assert_allclose(BicubicUpsampling(3)(np.full((1, 1, 1, 2), 0.7, "float32")), 0.7, atol=1e-6)


def grey_levels(size=64, channels=1):
    """A slope with noise of a grey level, in whole grey levels of 255."""
    noise = np.random.default_rng(0).normal(0, 1, (1, size, size, channels))
    slope = np.linspace(40, 120, size)[:, np.newaxis, np.newaxis]
    return (np.rint(slope + noise) / 255).astype("float32")


@pytest.mark.parametrize("scale", [2, 4])
def test_content_noise_against_numpy(scale):
    x = grey_levels(size=8, channels=2)
    noise = np.asarray(ContentNoise(scale, 3, seed=1)(x))[0]
    kernel = np.random.default_rng(1).uniform(-2, 2, (3, 3, 2, scale**2 * 3))
    kernel -= kernel.mean(axis=(0, 1))
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)), mode="edge")
    for row, column, channel in ((0, 0, 0), (5, 2, 1), (8 * scale - 1, 3, 2), (9, 8 * scale - 1, 0)):
        (y, phase_y), (x_, phase_x) = divmod(row, scale), divmod(column, scale)
        kind = (phase_y * scale + phase_x) * 3 + channel
        expected = np.sin(np.sum(255.0 * padded[y : y + 3, x_ : x_ + 3] * kernel[..., kind]))
        assert noise[row, column, channel] == pytest.approx(expected, abs=1e-3)


def test_content_noise_is_white():
    noise = np.asarray(ContentNoise(4, 2)(grey_levels()))[0]
    assert np.abs(noise.mean(axis=(0, 1))).max() < 0.02
    np.testing.assert_allclose(noise.std(axis=(0, 1)), np.sqrt(0.5), atol=0.05)
    for channel in np.moveaxis(noise, -1, 0):
        power = np.abs(np.fft.fft2(channel - channel.mean())) ** 2
        correlation = np.fft.ifft2(power).real / power.mean()
        correlation[0, 0] = 0
        assert np.abs(correlation).max() < 0.03
        # No line at the period of the grid.
        assert power[::64].mean() < 1.3 * power.mean() and power[:, ::64].mean() < 1.3 * power.mean()
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03


def test_content_noise_is_that_of_the_image_and_not_of_its_brightness():
    x = grey_levels()
    layer = ContentNoise(2)
    np.testing.assert_allclose(layer(x + np.float32(30 / 255)), layer(x), atol=2e-3)
    assert np.abs(np.asarray(layer(x[:, ::-1])) - np.asarray(layer(x))).mean() > 0.3
    assert np.abs(layer(np.full((1, 8, 8, 1), 0.6, "float32"))).max() < 1e-3
    # In tiles as in the whole.
    np.testing.assert_allclose(layer(x[:, 10:30])[:, 2:-2], layer(x)[:, 22:58], atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3])
def test_icnr_starts_as_nearest_upscaling(scale):
    conv = keras.layers.Conv2D(2 * scale**2, 3, padding="same", kernel_initializer=ICNR(scale))
    x = np.random.default_rng(0).random((1, 4, 5, 3), dtype="float32")
    y = np.asarray(PixelShuffle(scale)(conv(x)))
    nearest = y[:, ::scale, ::scale].repeat(scale, axis=1).repeat(scale, axis=2)
    # Processors may sum the channels of a kernel in different orders: equal but for float32's last digits.
    np.testing.assert_allclose(y, nearest, atol=1e-6)
    assert y[0, ::scale, ::scale].std() > 0.01
    assert not np.allclose(y[..., 0], y[..., 1])


def test_icnr_serialises():
    initializer = ICNR(2, keras.initializers.HeNormal(seed=3))
    again = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    assert isinstance(again, ICNR)
    assert again.get_config() == initializer.get_config()
    np.testing.assert_array_equal(again((3, 3, 2, 8)), initializer((3, 3, 2, 8)))


def test_icnr_scales_with_the_small_kernel():
    # The variance is that of a convolution to C channels, not to C * s**2.
    small = keras.initializers.GlorotUniform(seed=0)((3, 3, 8, 8))
    limit = float(np.abs(small).max())
    assert np.abs(np.asarray(ICNR(2)((3, 3, 8, 32)))).max() == pytest.approx(limit, rel=0.05)


def test_prelu_has_one_slope_a_channel():
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, prelu(inputs, "slopes"))
    (slope,) = model.get_layer("slopes").weights
    assert tuple(slope.shape) == (1, 1, 6)
    x = np.array([-2.0, 3.0] * 3, "float32").reshape(1, 1, 1, 6)
    np.testing.assert_allclose(model(x), np.where(x > 0, x, 0.25 * x))
