import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import PSNRLoss, psnr_loss


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = rng.random((3, 6, 5, 2)).astype("float32")
    noise = rng.normal(0, 1, hr.shape) * np.array([0.02, 0.1, 0.4]).reshape(3, 1, 1, 1)
    return hr, (hr + noise).astype("float32")


def test_equal_to_scikit_image(pair):
    expected = [-peak_signal_noise_ratio(hr, sr, data_range=1) for hr, sr in zip(*pair, strict=True)]
    np.testing.assert_allclose(psnr_loss(*pair, floor=1e-6), expected, rtol=1e-4)
    assert float(PSNRLoss(floor=1e-6)(*pair)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_volumes_and_half_precision(pair):
    volumes = [array[:, :, :, None] for array in pair]
    np.testing.assert_allclose(psnr_loss(*volumes), psnr_loss(*pair), rtol=1e-5)
    half = PSNRLoss()(pair[0], tf.cast(pair[1], tf.bfloat16))
    assert half.dtype == "float32"
    assert float(half) == pytest.approx(float(PSNRLoss()(*pair)), rel=0.01)


def test_an_image_that_is_right_costs_the_floor_and_has_a_finite_gradient(pair):
    sr = tf.constant(pair[0])
    with tf.GradientTape() as tape:
        tape.watch(sr)
        loss = psnr_loss(pair[0], sr)
    np.testing.assert_allclose(loss, -20 * np.log10(255), rtol=1e-5)
    np.testing.assert_array_equal(tape.gradient(loss, sr), 0)


def test_the_pull_on_an_image_depends_on_the_ratio_of_its_error(pair):
    """Images whose errors differ by a factor get gradients that differ by its inverse."""
    hr, sr = pair
    images = tf.constant(np.stack([sr[1], hr[1] + 10 * (sr[1] - hr[1])]))
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(psnr_loss(np.stack([hr[1]] * 2), images, floor=1e-6))
    small, large = np.linalg.norm(np.reshape(tape.gradient(loss, images), (2, -1)), axis=1)
    assert small / large == pytest.approx(10, rel=1e-3)


def test_serialisation():
    loss = PSNRLoss(floor=0.01)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.floor == 0.01


@pytest.mark.parametrize("floor", [0, -1, float("nan"), float("inf")])
def test_a_floor_of_nothing(pair, floor):
    with pytest.raises(MrisrError, match="floor must be over 0"):
        psnr_loss(*pair, floor=floor)


def test_shapes_must_agree(pair):
    with pytest.raises(MrisrError, match="HR and SR differ in shape"):
        psnr_loss(pair[0], pair[1][:, :5])
    with pytest.raises(MrisrError, match="HR and SR differ in shape"):
        psnr_loss(pair[0], pair[1][0])
