import keras
import numpy as np
import pytest

from keras_mrisr.export.deployable import deployable, fold_batch_norm, separate_biases, shuffle_last
from keras_mrisr.models import PixelShuffle, edsr, srresnet


def randomise(model, seed=0):
    """Weights and moving statistics that leave no layer without effect."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low, high = (0.5, 1.5) if "gamma" in weight.path or "variance" in weight.path else (-0.3, 0.3)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


def check_same(model, other, sizes=((9, 12), (1, 1), (2, 7)), tolerance=1e-5):
    for height, width in sizes:
        x = np.random.default_rng(1).random((2, height, width, model.input_shape[-1]), dtype="float32")
        expected = np.asarray(model(x))
        assert expected.std() > 0.01
        np.testing.assert_allclose(other(x), expected, atol=tolerance * np.abs(expected).max())


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srresnet(scale):
    model = randomise(srresnet(scale, 3, blocks=1, filters=8, global_skip=scale == 3))
    lean = deployable(model)
    check_same(model, lean)
    assert "BatchNormalization" not in kinds(lean)
    assert [name for name in kinds(lean) if name in ("Conv2D", "PixelShuffle")][-2:] == [
        "Conv2D",
        "PixelShuffle",
    ]
    assert lean.output_shape == model.output_shape
    assert "BatchNormalization" in kinds(model)  # The original is left alone.


@pytest.mark.parametrize(
    "options", [{}, {"direct_upsampling": True}, {"smooth_upsampling": True}, {"residual_scaling": 0.1}]
)
def test_edsr(options):
    model = randomise(edsr(2, 1, blocks=1, filters=8, **options))
    check_same(model, deployable(model))


def test_fold_by_hand():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(epsilon=0.0, name="bn")(x)
    model = keras.Model(inputs, x)
    model.get_layer("conv").set_weights([np.array([[[[2.0, 3.0]]]], "float32")])
    statistics = np.array([[1.0, 10.0], [0.5, 0.0], [1.0, 2.0], [4.0, 25.0]], "float32")
    model.get_layer("bn").set_weights(list(statistics))
    folded = fold_batch_norm(model)
    kernel, bias = folded.get_layer("conv").get_weights()
    np.testing.assert_allclose(kernel.ravel(), [1.0, 6.0])
    np.testing.assert_allclose(bias, [0.0, -4.0])
    assert kinds(folded) == ["InputLayer", "Conv2D"]


def test_normalisation_that_cannot_be_folded_stays():
    inputs = keras.Input((None, None, 2))
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared")(inputs)
    normal = keras.layers.BatchNormalization(name="bn1")(shared)
    x = keras.layers.Add()([shared, normal])  # The convolution is also used as it is.
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="active")(x)
    x = keras.layers.BatchNormalization(name="bn2")(x)
    model = randomise(keras.Model(inputs, x))
    folded = fold_batch_norm(model)
    assert kinds(folded).count("BatchNormalization") == 2
    check_same(model, folded)


@pytest.mark.parametrize(
    ("kernel", "scale", "channels"), [(9, 2, 3), (5, 2, 1), (3, 2, 1), (9, 3, 3), (1, 2, 3)]
)
def test_shuffle_goes_last(kernel, scale, channels):
    inputs = keras.Input((None, None, 2 * scale**2))
    x = PixelShuffle(scale, name="shuffle")(inputs)
    x = keras.layers.PReLU(shared_axes=[1, 2], name="slopes")(x)
    x = keras.layers.Conv2D(channels, kernel, padding="same", name="conv")(x)
    model = randomise(keras.Model(inputs, x))
    moved = shuffle_last(model)
    assert kinds(moved)[-1] == "PixelShuffle"
    assert moved.get_layer("conv").filters == channels * scale**2
    check_same(model, moved)


def test_shuffle_stays_where_nothing_is_gained():
    inputs = keras.Input((None, None, 16))
    wide = PixelShuffle(2)(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(64, 3, padding="same")(wide))
    assert shuffle_last(model) is model
    narrow = keras.layers.Conv2D(1, 3, padding="same")(wide)
    model = keras.Model(inputs, [narrow, wide])  # The shuffled map is an output, too.
    assert shuffle_last(model) is model
    strided = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", strides=2)(wide))
    assert shuffle_last(strided) is strided


@pytest.mark.parametrize("build", [srresnet, edsr])
def test_separate_biases(build):
    model = randomise(build(2, 1, blocks=1, filters=8))
    apart = separate_biases(model)
    check_same(model, apart)
    assert not any(getattr(layer, "use_bias", False) for layer in apart.layers)


def test_separate_biases_of_volumes_and_activations():
    inputs = keras.Input((None, None, None, 2))
    x = keras.layers.Conv3D(3, 3, padding="same", activation="tanh")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Conv3D(1, 3, padding="same", use_bias=False)(x)))
    x = np.random.default_rng(1).random((2, 4, 5, 6, 2), dtype="float32")
    np.testing.assert_allclose(separate_biases(model)(x), model(x), atol=1e-6)
