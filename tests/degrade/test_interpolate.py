import numpy as np
import pytest
from PIL import Image
from scipy.signal import resample

from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.degrade.interpolate import METHODS
from keras_mrisr.errors import MrisrError

FILTERS = {"nearest": Image.NEAREST, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def test_zero_filled_equals_scipy(smooth_image):
    # resample() aligns the first pixels: at scale 3 the first LR centre is that of the second HR pixel.
    image = smooth_image(9, 12, 2, "float32")
    big = resample(resample(image, 27, axis=0), 36, axis=1)
    np.testing.assert_allclose(
        interpolate(image, 3, "zero-filled"), np.roll(big, (1, 1), axis=(0, 1)), atol=1e-6
    )


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_zero_filled_is_undone_by_the_crop(dtype, scale, smooth_image):
    image = smooth_image(15, 20, 3, dtype)
    again = get_degradation("kspace", scale).degrade(interpolate(image, scale, "zero-filled"))
    assert again.dtype == image.dtype
    # Rounding and clipping of the big image leave their trace.
    limit = 1e-6 if dtype == "float32" else np.iinfo(dtype).max * 0.05
    assert np.abs(again.astype("float64") - image).max() <= limit


@pytest.mark.parametrize("scale", [2, 3])
def test_zero_filled_stays_in_place(scale, centroid):
    y, x = np.mgrid[:24, :25]
    image = np.exp(-((y - 9) ** 2 + (x - 13) ** 2) / (2 * 1.5**2)).astype("float32")[..., np.newaxis]
    big = interpolate(image, scale, "zero-filled")[..., 0]
    np.testing.assert_allclose(centroid(big, 1 / scale), (9, 13), atol=0.01)


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_equals_pillow_on_8_bits(method, channels, smooth_image):
    image = smooth_image(13, 20, channels)
    expected = [
        Image.fromarray(np.ascontiguousarray(plane)).resize((60, 39), FILTERS[method])
        for plane in np.moveaxis(image, -1, 0)
    ]
    np.testing.assert_array_equal(interpolate(image, 3, method), np.stack(expected, axis=-1))


@pytest.mark.parametrize("method", FILTERS)
def test_colour_equals_pillow_on_the_whole_image(method, smooth_image):
    image = smooth_image(8, 8, 3)
    whole = Image.fromarray(image).resize((16, 16), FILTERS[method])
    np.testing.assert_array_equal(interpolate(image, 2, method), np.asarray(whole))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_type_and_range_are_kept(method, dtype):
    # Overshoot at a hard edge must not wrap around.
    image = np.zeros((8, 8, 1), dtype)
    image[:, 4:] = np.iinfo(dtype).max if dtype != "float32" else 1.0
    big = interpolate(image, 2, method)
    assert big.dtype == image.dtype
    assert big.shape == (16, 16, 1)
    assert np.all(big[:, :5] <= image.max() / 4)
    assert np.all(big[:, -5:] >= image.max() / 4 * 3)


@pytest.mark.parametrize("method", FILTERS)
def test_16_bits_are_as_exact_as_float(method, smooth_image):
    image = smooth_image(9, 12, 1, "uint16")
    expected = np.clip(np.rint(interpolate(image.astype("float32"), 2, method)), 0, 65535)
    np.testing.assert_array_equal(interpolate(image, 2, method), expected)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("method", FILTERS)
def test_point_source_stays_in_place(method, scale, centroid):
    image = np.zeros((24, 24, 1), "float32")
    image[9, 13] = 1.0
    big = interpolate(image, scale, method)[..., 0]
    # From HR pixels back to LR pixels: both grids share their outer edges.
    np.testing.assert_allclose(centroid(big, 1 / scale), (9, 13), atol=0.01)


def test_unknown_method():
    with pytest.raises(MrisrError, match=r"Unknown interpolation 'cubic'\. Known: .*, zero-filled\."):
        interpolate(np.zeros((4, 4, 1), "uint8"), 2, "cubic")
