import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import SegmentationConsistencyLoss, segmentation_distance
from keras_mrisr.models.unet import segmentation_unet
from keras_mrisr.models.unet_storage import SegmenterInfo, save_unet


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Directory of an untrained U-Net of 2 channels."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("unet")
    unet = segmentation_unet(2, filters=2, depth=1)
    # Logits far from 0, so that a wrong formula shows.
    unet.get_layer("logits").set_weights([np.full((1, 1, 2, 1), 9.0), np.array([-3.0])])
    save_unet(folder, unet, SegmenterInfo(2, {"filters": 2, "depth": 1}), "A card.\n")
    return folder


def images(seed, scale=1.0):
    return scale * np.random.default_rng(seed).random((3, 8, 10, 2), dtype="float32")


def test_equal_to_numpy(model):
    loss = SegmentationConsistencyLoss(model)
    hr, sr = images(0, 0.5), images(1, 0.5)
    peaks = hr.max(axis=(1, 2), keepdims=True)
    p, q = (
        1 / (1 + np.exp(-loss.unet.predict_on_batch(x / peaks).astype("float64")))[..., 0] for x in (hr, sr)
    )
    expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean((1, 2))
    values = keras.ops.convert_to_numpy(segmentation_distance(hr, sr, loss.unet))
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert float(loss(hr, sr)) == pytest.approx(expected.mean(), rel=1e-4)
    np.testing.assert_array_equal(segmentation_distance(hr, hr, loss.unet), 0)


def test_brightness_does_not_matter_but_for_dark_patches(model):
    unet = SegmentationConsistencyLoss(model).unet
    hr, sr = images(0), images(1)
    expected = segmentation_distance(hr, sr, unet)
    np.testing.assert_allclose(segmentation_distance(0.4 * hr, 0.4 * sr, unet), expected, rtol=1e-4)
    dark = segmentation_distance(0.01 * hr, 0.01 * sr, unet)
    assert (np.asarray(dark) < 0.1 * np.asarray(expected)).all()


def test_features(model):
    loss = SegmentationConsistencyLoss(model, layer="up1_relu2")
    hr, sr = images(0), images(1)
    peaks = hr.max(axis=(1, 2), keepdims=True)
    features = [loss.unet.predict_on_batch(x / peaks) for x in (hr, sr)]
    assert features[0].shape == (3, 8, 10, 2)
    np.testing.assert_allclose(loss(hr, sr), np.mean((features[0] - features[1]) ** 2), rtol=1e-4)


def test_gradient_flows_into_sr_only_and_the_network_is_frozen(model):
    loss = SegmentationConsistencyLoss(model)
    hr, sr = tf.Variable(images(0)), tf.Variable(images(1))
    with tf.GradientTape() as tape:
        value = loss(hr, sr)
    of_hr, of_sr = tape.gradient(value, [hr, sr])
    assert np.abs(of_sr).max() > 0
    assert of_hr is None
    assert loss.unet.trainable_variables == []


def test_half_precision_images(model):
    loss = SegmentationConsistencyLoss(model)
    half = [tf.cast(x, tf.bfloat16) for x in (images(0), images(1))]
    assert float(loss(*half)) == pytest.approx(float(loss(images(0), images(1))), rel=0.1)


def test_serialisation_and_no_copy_in_checkpoints(model, tmp_path):
    loss = SegmentationConsistencyLoss(model, layer="up1_relu2", name="seen")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.model, again.layer, again.name) == (str(model), "up1_relu2", "seen")

    class Holder(keras.Model):
        def __init__(self):
            super().__init__()
            self.loss_of_mine = loss
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    holder = Holder()
    holder(np.ones((1, 1)))
    assert len(holder.weights) == 2


def test_bad_models(model, models):
    with pytest.raises(MrisrError, match=r"The U-Net has no layer 'up9'"):
        SegmentationConsistencyLoss(model, layer="up9")
    with pytest.raises(MrisrError, match="is a super-resolution model"):
        SegmentationConsistencyLoss(models["grey"])
    with pytest.raises(MrisrError, match="No model at nowhere"):
        SegmentationConsistencyLoss("nowhere")
