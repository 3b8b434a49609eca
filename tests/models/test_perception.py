import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.perception import interpolated, load_gan_end, save_gan_end

TINY = {"scale": 2, "channels": 1, "blocks": 1, "filters": 4}


def images():
    return np.random.default_rng(0).random((1, 8, 7, 1), dtype="float32")


def with_noise(model, seed=0, names=""):
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith(names):
            layer.set_weights([rng.normal(0, 0.2, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def fidelity():
    keras.utils.set_random_seed(0)
    return with_noise(edsr(**TINY))


@pytest.fixture(scope="module")
def gan(fidelity):
    """Grown by thin layers, with the other weights those of the fidelity model."""
    model = with_noise(edsr(**TINY, thin_layers=2, thin_filters=2), 1, "thin_")
    for layer in fidelity.layers:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def test_the_ends_are_the_two_models(fidelity, gan):
    np.testing.assert_array_equal(interpolated(fidelity, gan, 0)(images()), fidelity(images()))
    np.testing.assert_array_equal(interpolated(fidelity, gan, 1)(images()), gan(images()))
    assert np.abs(gan(images()) - fidelity(images())).max() > 0.01


def test_texture_of_thin_layers_is_in_proportion(fidelity, gan):
    start, end = np.asarray(fidelity(images())), np.asarray(gan(images()))
    between = interpolated(fidelity, gan, 0.3)(images())
    np.testing.assert_allclose(between, 0.7 * start + 0.3 * end, atol=1e-5)


def test_weights_of_both_are_interpolated(fidelity):
    other = with_noise(edsr(**TINY), 2)
    between = interpolated(fidelity, other, 0.25)
    for mine, one, two in zip(between.weights, fidelity.weights, other.weights, strict=True):
        np.testing.assert_allclose(mine, 0.75 * one.numpy() + 0.25 * two.numpy(), atol=1e-6)


@pytest.mark.parametrize("perception", [-0.1, 1.1, float("nan"), "1", True, None])
def test_places_off_the_dial(fidelity, gan, perception):
    with pytest.raises(MrisrError, match=r"`perception` must be a number from 0 .* to 1"):
        interpolated(fidelity, gan, perception)


def test_another_network_is_no_end(fidelity):
    with pytest.raises(MrisrError, match="another network than the fidelity model: they differ in"):
        interpolated(fidelity, edsr(**{**TINY, "filters": 8}), 0.5)


def described(options):
    generator = {"name": "edsr", **options}
    del generator["scale"], generator["channels"]
    return ModelInfo(2, 1, {"name": "edsr"}, {}, perception={"generator": generator})


def test_only_what_differs_is_stored(fidelity, gan, tmp_path):
    stored = edsr(**TINY)
    for layer, trained in zip(stored.layers, fidelity.layers, strict=True):
        layer.set_weights([weight.astype("float16") for weight in trained.get_weights()])
    save_gan_end(tmp_path / "end.npz", stored, gan)
    with np.load(tmp_path / "end.npz") as arrays:
        assert {name.split("/")[0] for name in arrays} == {
            layer.name for layer in gan.layers if layer.name.startswith("thin_") and layer.weights
        }
    info = described({**TINY, "thin_layers": 2, "thin_filters": 2})
    loaded = load_gan_end(tmp_path / "end.npz", stored, info)
    np.testing.assert_allclose(loaded(images()), gan(images()), atol=0.01)
    for layer in stored.layers:
        for one, two in zip(layer.get_weights(), loaded.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_gan_that_moved_every_layer_is_stored_whole(fidelity, tmp_path):
    other = with_noise(edsr(**TINY), 2)
    save_gan_end(tmp_path / "end.npz", fidelity, other)
    loaded = load_gan_end(tmp_path / "end.npz", fidelity, described(TINY))
    for one, two in zip(loaded.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy().astype("float16").astype("float32"))


def test_a_broken_end_is_named(fidelity, gan, tmp_path):
    info = described({**TINY, "thin_layers": 2, "thin_filters": 2})
    file = tmp_path / "end.npz"
    with pytest.raises(MrisrError, match=r"end\.npz is no GAN end of this model"):
        load_gan_end(file, fidelity, info)
    save_gan_end(file, fidelity, gan)
    with pytest.raises(MrisrError, match="is no GAN end of this model"):
        load_gan_end(file, fidelity, described({**TINY, "thin_layers": 3, "thin_filters": 2}))
    with pytest.raises(MrisrError, match="is no GAN end of this model"):
        load_gan_end(file, fidelity, described({**TINY, "thin_layers": 2, "thin_filters": 3}))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(MrisrError, match="is no GAN end of this model"):
        load_gan_end(file, fidelity, info)
