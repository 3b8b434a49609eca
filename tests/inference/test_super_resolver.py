import keras
import numpy as np
import pytest
from keras import layers

from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
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


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int64", "float16", "float32", "float64", ">u2"]
)
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
    ("dtype", "top"), [("uint8", 90), ("uint16", 4000), ("uint16", 65535), ("int16", 900), ("float32", 0.02)]
)
def test_intensities_come_back(dtype, top):
    rng = np.random.default_rng(0)
    image = (rng.uniform(0, 1, (20, 30)) * top).astype(dtype)
    sr = resolver()(image)
    np.testing.assert_allclose(sr, nearest(image), rtol=1e-6 if dtype == "float32" else 0)


def test_negative_intensities_come_back():
    image = np.linspace(-1000, 3000, 300, dtype="float32").reshape(15, 20)
    np.testing.assert_allclose(resolver()(image), nearest(image), atol=1e-3)
    for dtype in ("int16", "int32", "float16"):
        sr = resolver()(image.astype(dtype))
        assert sr.dtype == dtype
        np.testing.assert_allclose(sr, nearest(image.astype(dtype)), rtol=1e-3, atol=1)


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
        (np.zeros((4, 4), complex), "Received: complex128"),
        (np.zeros((4, 4), bool), "Received: bool"),
    ],
)
def test_bad_arrays(image, message):
    with pytest.raises(MrisrError, match=message) as caught:
        resolver()(image)
    assert "\n" not in str(caught.value)


def test_uncertainty_is_the_deviation_over_the_square(smooth_image):
    image = smooth_image(6, 9, 1, "uint16")
    one = resolver(lopsided).upscale(image, uncertainty=True)
    np.testing.assert_array_equal(one.sr, resolver(lopsided)(image, ensemble=True))
    assert one.deviation.shape == one.sr.shape
    assert one.deviation.dtype == np.float32
    # A brightness that rises by 1 % a row and 3 % a column of the result, whichever way it lies.
    y, x = np.mgrid[:12, :18]
    factors = [
        1 + 0.01 * (3 * b + a)
        for a in (y, 11 - y) for b in (x, 17 - x)
    ] + [1 + 0.01 * (3 * a + b) for a in (y, 11 - y) for b in (x, 17 - x)]  # fmt: skip
    expected = np.std(factors, axis=0) * nearest(image[..., 0].astype(float))
    np.testing.assert_allclose(one.deviation[..., 0], expected, rtol=0.01, atol=1)
    assert resolver(lopsided).upscale(image[..., 0], uncertainty=True).deviation.shape == (12, 18)
    black = resolver(lopsided).upscale(np.zeros((2, 6, 9, 1), "uint8"), uncertainty=True)
    assert black.deviation.shape == (2, 12, 18, 1) and not black.deviation.any()


def test_consistency_brings_the_input_back(smooth_image):
    degradation = get_degradation("kspace", 2, magnitude=False)
    info = ModelInfo(2, 1, generator={}, degradation=degradation.to_dict())
    model = SuperResolver(Function(lambda lr: nearest(lr) * 0.9 + 0.1), info)
    image = smooth_image(16, 20, 1, "float32") * 400
    plain, one = model(image), model.upscale(image, consistency=True)
    before, after = (np.abs(degradation.degrade(sr) - image).max() for sr in (plain, one.sr))
    assert before > 10
    assert after < 0.01
    assert one.residual[0] > 10 and one.residual[1] < 0.01
    np.testing.assert_array_equal(model(image, consistency=True), one.sr)
    pair = model.upscale(np.stack([image, np.full_like(image, 7)]), consistency=True)
    np.testing.assert_allclose(pair.residual[0], one.residual[0] / np.sqrt(2), rtol=1e-5)
    with pytest.raises(MrisrError, match="does not say what it was trained to undo: leave out `consistency`"):
        resolver().upscale(image, consistency=True)


def test_neighbours_come_in_their_order(smooth_image):
    def weighted(lr):
        return nearest(lr[..., :1] * 0.5 + lr[..., 1:2] * 0.3 + lr[..., 2:] * 0.2)

    info = ModelInfo(2, 1, generator={}, degradation={}, neighbours=1)
    model = SuperResolver(Function(weighted), info)
    stack = np.concatenate([smooth_image(5, 7, 1, "float32", seed) for seed in range(3)], axis=-1)
    np.testing.assert_allclose(model(stack), weighted(stack), rtol=1e-5)
    # Alone, a slice is its own neighbour.
    np.testing.assert_allclose(model(stack[..., 0]), nearest(stack[..., 0]), rtol=1e-5)
    with pytest.raises(MrisrError, match=r"takes 1 channel\(s\). Received an image of shape \(5, 7, 2\)"):
        model(stack[..., :2])


def test_models_for_volumes_take_no_slices():
    info = ModelInfo(2, 1, generator={}, degradation={}, factors=(1, 1, 2))
    with pytest.raises(MrisrError, match="for volumes, not for slices"):
        SuperResolver(Function(nearest), info)(np.ones((4, 4), "uint8"))


@pytest.fixture(scope="module")
def wide():
    """A network of one layer that needs 2 * 4 * 65 bytes for each of 90,000 pixels: 47 MB."""
    inputs = keras.Input((None, None, 1))
    x = layers.Conv2D(64, 5, padding="same")(inputs)
    return keras.Model(inputs, layers.Conv2D(1, 1)(x))


class Watched:
    """Notes the shapes that a network is given."""

    def __init__(self, model):
        self.model = model
        self.inputs, self.outputs = model.inputs, model.outputs
        self.shapes = []

    def predict_on_batch(self, lr):
        self.shapes.append(lr.shape)
        return self.model.predict_on_batch(lr)


