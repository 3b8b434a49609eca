import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import DiceCrossEntropy, cross_entropy, dice_loss


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    mask = (rng.random((3, 6, 5, 1)) < 0.3).astype("float32")
    return mask, rng.normal(0, 2, mask.shape).astype("float32")


def test_equal_to_numpy(pair):
    mask, logits = pair
    chance = 1 / (1 + np.exp(-logits.astype("float64")))
    expected = 1 - (2 * (chance * mask).sum() + 1) / (chance.sum() + mask.sum() + 1)
    assert float(dice_loss(mask, logits)) == pytest.approx(expected, rel=1e-5)
    entropy = -(mask * np.log(chance) + (1 - mask) * np.log(1 - chance)).mean((1, 2, 3))
    np.testing.assert_allclose(cross_entropy(mask, logits), entropy, rtol=1e-5)
    loss = DiceCrossEntropy(dice_weight=0.5)(mask, logits)
    assert float(loss) == pytest.approx(entropy.mean() + 0.5 * expected, rel=1e-5)


def test_masks_of_integers_and_half_precision(pair):
    mask, logits = pair
    other = DiceCrossEntropy()(mask.astype("uint8"), tf.cast(logits, tf.bfloat16))
    assert other.dtype == "float32"
    assert float(other) == pytest.approx(float(DiceCrossEntropy()(mask, logits)), rel=0.01)


@pytest.mark.parametrize("level", [-1e4, 1e4])
@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_extreme_logits_and_empty_masks_have_finite_gradients(level, inside):
    mask = np.full((2, 4, 4, 1), inside, "float32")
    logits = tf.fill(mask.shape, level)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = DiceCrossEntropy()(mask, logits)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_perfect_prediction_costs_nothing(pair):
    mask = pair[0]
    assert float(DiceCrossEntropy()(mask, 200 * mask - 100)) == pytest.approx(0, abs=1e-5)


def test_serialisation():
    loss = DiceCrossEntropy(dice_weight=2.0, smooth=0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.dice_weight, again.smooth) == (2.0, 0.5)


def test_shapes_must_agree(pair):
    with pytest.raises(MrisrError, match=r"must be \(N, H, W, 1\) both"):
        dice_loss(pair[0], pair[1][:, :5])
    with pytest.raises(MrisrError, match="both"):
        cross_entropy(pair[0], pair[1][..., 0])
