import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from keras_mrisr.degrade import get_degradation

SCALES = (2, 3, 4, 8)


def pillow(image, scale, radius):
    """The paper's degradation in its own words: (H, W, C) uint8."""
    planes = []
    for channel in range(image.shape[-1]):
        plane = Image.fromarray(image[..., channel])
        if radius:
            plane = plane.filter(ImageFilter.GaussianBlur(radius=radius))
        planes.append(plane.resize((plane.width // scale, plane.height // scale), Image.BICUBIC))
    return np.stack(planes, axis=-1)


def pillow_float(image, scale):
    """Pillow's bicubic in float: (H, W) float32."""
    return np.asarray(
        Image.fromarray(image).resize((image.shape[1] // scale, image.shape[0] // scale), Image.BICUBIC)
    )


def noise(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype="uint8")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "radius"), [("paper", 2), ("bicubic", 0)])
def test_8_bit_slices_equal_pillow(name, radius, scale, smooth_image):
    degradation = get_degradation(name, scale)
    for image in (smooth_image(72, 48, 3), noise(48, 72, 3)):
        np.testing.assert_array_equal(degradation.degrade(image), pillow(image, scale, radius))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "radius", "limit"), [("paper", 2, 2.0), ("bicubic", 0, 1.01)])
def test_operator_agrees_with_pillow_within_rounding(name, radius, limit, scale, smooth_image):
    # Pillow rounds to 8 bits after each of its passes, clips, and blurs in fixed point.
    image = smooth_image(240, 192)
    sr = 255 * np.asarray(get_degradation(name, scale)(image[np.newaxis].astype("float32") / 255))[0]
    error = np.clip(sr, 0, 255) - pillow(image, scale, radius)
    assert np.abs(error).max() < limit
    assert abs(error.mean()) < 0.05


def test_colour_image_equals_its_channels():
    # Pillow filters RGB images channel by channel: the grey and the colour path are one.
    image = noise(32, 32, 3)
    whole = Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)).resize((16, 16), Image.BICUBIC)
    np.testing.assert_array_equal(get_degradation("paper", 2).degrade(image), np.asarray(whole))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("sigma", [0.0, 1.0, 1.5, 2.0])
def test_equals_scipy_and_pillow_in_float(scale, sigma):
    image = noise(72, 96).astype("float32")[..., 0] / 255
    degradation = get_degradation("paper", scale, kernel="gaussian", sigma=sigma)
    blurred = gaussian_filter(image, sigma, mode="nearest", truncate=4.0) if sigma else image
    lr = degradation(image[np.newaxis, ..., np.newaxis])[0, ..., 0]
    np.testing.assert_allclose(lr, pillow_float(blurred, scale), atol=2e-6)


