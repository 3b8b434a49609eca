import keras
import numpy as np
import pytest
from scipy.spatial import distance

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import Dice, dice


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.random((4, 9, 7)) < 0.3, rng.random((4, 9, 7)) < 0.4


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def test_equals_scipy(pair):
    mask, prediction = pair
    expected = [1 - distance.dice(a.ravel(), b.ravel()) for a, b in zip(mask, prediction, strict=True)]
    np.testing.assert_allclose(numpy(dice(mask, prediction)), expected, rtol=1e-6)
    # A volume is one item.
    whole = 1 - distance.dice(mask.ravel(), prediction.ravel())
    np.testing.assert_allclose(numpy(dice(mask[None], prediction[None])), [whole], rtol=1e-6)
    as_images = [(255 * x[..., np.newaxis]).astype("uint8") for x in pair]
    np.testing.assert_allclose(numpy(dice(*as_images)), expected, rtol=1e-6)


def test_empty_masks():
    empty, one = np.zeros((1, 2, 2)), np.eye(2)[np.newaxis]
    pairs = [(empty, empty), (empty, one), (one, empty), (one, one)]
    assert [float(dice(*both)[0]) for both in pairs] == [1, 0, 0, 1]


@pytest.mark.parametrize("shape", [(4, 9), (4, 9, 8), (3, 9, 7)])
def test_shapes_must_agree(pair, shape):
    with pytest.raises(MrisrError, match="one shape"):
        dice(pair[0], np.zeros(shape))


def test_keras_metric(pair):
    mask, prediction = (x[..., np.newaxis].astype("float32") for x in pair)
    mean = numpy(dice(mask, prediction)).mean()
    metric = Dice.from_config(Dice().get_config())
    metric.update_state(mask[:1], 5 * prediction[:1] - 2)
    metric.update_state(mask[1:], 5 * prediction[1:] - 2)
    np.testing.assert_allclose(float(metric.result()), mean, rtol=1e-6)
    chances = Dice(from_logits=False, name="chances")
    chances.update_state(mask, 0.2 + 0.6 * prediction)
    np.testing.assert_allclose(float(chances.result()), mean, rtol=1e-6)
    assert Dice.from_config(chances.get_config()).from_logits is False
