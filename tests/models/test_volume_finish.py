"""The network that finishes both families of planes: shapes, saving, and what it is before it is trained."""

import keras
import numpy as np
import pytest

from keras_mrisr.errors import ConfigError
from keras_mrisr.models.receptive_field import receptive_field_radius
from keras_mrisr.models.volume_finish import volume_finish


@pytest.fixture(scope="module")
def estimates():
    return np.random.default_rng(0).normal(size=(2, 5, 7, 6, 2)).astype("float32")


def test_untrained_it_is_the_mean(estimates):
    network = volume_finish(1, 4)
    finished = network.predict_on_batch(estimates)
    assert finished.dtype == np.float32
    np.testing.assert_allclose(finished, estimates.mean(axis=-1, keepdims=True), atol=1e-6)
    # The mean itself is nothing to train.
    trained = network.count_params() - sum(one.shape[0] for one in network.non_trainable_weights)
    assert trained == sum(int(np.prod(one.shape)) for one in network.trainable_weights)


def test_trained_it_sees_both_families_and_is_saved(tmp_path, estimates):
    network = volume_finish(1, 4)
    network.compile("adam", "mean_squared_error")
    network.fit(estimates, estimates[..., :1], epochs=2, verbose=0)
    network.save(tmp_path / "finish.keras")
    finished = network.predict_on_batch(estimates)
    again = keras.saving.load_model(tmp_path / "finish.keras").predict_on_batch(estimates)
    np.testing.assert_allclose(again, finished, atol=1e-6)
    assert np.abs(finished - estimates.mean(axis=-1, keepdims=True)).max() > 1e-4
    np.testing.assert_array_equal(network.get_layer("output_mean").kernel, [[0.5], [0.5]])


def test_sizes():
    network = volume_finish()
    assert sum(int(np.prod(one.shape)) for one in network.trainable_weights) == 29025
    assert receptive_field_radius(network) == 6
    assert receptive_field_radius(volume_finish(1, 4)) == 4
    with pytest.raises(ConfigError, match="filters must be an integer of 1 or more"):
        volume_finish(filters=0)
