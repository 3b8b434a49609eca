import keras
import numpy as np

from keras_mrisr.packing.weights import halve_weights


def test_halve_weights(models, tmp_path):
    source = models["rgb"] / "generator.keras"
    halve_weights(source, tmp_path / "half.keras")
    assert (tmp_path / "half.keras").stat().st_size < 0.7 * source.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["half.keras"]
    model, half = (keras.saving.load_model(path) for path in (source, tmp_path / "half.keras"))
    assert [weight.path for weight in model.weights] == [weight.path for weight in half.weights]
    for weight, other in zip(model.get_weights(), half.get_weights(), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(other, weight.astype("float16").astype("float32"))
