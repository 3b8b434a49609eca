import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses.perceptual import feature_distance as loss_distance
from keras_mrisr.metrics import feature_distance
from keras_mrisr.models.features import build_features


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.fixture(scope="module")
def network():
    return build_features("vgg16", {"block1_conv1": 1.0, "block2_conv1": 0.5}, weights=None)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.random((2, 16, 18, 3), dtype="float32"), rng.random((2, 16, 18, 3), dtype="float32")


def test_is_what_the_loss_minimises(network, pair):
    expected = numpy(loss_distance(*pair, network))
    values = numpy(feature_distance(*pair, 1.0, network))
    assert values.shape == (2,) and (values > 0).all()
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    bytes_ = [np.rint(x * 255).astype("uint8") for x in pair]
    np.testing.assert_allclose(numpy(feature_distance(*bytes_, 255, network)), expected, rtol=1e-2)
    assert numpy(feature_distance(pair[0], pair[0], 1.0, network)).tolist() == [0, 0]


def test_mask_follows_the_halvings(network, pair):
    mask = np.zeros((2, 16, 18))
    mask[0, 4:8, 2:12] = 1
    values = numpy(feature_distance(*pair, 1.0, network, mask=mask))
    first, second = (np.square(a - b) for a, b in zip(*(map(numpy, network(x)) for x in pair), strict=True))
    expected = first[0, 4:8, 2:12].mean() + 0.5 * second[0, 2:4, 1:6].mean()
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    assert np.isnan(values[1])


def test_channels_below_each_other(pair):
    each = build_features("vgg16", "block1_conv1", weights=None, channel_mapping="each")
    mask = np.zeros((2, 16, 18))
    mask[:, 3:5, 3:9] = 1
    values = numpy(feature_distance(*pair, 1.0, each, mask=mask))
    one_by_one = [
        numpy(feature_distance(*(x[..., c : c + 1] for x in pair), 1.0, each, mask)) for c in range(3)
    ]
    np.testing.assert_allclose(values, np.mean(one_by_one, axis=0), rtol=1e-5)


def test_bad_input(network, pair):
    with pytest.raises(MrisrError, match="one shape"):
        feature_distance(pair[0], pair[1][:1], 1.0, network)
    with pytest.raises(MrisrError, match="data_range"):
        feature_distance(*pair, 0, network)
