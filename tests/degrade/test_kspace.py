import numpy as np
import pytest
import tensorflow as tf
from scipy.signal import resample
from scipy.special import expit

from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.kspace import zero_fill_matrix
from keras_mrisr.errors import MrisrError

# LR sizes: even and odd, square and not.
SIZES = [(8, 8), (9, 9), (8, 11), (7, 6), (1, 2)]
WINDOWS = [
    {},
    {"window": "hamming"},
    {"window": "hann"},
    {"window": "kaiser"},
    {"window": "fermi"},
    {"window": "tukey"},
    {"window": "tukey", "alpha": 1.0},
]


def signed(scale=2, **arguments):
    return get_degradation("kspace", scale, magnitude=False, **arguments)


def crop_by_fft(image, scale, window=lambda u: np.ones_like(u)):
    """The crop in its own words, for an image (H, W): shifted, weighted, cropped, transformed back."""
    for axis in (0, 1):
        size = image.shape[axis]
        count = size // scale
        f = np.fft.fftfreq(size)
        spectrum = np.fft.fft(image, axis=axis).swapaxes(axis, -1)
        spectrum = spectrum * np.exp(2j * np.pi * f * (scale - 1) / 2)
        k = np.arange(-(count // 2), (count + 1) // 2)
        cropped = spectrum[..., k % size]
        if count % 2 == 0:  # -n/2 and +n/2 are one LR frequency.
            cropped[..., 0] += spectrum[..., count // 2]
        cropped = cropped * window(2 * np.abs(k) / count)
        image = np.fft.ifft(np.fft.ifftshift(cropped, axes=-1), axis=-1).swapaxes(axis, -1) / scale
    np.testing.assert_allclose(image.imag, 0, atol=1e-12)
    return image.real


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_cropped_fourier_transform(size, scale):
    image = np.random.default_rng(0).normal(size=(size[0] * scale, size[1] * scale))
    lr = np.asarray(signed(scale)(image[np.newaxis, ..., np.newaxis].astype("float32")))[0, ..., 0]
    expected = crop_by_fft(image, scale)
    np.testing.assert_allclose(lr, expected, atol=2e-6)
    magnitude = get_degradation("kspace", scale).degrade(image[..., np.newaxis].astype("float32"))
    np.testing.assert_allclose(magnitude[..., 0], np.abs(expected), atol=2e-6)


@pytest.mark.parametrize(
    ("arguments", "window"),
    [
        ({"window": "hamming"}, lambda u: np.hamming(201)[np.rint(100 + 100 * u).astype(int)]),
        ({"window": "tukey"}, lambda u: np.where(u < 0.5, 1, 0.5 + 0.5 * np.cos(2 * np.pi * (u - 0.5)))),
        ({"window": "hann"}, lambda u: np.hanning(201)[np.rint(100 + 100 * u).astype(int)]),
        ({"window": "kaiser"}, lambda u: np.kaiser(201, 4.0)[np.rint(100 + 100 * u).astype(int)]),
        (
            {"window": "kaiser", "alpha": 20},
            lambda u: np.kaiser(201, 20.0)[np.rint(100 + 100 * u).astype(int)],
        ),
        ({"window": "fermi"}, lambda u: expit((0.8 - u) / 0.05)),
        ({"window": "fermi", "alpha": 0.1}, lambda u: expit((0.6 - u) / 0.1)),
        ({"window": "tukey", "alpha": 1.0}, lambda u: np.hanning(201)[np.rint(100 + 100 * u).astype(int)]),
    ],
)
def test_windows(arguments, window):
    image = np.random.default_rng(1).normal(size=(40, 20))  # 2 |k| / n are multiples of 0.1 and 0.2.
    lr = np.asarray(signed(2, **arguments)(image[np.newaxis, ..., np.newaxis].astype("float32")))[0, ..., 0]
    np.testing.assert_allclose(lr, crop_by_fft(image, 2, window), atol=2e-6)


@pytest.mark.parametrize("count", [8, 9])
def test_equals_scipy_after_the_shift(count):
    # resample() aligns the first pixels: at an odd scale, one HR pixel later is the centre.
    x = np.random.default_rng(2).normal(size=3 * count)
    np.testing.assert_allclose(signed(3).axis_matrix(3 * count) @ x, resample(np.roll(x, -1), count))


@pytest.mark.parametrize("arguments", WINDOWS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_point_source_stays_in_place(scale, arguments):
    # The slice is periodic and the response rings over all of it, so that the centre of mass is measured
    # on the circle: as the phase of the lowest frequency. Exact at every phase of the grids.
    def place(image, pixel):
        angles = 2 * np.pi * (np.arange(image.shape[0]) + 0.5) / image.shape[0]
        turn = np.angle(np.sum(image.sum(axis=1) * np.exp(1j * angles))) / (2 * np.pi) % 1
        return turn * image.shape[0] * pixel - 0.5

    for row in range(20, 20 + scale):
        image = np.zeros((12 * scale, 11 * scale, 1), "float32")
        image[row, 7] = 1.0
        lr = signed(scale, **arguments).degrade(image)[..., 0]
        assert place(lr, scale) == pytest.approx(row, abs=0.01)
        assert place(lr.T, scale) == pytest.approx(7, abs=0.01)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_blob_stays_in_place(scale, dtype, centroid):
    y, x = np.mgrid[:120, :120]
    image = np.exp(-((y - 60.3) ** 2 + (x - 55.8) ** 2) / (2 * (1.5 * scale) ** 2))
    image = (image * (60000 if dtype == "uint16" else 1)).astype(dtype)[..., np.newaxis]
    lr = get_degradation("kspace", scale, window="hamming").degrade(image)
    np.testing.assert_allclose(centroid(lr[..., 0], scale), (60.3, 55.8), atol=0.01)


@pytest.mark.parametrize("arguments", WINDOWS)
def test_commutes_with_flips_and_turns(arguments):
    image = np.random.default_rng(3).random((16, 18, 1), dtype="float32")
    degrade = get_degradation("kspace", 2, **arguments).degrade
    np.testing.assert_allclose(degrade(image[::-1]), degrade(image)[::-1], atol=1e-6)
    np.testing.assert_allclose(degrade(np.rot90(image)), np.rot90(degrade(image)), atol=1e-6)


@pytest.mark.parametrize("arguments", WINDOWS)
def test_mean_intensity_stays(arguments):
    image = np.random.default_rng(4).random((24, 30, 2))
    lr = signed(3, **arguments).degrade(image.astype("float32"))
    np.testing.assert_allclose(lr.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=1e-6)


def test_complex_arrays_and_two_channels_are_the_same():
    rng = np.random.default_rng(5)
    image = (rng.normal(size=(12, 14, 1)) + 1j * rng.normal(size=(12, 14, 1))).astype("complex64")
    lr = get_degradation("kspace", 2).degrade(image)
    assert lr.dtype == "complex64"
    parts = signed(2).degrade(np.concatenate([image.real, image.imag], axis=-1))
    np.testing.assert_allclose(lr[..., 0], parts[..., 0] + 1j * parts[..., 1], atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_zero_filling_is_the_inverse_of_least_energy(count, scale):
    crop = signed(scale).axis_matrix(scale * count)
    np.testing.assert_allclose(zero_fill_matrix(count, scale), np.linalg.pinv(crop), atol=1e-12)
    np.testing.assert_allclose(crop @ zero_fill_matrix(count, scale), np.eye(count), atol=1e-12)


@pytest.mark.parametrize("arguments", [*WINDOWS, {"magnitude": True}])
def test_gradient_is_the_transposed_operator(arguments):
    degradation = get_degradation("kspace", 2, **{"magnitude": False, **arguments})
    rng = np.random.default_rng(6)
    x = tf.constant(rng.random((1, 10, 8, 1), dtype="float32"))
    weights = rng.normal(size=(1, 5, 4, 1)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        lr = degradation(x)
        total = tf.reduce_sum(lr * weights)
    rows, columns = (degradation.axis_matrix(size) for size in (10, 8))
    signs = np.sign(rows @ x[0, ..., 0] @ columns.T) if degradation.magnitude else 1
    expected = rows.T @ (weights[0, ..., 0] * signs) @ columns
    np.testing.assert_allclose(tape.gradient(total, x)[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("arguments", WINDOWS)
def test_any_size_in_one_graph(arguments, smooth_image):
    degradation = get_degradation("kspace", 2, **arguments)
    compiled = tf.function(degradation, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for height, width in ((30, 32), (512, 20)):
        x = smooth_image(height, width, 3, "float32")[np.newaxis]
        np.testing.assert_allclose(compiled(x), degradation(x), atol=1e-5)
    assert compiled.experimental_get_tracing_count() == 1


def test_arguments_are_kept():
    degradation = get_degradation("kspace", 2, window="tukey", alpha=0.3, magnitude=False)
    expected = {"name": "kspace", "scale": 2, "window": "tukey", "alpha": 0.3, "magnitude": False}
    assert degradation.to_dict() == expected
    assert get_degradation("kspace", 2).to_dict() == {
        **expected, "window": "none", "alpha": None, "magnitude": True,
    }  # fmt: skip


def test_bad_sizes():
    degradation = get_degradation("kspace", 4)
    with pytest.raises(MrisrError, match="3x40 is too small for the degradation 'kspace' at scale 4"):
        degradation.degrade(np.zeros((3, 40, 1), "uint8"))
    with pytest.raises(MrisrError, match="40x41 cannot be divided by the scale 4"):
        degradation.degrade(np.zeros((40, 41, 1), "complex64"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 0},
        {"scale": 2.5},
        {"window": "blackman"},
        {"window": None},
        {"window": "hamming", "alpha": 0.5},
        {"window": "tukey", "alpha": 0.0},
        {"window": "tukey", "alpha": 1.5},
        {"window": "tukey", "alpha": "x"},
        {"magnitude": "x"},
    ],
)
def test_bad_arguments(arguments):
    key = list(arguments)[-1]
    with pytest.raises(MrisrError, match=f"{key}=") as error:
        get_degradation(**{"name": "kspace", "scale": 2, **arguments})
    assert "\n" not in str(error.value)
