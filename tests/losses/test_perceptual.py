import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import PerceptualLoss, feature_distance, feature_loss
from keras_mrisr.models.features import build_features

OPTIONS = {"network": "vgg16", "layers": {"block1_conv2": 0.5, "block2_conv1": 2.0}, "weights": None}


@pytest.fixture(scope="module")
def network():
    return build_features(**OPTIONS)


def images(seed, channels=3):
    return np.random.default_rng(seed).random((3, 16, 16, channels), dtype="float32")


def test_distance_is_the_weighted_mse_of_features(network):
    hr, sr = images(0), images(1)
    expected = np.zeros(3)
    for weight, a, b in zip((0.5, 2.0), network(hr), network(sr), strict=True):
        expected += weight * np.mean((np.asarray(a) - np.asarray(b)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(feature_distance(hr, sr, network), expected, rtol=1e-5)
    loss = feature_loss(network(hr), network(sr), network.layer_weights)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(PerceptualLoss(network)(hr, sr), expected.mean(), rtol=1e-5)
    np.testing.assert_array_equal(feature_distance(hr, hr, network), 0)


def test_normalized_is_the_distance_of_lpips_without_its_weights():
    network = build_features(**OPTIONS, normalized=True)
    hr, sr = images(0), images(1)
    expected = np.zeros(3)
    for weight, a, b in zip((0.5, 2.0), network(hr), network(sr), strict=True):
        unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in map(np.asarray, (a, b))]
        expected += weight * np.mean(np.sum((unit[0] - unit[1]) ** 2, axis=-1), axis=(1, 2))
    np.testing.assert_allclose(feature_distance(hr, sr, network), expected, rtol=1e-3)
    np.testing.assert_allclose(PerceptualLoss(network)(hr, sr), expected.mean(), rtol=1e-3)
    again = PerceptualLoss.from_config(PerceptualLoss(network).get_config())
    assert again.network.normalized
    # Opposite directions, whatever the lengths; and no features at all, where a length has no gradient.
    opposite = np.full((1, 2, 2, 4), 3.0, "float32"), np.full((1, 2, 2, 4), -0.5, "float32")
    assert float(feature_loss([opposite[0]], [opposite[1]], normalized=True)) == pytest.approx(4, rel=1e-3)
    with tf.GradientTape() as tape:
        nothing = tf.Variable(np.zeros((1, 2, 2, 4), "float32"))
        loss = feature_loss([opposite[0]], [nothing], normalized=True)
    assert float(loss) == pytest.approx(1, rel=1e-3)
    assert np.isfinite(tape.gradient(loss, nothing)).all()


def test_against_keras_applications():
    application = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    whole = build_features("vgg16", weights=None)
    for layer in application.layers:
        if "conv" in layer.name:
            layer.set_weights(whole.model.get_layer(layer.name).get_weights())
    last = keras.Model(application.input, application.get_layer("block5_conv3").output)
    rng = np.random.default_rng(0)
    hr, sr = rng.random((2, 2, 32, 32, 3), dtype="float32")
    features = [
        np.asarray(last(keras.applications.vgg16.preprocess_input(x * 255.0))) / 12.75 for x in (hr, sr)
    ]
    expected = np.mean((features[0] - features[1]) ** 2)
    np.testing.assert_allclose(PerceptualLoss(whole)(hr, sr), expected, rtol=1e-3)


def test_scale_on_the_squared_loss_is_0_006():
    raw = [np.full((1, 2, 2, 3), value, "float32") for value in (0.0, 1.0)]
    scaled = feature_loss([raw[0] / 12.75], [raw[1] / 12.75])
    assert float(scaled) == pytest.approx(0.006, abs=2e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_gradient_flows_into_sr_only(network, channels):
    hr, sr = tf.Variable(images(0, channels)), tf.Variable(images(1, channels))
    with tf.GradientTape() as tape:
        loss = PerceptualLoss(network)(hr, sr)
    to_hr, to_sr = tape.gradient(loss, [hr, sr])
    assert to_hr is None
    assert np.isfinite(to_sr).all() and np.any(to_sr)


def test_serialisation(network):
    loss = PerceptualLoss(network, name="vgg")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, PerceptualLoss)
    assert again.get_config() == loss.get_config()
    assert again.name == "vgg"
    np.testing.assert_allclose(again(images(0), images(1)), loss(images(0), images(1)), rtol=1e-6)


def test_trains_a_model_that_does_not_carry_it(network, tmp_path):
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(3, 1, name="conv")])
    model.compile("adam", PerceptualLoss(network))
    model.fit(images(0), images(1), verbose=0, batch_size=3)
    assert len(model.weights) == 2
    model.save(tmp_path / "m.keras")
    assert (tmp_path / "m.keras").stat().st_size < 100_000
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.loss.get_config() == model.loss.get_config()


def test_mixed_precision_images(network):
    hr, sr = images(0), images(1)
    loss = PerceptualLoss(network)(hr.astype("float16"), sr.astype("float16"))
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, PerceptualLoss(network)(hr, sr), rtol=0.01)


def test_lists_of_different_lengths():
    x = [np.zeros((1, 2, 2, 1), "float32")]
    with pytest.raises(MrisrError, match="Received: 1, 1 and 2"):
        feature_loss(x, x, [1.0, 2.0])
