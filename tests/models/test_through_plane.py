"""The network for thick slices: shapes, any factor, saving, and what it is before it is trained."""

import keras
import numpy as np
import pytest

from keras_mrisr.degrade.thick_slices import positions
from keras_mrisr.errors import ConfigError
from keras_mrisr.models.through_plane import through_plane


def keys(distance):
    """Keys' kernel, a = -0.5."""
    x = np.abs(distance)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def inputs(lr, lines):
    rows = np.tile(positions(lr.shape[1], lines).astype("float32"), (len(lr), 1))
    scan = np.tile(np.array([lr.shape[1] / lines, 1.0], "float32"), (len(lr), 1))
    return [lr, rows, scan]


@pytest.mark.parametrize(("slices", "lines", "width"), [(5, 10, 7), (3, 20, 9), (6, 8, 5)])
def test_untrained_it_is_cubic_interpolation(slices, lines, width):
    lr = np.random.default_rng(0).uniform(size=(2, slices, width, 1)).astype("float32")
    sr = through_plane(1, 8, 4).predict_on_batch(inputs(lr, lines))
    assert sr.shape == (2, lines, width, 1)
    padded = np.pad(lr, ((0, 0), (3, 3), (0, 0), (0, 0)), mode="edge")
    centres = (np.arange(lines) + 0.5) * slices / lines - 0.5
    weights = keys(np.arange(-3, slices + 3) - centres[:, np.newaxis])
    np.testing.assert_allclose(sr, np.einsum("ls,nswc->nlwc", weights, padded), atol=1e-5)


def test_any_size_and_saving(tmp_path):
    network = through_plane(1, 8, 4)
    rng = np.random.default_rng(1)
    weights = [rng.normal(scale=0.1, size=one.shape) for one in network.get_weights()]
    network.set_weights(weights)
    network.save(tmp_path / "generator.keras")
    again = keras.saving.load_model(tmp_path / "generator.keras")
    for slices, lines, width in ((4, 27, 6), (9, 12, 11)):
        given = inputs(rng.uniform(size=(1, slices, width, 1)).astype("float32"), lines)
        sr = network.predict_on_batch(given)
        assert sr.shape == (1, lines, width, 1)
        assert np.abs(sr - through_plane(1, 8, 4).predict_on_batch(given)).max() > 1e-3
        np.testing.assert_allclose(again.predict_on_batch(given), sr, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ConfigError, match="blocks must be an integer of 1 or more"):
        through_plane(blocks=0)