def test_tiles_when_memory_is_short(wide, monkeypatch):
    # What the process really occupies depends on the tests before this one.
    monkeypatch.setattr("keras_mrisr.inference.tiled_network.resident_memory", lambda: 10**9)
    image = np.random.default_rng(0).uniform(0, 1, (300, 300)).astype("float32")
    info = ModelInfo(1, 1, generator={}, degradation={})
    whole = SuperResolver(Watched(wide), info)
    expected = whole(image)
    assert whole.generator.shapes == [(1, 300, 300, 1)]
    # 96 MB for TensorFlow's first steps, 4 arrays of the result, and half of the network.
    short = SuperResolver(Watched(wide), info, memory=10**9 + 96_000_000 + 1_440_000 + 24_000_000)
    np.testing.assert_allclose(short(image), expected, atol=1e-5)
    assert len(short.generator.shapes) in (2, 3)
    assert len(set(short.generator.shapes)) == 1


def test_too_little_memory(wide):
    info = ModelInfo(1, 1, generator={}, degradation={})
    with pytest.raises(
        MrisrError, match=r"1 MB of memory are too little.*take .*[MG]B.* Allow more with `memory`"
    ):
        SuperResolver(wide, info, memory=1_000_000)(np.eye(8, dtype="float32"))


def test_networks_that_see_everything_go_untiled(wide):
    inputs = keras.Input((None, None, 1))
    squeeze = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(inputs)
    model = keras.Model(inputs, layers.Add()([inputs, squeeze]))
    info = ModelInfo(1, 1, generator={}, degradation={})
    image = np.random.default_rng(0).uniform(0, 1, (8, 9)).astype("float32")
    np.testing.assert_allclose(SuperResolver(model, info)(image), image + image.mean(), rtol=1e-5)
    with pytest.raises(MrisrError, match=r"cannot be cut into tiles: its layer 'squeeze'"):
        SuperResolver(model, info, memory=10**12)(image)


def test_model_of_separate_channels_takes_them_one_by_one(models):
    resolver = SuperResolver.load(models["grey"])
    image = np.random.default_rng(0).integers(0, 255, (12, 10, 3), "uint8")
    with pytest.raises(MrisrError, match="takes 1 channel"):
        resolver(image)
    resolver.info.data["separate_channels"] = True
    expected = [resolver(image[..., channel]) for channel in range(3)]
    np.testing.assert_array_equal(resolver(image), np.stack(expected, axis=-1))
    assert resolver(image[np.newaxis]).shape == (1, 24, 20, 3)
    stack = np.moveaxis(image, -1, 0)
    assert resolver(stack[..., np.newaxis]).shape == (3, 24, 20, 1)
    with pytest.raises(MrisrError, match=r"at most 4 channels.*\(3, 12, 10\).*stack\[\.\.\., None\]"):
        resolver(stack)


def test_a_network_that_fit_trained(smooth_image, tmp_path):
    """What `model.fit` gives is taken as it is, and from its file, described by its shapes."""
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 3, padding="same")(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    model.fit(np.zeros((1, 4, 4, 3)), np.zeros((1, 8, 8, 3)), verbose=0)
    image = smooth_image(10, 12, 3)
    expected = model.predict_on_batch(image[np.newaxis].astype("float32") / np.float32(255))[0]
    expected = np.clip(np.rint(expected * 255.0), 0, 255)
    resolver = SuperResolver(model, degradation="bicubic")
    assert (resolver.scale, resolver.channels) == (2, 3)
    assert resolver.degradation.to_dict() == get_degradation("bicubic", 2).to_dict()
    np.testing.assert_allclose(resolver(image), expected, atol=1)
    assert SuperResolver(model, degradation=get_degradation("kspace", 2)).degradation.name == "kspace"
    assert SuperResolver(model, degradation={"name": "paper", "scale": 2}).degradation.name == "paper"
    model.save(tmp_path / "x.keras")
    loaded = SuperResolver.load(tmp_path / "x.keras")
    assert loaded.name == "x.keras"
    np.testing.assert_allclose(loaded(image), expected, atol=1)
    with pytest.raises(MrisrError, match="does not say what it was trained to undo"):
        loaded.upscale(image, consistency=True)
    with pytest.raises(MrisrError, match="`degradation` stands in the model's `info`"):
        SuperResolver(model, resolver.info, degradation="bicubic")


def test_a_network_that_is_none_for_super_resolution():
    inputs = keras.Input((None, None, 1))
    with pytest.raises(MrisrError, match="is no network for super-resolution"):
        SuperResolver(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)))


def test_old_names(smooth_image):
    from keras_mrisr import inference

    image = smooth_image(8, 8, 1)
    with pytest.warns(DeprecationWarning, match="is now upscale"):
        one = resolver().enlarge(image, ensemble=True)
    np.testing.assert_array_equal(one.sr, nearest(image))
    with pytest.warns(DeprecationWarning, match="is now UpscaledImage"):
        assert inference.Enlarged is inference.UpscaledImage
    with pytest.raises(AttributeError, match="no attribute 'Shrunk'"):
        _ = inference.Shrunk


def test_uncertainty_of_values_beyond_float32(smooth_image):
    resolver = SuperResolver.load("any-x2")
    image = smooth_image(16, 16, 1, "float64")
    usual = resolver.upscale(image, uncertainty=True).deviation
    wide = resolver.upscale(image * 1e300, uncertainty=True).deviation
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide / 1e300, usual, rtol=1e-3, atol=1e-6)
