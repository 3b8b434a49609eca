import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import ConsistencyLoss, consistency_error, consistency_loss


@pytest.fixture(scope="module")
def degradation():
    return get_degradation("paper", 2)


def batch(seed=0):
    return np.random.default_rng(seed).random((2, 32, 32, 1), dtype="float32")


def test_mean_absolute_difference(degradation):
    sr = batch()
    lr = np.asarray(degradation(sr))
    np.testing.assert_allclose(consistency_loss(lr, sr, degradation), 0, atol=1e-7)
    offset = np.stack([np.full_like(lr[0], 0.1), np.full_like(lr[0], -0.3)])
    np.testing.assert_allclose(consistency_error(lr + offset, sr, degradation), [0.1, 0.3], rtol=1e-5)
    np.testing.assert_allclose(consistency_loss(lr + offset, sr, degradation), 0.2, rtol=1e-5)
    np.testing.assert_allclose(ConsistencyLoss(degradation)(lr + offset, sr), 0.2, rtol=1e-5)


def test_gradient_leads_to_consistency(degradation):
    lr = degradation(batch())
    sr = tf.Variable(batch(1))
    before = float(consistency_loss(lr, sr, degradation))
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = consistency_loss(lr, sr, degradation)
        sr.assign_sub(20.0 * tape.gradient(loss, sr))
    assert float(consistency_loss(lr, sr, degradation)) < 0.5 * before


def test_serialisation(degradation):
    loss = ConsistencyLoss(degradation, name="same_lr")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert again.degradation.to_dict() == degradation.to_dict() and again.name == "same_lr"


def test_half_precision_sr(degradation):
    lr, sr = np.asarray(degradation(batch(1))), batch()
    loss = consistency_loss(lr, sr.astype("float16"), degradation)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, consistency_loss(lr, sr, degradation), rtol=0.01)


def test_other_scale_is_refused(degradation):
    with pytest.raises(MrisrError, match=r"degraded=.2, 16, 16, 1., lr=.2, 8, 8, 1."):
        consistency_loss(np.zeros((2, 8, 8, 1), "float32"), batch(), degradation)
