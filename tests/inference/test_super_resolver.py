import numpy as np
import pytest

from keras_mrisr.errors import InputError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.models.storage import ModelInfo


class Function:
    """Stands in for a generator."""

    def __init__(self, function):
        self.function = function

    def predict_on_batch(self, lr):
        return np.stack([self.function(one) for one in lr])


def nearest(lr):
    return lr.repeat(2, axis=0).repeat(2, axis=1)


def lopsided(lr):
    """Commutes with no flip and no turn."""
    sr = nearest(lr)
    y, x = np.mgrid[: sr.shape[0], : sr.shape[1]]
    return sr * (1 + 0.01 * (3 * y + x))[..., np.newaxis].astype("float32")


def resolver(function=nearest, channels=1):
    return SuperResolver(Function(function), ModelInfo(2, channels, generator={}, degradation={}))


@pytest.fixture(scope="module")
def trained(models):
    return {name: SuperResolver.load(models[name]) for name in ("grey", "rgb")}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", ">u2"])
@pytest.mark.parametrize(
    ("name", "shape"), [("grey", (6, 9)), ("grey", (6, 9, 1)), ("rgb", (6, 9, 3)), ("rgb", (2, 6, 9, 3))]
)
def test_shape_and_type_stay(trained, smooth_image, name, shape, dtype):
    channels = trained[name].channels
    image = smooth_image(6, 9, channels, "float32")
    image = np.broadcast_to(image, (*shape[:-3], 6, 9, channels)).reshape(shape)
    image = (image * 4000 if dtype != "uint8" else image * 255).astype(dtype)
    sr = trained[name](image)
    height = 0 if len(shape) < 4 else 1
    expected = [2 * size if axis in (height, height + 1) else size for axis, size in enumerate(shape)]
    assert sr.shape == tuple(expected)
    assert sr.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("size", [(7, 5), (1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("ensemble", [False, True])
def test_any_size(trained, smooth_image, size, ensemble):
    image = smooth_image(*size, dtype="uint16") if min(size) > 1 else np.arange(np.prod(size)).reshape(size)
    sr = trained["grey"](image.astype("uint16").reshape(size), ensemble=ensemble)
    assert sr.shape == (2 * size[0], 2 * size[1])


def test_batch_equals_single(trained, smooth_image):
    batch = np.stack([smooth_image(8, 10, 3, "uint16", seed) // (1 + seed) for seed in range(3)])
    for ensemble in (False, True):
        single = np.stack([trained["rgb"](one, ensemble) for one in batch])
        np.testing.assert_array_equal(trained["rgb"](batch, ensemble), single)


@pytest.mark.parametrize(
    ("dtype", "top"), [("uint8", 90), ("uint16", 4000), ("uint16", 65535), ("float32", 0.02)]
)
def test_intensities_come_back(dtype, top):
    rng = np.random.default_rng(0)
    image = (rng.uniform(0, 1, (20, 30)) * top).astype(dtype)
    sr = resolver()(image)
    np.testing.assert_allclose(sr, nearest(image), rtol=1e-6 if dtype == "float32" else 0)


def test_negative_intensities_come_back():
    image = np.linspace(-1000, 3000, 300, dtype="float32").reshape(15, 20)
    np.testing.assert_allclose(resolver()(image), nearest(image), atol=1e-3)


def test_results_beyond_the_type_are_clipped():
    image = np.array([[0, 65535], [32768, 100]], "uint16")
    assert resolver(lambda lr: nearest(lr) * 3 - 1)(image).tolist()[0] == [0, 0, 65535, 65535]


def test_ensemble_of_an_equivariant_model_is_the_model(smooth_image):
    image = smooth_image(6, 9, 3, "float32")
    np.testing.assert_allclose(resolver(channels=3)(image, ensemble=True), nearest(image), rtol=1e-5)


def test_ensemble_is_the_mean_over_the_square(smooth_image):
    image = smooth_image(6, 9, 1, "uint8")
    lr = (image / np.float32(255)).astype("float32")
    total = np.zeros((12, 18, 1))
    for transpose in (False, True):
        for up_down in (1, -1):
            for left_right in (1, -1):
                # Flips undo themselves, and the transposition is undone after them.
                turned = (lr.swapaxes(0, 1) if transpose else lr)[::up_down, ::left_right]
                sr = lopsided(turned)[::up_down, ::left_right]
                total += sr.swapaxes(0, 1) if transpose else sr
    expected = np.clip(np.rint(total / 8 * 255), 0, 255)
    np.testing.assert_allclose(resolver(lopsided)(image, ensemble=True), expected, atol=1)
    assert np.abs(resolver(lopsided)(image).astype(float) - expected).max() > 10


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("value", [0, 200])
def test_constant_image_stays_constant(dtype, value):
    image = np.full((5, 4), value, dtype)
    sr = resolver(lambda lr: nearest(lr) + 0.1)(image)
    assert sr.dtype == image.dtype
    np.testing.assert_array_equal(sr, np.full((10, 8), value))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), "uint8"), r"takes 1 channel.*\(4, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), "uint8"), "takes 1 channel"),
        (np.zeros(4, "uint8"), r"Expected \(H, W\).*\(4,\)"),
        (np.zeros((1, 1, 4, 4, 1), "uint8"), r"Expected \(H, W\)"),
        (np.zeros((0, 4, 4, 1), "uint8"), r"Expected \(H, W\).*\(0, 4, 4, 1\)"),
        (np.zeros((4, 0), "uint8"), r"Expected \(H, W\).*\(4, 0\)"),
        (np.full((4, 4), np.nan, "float32"), "NaN"),
        (np.full((4, 4), np.inf, "float32"), "infinite"),
        (np.zeros((4, 4), object), "float pixels. Received: object"),
        (np.zeros((4, 4), "int32"), "Received: int32"),
        (np.zeros((4, 4), bool), "Received: bool"),
    ],
)
def test_bad_arrays(image, message):
    with pytest.raises(InputError, match=message) as caught:
        resolver()(image)
    assert "\n" not in str(caught.value)