@pytest.mark.parametrize("size", [3, 7])
def test_kernel_size(size):
    image = noise(32, 32).astype("float32")[..., 0] / 255
    degradation = get_degradation("paper", 2, kernel="gaussian", sigma=2.0, kernel_size=size)
    blurred = gaussian_filter(image, 2.0, mode="nearest", radius=size // 2)
    lr = degradation(image[np.newaxis, ..., np.newaxis])[0, ..., 0]
    np.testing.assert_allclose(lr, pillow_float(blurred, 2), atol=2e-6)


def test_without_antialiasing_by_hand():
    image = noise(16, 18).astype("float32")[np.newaxis] / 255
    # Half-way between two pixels Keys' kernel (a = -0.5) is (-1, 9, 9, -1) / 16.
    lr = np.asarray(get_degradation("bicubic", 2, antialias=False)(image))[0, ..., 0]
    taps = np.array([-1, 9, 9, -1]) / 16
    expected = np.einsum("yx,y,x->", image[0, 3:7, 5:9, 0], taps, taps)
    assert lr[2, 3] == pytest.approx(expected, abs=1e-6)
    # At an odd scale the centre of an LR pixel is that of an HR pixel.
    three = get_degradation("bicubic", 3, antialias=False)(image[:, :15])
    np.testing.assert_allclose(three, image[:, 1:15:3, 1::3], atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["paper", "bicubic"])
def test_point_source_stays_in_place(name, scale, centroid):
    # Exact at every phase: Keys' kernel reproduces straight lines, so also under aliasing the first moment
    # of its samples is the position.
    middle = 48
    places = [
        (middle + dy, middle + dx) for dy in range(0, scale, max(1, scale // 3)) for dx in (0, scale - 1)
    ]
    x = np.zeros((len(places), 96, 96, 1), "float32")
    for image, (row, column) in zip(x, places, strict=True):
        image[row, column] = 1.0
    lr = np.asarray(get_degradation(name, scale)(x))[..., 0]
    for image, place in zip(lr, places, strict=True):
        np.testing.assert_allclose(centroid(image, scale), place, atol=0.01)


@pytest.mark.parametrize("scale", (2, 4))
def test_point_source_without_antialiasing_stays_in_place_on_average(scale, centroid):
    # A single one may fall between the LR pixels' four taps; the mean over all phases may not move.
    x = np.zeros((scale * scale, 32, 32, 1), "float32")
    for phase, image in enumerate(x):
        image[16 + phase // scale, 16 + phase % scale] = 1.0
    lr = np.asarray(get_degradation("bicubic", scale, antialias=False)(x)).sum(axis=0)[..., 0]
    np.testing.assert_allclose(centroid(lr, scale), [16 + (scale - 1) / 2] * 2, atol=0.01)


@pytest.mark.parametrize("scale", SCALES)
def test_blob_in_8_bits_stays_in_place(scale, centroid):
    # Pillow itself: a point would be lost in its rounding, so a blob with its centre between pixels.
    y, x = np.mgrid[:120, :120]
    image = np.rint(255 * np.exp(-((y - 60.3) ** 2 + (x - 55.8) ** 2) / (2 * 12**2))).astype("uint8")
    lr = get_degradation("paper", scale).degrade(image[..., np.newaxis])[..., 0]
    np.testing.assert_allclose(centroid(lr, scale), centroid(image), atol=0.05)


@pytest.mark.parametrize("arguments", [{}, {"kernel": "gaussian"}, {"sigma": 0.0}, {"antialias": False}])
def test_gradient_is_the_transposed_operator(arguments):
    degradation = get_degradation("paper", 2, **{"sigma": 0.8, **arguments})
    size = 8
    basis = np.eye(size * size, dtype="float32").reshape(-1, size, size, 1)
    matrix = np.asarray(degradation(basis)).reshape(size * size, -1).T  # LR pixels x HR pixels

    rng = np.random.default_rng(0)
    x = tf.constant(rng.random((1, size, size, 1), dtype="float32"))
    weights = rng.normal(size=(size // 2) ** 2).astype("float32")
    np.testing.assert_allclose(np.ravel(degradation(x)), matrix @ np.ravel(x), atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.reshape(degradation(x), [-1]) * weights)
    gradient = tape.gradient(total, x)
    np.testing.assert_allclose(np.ravel(gradient), matrix.T @ weights, atol=1e-5)


def test_rounding_to_8_bits_passes_the_gradient(smooth_image):
    plain = get_degradation("paper", 2)
    rounded = get_degradation("paper", 2, round_8bit=True)
    x = tf.constant(smooth_image(32, 32, 1, "float32")[np.newaxis])
    levels = 255 * np.asarray(rounded(x))
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert np.abs(levels - 255 * np.asarray(plain(x))).max() < 0.501
    gradients = []
    for degradation in (plain, rounded):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(degradation(x))
        gradients.append(tape.gradient(total, x))
    np.testing.assert_allclose(*gradients, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rounding_of_integer_slices_is_relative_to_their_type(dtype, smooth_image):
    image = smooth_image(32, 32, 1, dtype)
    plain = get_degradation("paper", 2, kernel="gaussian").degrade(image).astype(float)
    rounded = get_degradation("paper", 2, kernel="gaussian", round_8bit=True).degrade(image)
    step = np.iinfo(dtype).max // 255
    assert np.all(rounded % step == 0)
    assert np.abs(rounded - plain).max() <= step // 2 + 1


def test_16_bit_slices_keep_their_depth(smooth_image):
    image = smooth_image(32, 32, 1, "uint16")
    lr = get_degradation("bicubic", 2).degrade(image)[..., 0]
    expected = np.clip(np.rint(pillow_float(image[..., 0].astype("float32"), 2)), 0, 65535)
    assert np.abs(lr - expected).max() <= 1


def test_any_size_in_one_graph(smooth_image):
    degradation = get_degradation("paper", 2)
    compiled = tf.function(degradation, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for height, width in ((32, 32), (48, 20)):
        x = smooth_image(height, width, 3, "float32")[np.newaxis]
        np.testing.assert_allclose(compiled(x), degradation(x), atol=1e-6)
    assert compiled.experimental_get_tracing_count() == 1


def test_a_slice_must_be_degraded_before_it_is_cropped(smooth_image):
    # Why the pipeline degrades whole slices: a crop's border has lost its neighbours.
    degradation = get_degradation("paper", 2)
    image = smooth_image(64, 64, 1, "float32")[np.newaxis]
    whole = np.asarray(degradation(image))[:, 8:24, 8:24]
    cropped = np.asarray(degradation(image[:, 16:48, 16:48]))
    inside = (slice(None), slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(whole[inside], cropped[inside], atol=1e-6)
    assert np.abs(whole - cropped).max() > 0.01


def test_scale_1_only_blurs(smooth_image):
    image = smooth_image(24, 24)
    blurred = Image.fromarray(image[..., 0]).filter(ImageFilter.GaussianBlur(2))
    np.testing.assert_array_equal(get_degradation("paper", 1).degrade(image)[..., 0], blurred)
    np.testing.assert_array_equal(get_degradation("bicubic", 1).degrade(image), image)
