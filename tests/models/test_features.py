import logging
import pathlib
import re

import h5py
import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.models.features import build_features, network_input
from keras_mrisr.models.vgg import conv_names, read_weights, vgg, write_weights

REAL_WEIGHTS = (
    pathlib.Path(__file__).parents[2].parent / "shared" / "weights" / "vgg16_imagenet_notop_fp16.h5"
)
SHALLOW = {"network": "vgg16", "layers": "block1_conv2", "weights": None}


def images(size=32, channels=3, n=2, seed=0):
    return np.random.default_rng(seed).random((n, size, size, channels), dtype="float32")


@pytest.fixture(scope="module")
def application():
    """VGG16 of keras.applications with the weights of `weights=None`, whole."""
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(None, None, 3))
    for name, values in read_weights("vgg16", None).items():
        model.get_layer(name).set_weights(values)
    return model


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory):
    """Weights of VGG16 as `write_weights` writes them, of its first three convolutions only."""
    path = tmp_path_factory.mktemp("weights") / "shallow.h5"
    write_weights(vgg("vgg16", "block2_conv1"), path)
    return path


def test_features_equal_keras_applications(application):
    names = ("block1_conv2", "block3_conv1", "block5_conv3")
    network = build_features("vgg16", names, weights=None)
    x = images()
    outputs = [application.get_layer(name).output for name in names]
    reference = keras.Model(application.input, outputs)(keras.applications.vgg16.preprocess_input(x * 255.0))
    for ours, theirs in zip(network(x), reference, strict=True):
        theirs = np.asarray(theirs) / 12.75
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.max())


def test_vgg19_has_the_layers_of_keras_applications():
    theirs = keras.applications.VGG19(include_top=False, weights=None)
    assert conv_names("vgg19") == [layer.name for layer in theirs.layers if "conv" in layer.name]
    assert vgg("vgg19").count_params() == theirs.count_params()


def test_default_is_the_deepest_layer():
    for network, name in (("vgg19", "block5_conv4"), ("vgg16", "block5_conv3")):
        features = build_features(network, weights=None)
        assert features.layers == (name,) and features.layer_weights == (1.0,)
    assert tuple(features(images(48))[0].shape) == (2, 3, 3, 512)


def test_block_stands_for_its_last_convolution():
    assert build_features("vgg16", {"block2": 3.0}, weights=None).layers == ("block2_conv2",)
    assert build_features("vgg19", "block3", weights=None).layers == ("block3_conv4",)


def test_relu_of_before_is_after():
    options = {"network": "vgg16", "layers": ("block2_conv1", "block1_conv2"), "weights": None}
    before = build_features(**options, before_activation=True)(images())
    after = build_features(**options)(images())
    for b, a in zip(before, after, strict=True):
        assert np.min(b) < 0
        np.testing.assert_array_equal(np.maximum(b, 0), a)
    assert [f.shape[-1] for f in after] == [128, 64], "in the order that was asked for"


def test_only_the_needed_depth_is_built():
    features = build_features(**SHALLOW)
    assert features.model.count_params() == 3 * 9 * 64 + 64 + 64 * 9 * 64 + 64


def test_network_input_is_caffe_style():
    x = images(channels=3)
    expected = keras.applications.vgg16.preprocess_input(x * 255.0)
    np.testing.assert_allclose(network_input(x), expected, rtol=1e-5, atol=1e-4)


def test_channels_are_mapped():
    grey, two, three = images(channels=1), images(channels=2), images(channels=3)

    def repeated(x):
        return network_input(np.repeat(x, 3, axis=-1))

    np.testing.assert_array_equal(network_input(grey), repeated(grey))
    for x, mapping in ((two, "auto"), (two, "mean"), (three, "mean")):
        mean = x.mean(axis=-1, keepdims=True)
        np.testing.assert_allclose(network_input(x, mapping), repeated(mean), atol=1e-4)
    each = network_input(three, "each")
    assert tuple(each.shape) == (6, 32, 32, 3)
    np.testing.assert_array_equal(each[4], repeated(three[1:, :, :, 1:2])[0])


def test_each_channel_below_the_other():
    x = images(16, channels=2)
    each = build_features(**SHALLOW, channel_mapping="each")(x)[0]
    plain = build_features(**SHALLOW)
    np.testing.assert_allclose(each[1, :16], plain(x[1:, ..., :1])[0][0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(each[1, 16:], plain(x[1:, ..., 1:])[0][0], rtol=1e-5, atol=1e-5)


def test_frozen_float32_and_untracked():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        features = build_features(**SHALLOW)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    finally:
        keras.config.set_dtype_policy("float32")
    assert not features.model.trainable_variables
    found = features(images())[0]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, build_features(**SHALLOW)(images())[0])
    assert features(images().astype("float16"))[0].dtype == "float32"
    model.features = features
    assert len(model.weights) == 2
    assert all(v.path.startswith("features_vgg16/") for v in features.model.variables)


def test_bfloat16_features_are_close_and_returned_in_float32():
    options = {"network": "vgg16", "layers": "block2_conv2", "weights": None}
    exact = build_features(**options)(images())[0]
    network = build_features(**options, precision="mixed_bfloat16")
    (found,) = network(images())
    assert network.model.get_layer("block1_conv1").compute_dtype == "float32"
    assert network.model.get_layer("block2_conv2").compute_dtype == "bfloat16"
    assert network.model.get_layer("block2_conv2").variable_dtype == "float32"
    assert found.dtype == "float32" and network.get_config()["precision"] == "mixed_bfloat16"
    error = np.sqrt(np.mean((np.asarray(found) - np.asarray(exact)) ** 2)) / np.std(np.asarray(exact))
    assert 0 < error < 0.02


def test_random_weights_warn_and_repeat(caplog):
    with caplog.at_level(logging.WARNING):
        one, two = build_features(**SHALLOW), build_features(**SHALLOW)
    assert "vgg16 has random weights" in caplog.text
    np.testing.assert_array_equal(one(images())[0], two(images())[0])


def test_config_makes_it_again(weight_file):
    options = {
        "network": "vgg16",
        "layers": {"block2_conv1": 0.5, "block1_conv1": 2.0},
        "weights": str(weight_file),
        "before_activation": True,
        "channel_mapping": "mean",
        "precision": "mixed_bfloat16",
        "normalized": True,
    }
    features = build_features(**options)
    assert features.get_config() == options
    assert features.layer_weights == (0.5, 2.0)


def test_file_gives_the_weights_that_were_written(weight_file):
    for name, values in read_weights("vgg16", weight_file, "block2_conv1").items():
        for one, other in zip(values, read_weights("vgg16", None)[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_keras_files_are_read(tmp_path, application):
    expected = read_weights("vgg16", None)
    head = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(application.output))
    keras.Model(application.input, head).save(tmp_path / "tuned.keras")
    application.save_weights(tmp_path / "plain.weights.h5")
    for path in (tmp_path / "tuned.keras", tmp_path / "plain.weights.h5"):
        found = read_weights("vgg16", path)
        assert list(found) == list(expected)
        np.testing.assert_array_equal(found["block4_conv2"][0], expected["block4_conv2"][0])


def test_written_weights_load_in_keras_applications(tmp_path, application):
    write_weights(application, tmp_path / "vgg16.h5")
    loaded = keras.applications.VGG16(include_top=False, weights=str(tmp_path / "vgg16.h5"))
    for one, two in zip(loaded.get_weights(), application.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_half_precision_file(tmp_path, weight_file):
    with h5py.File(weight_file) as source, h5py.File(tmp_path / "half.h5", "w") as half:
        for name in source:
            for key in source[name]:
                half[f"model_weights/{name}/{name}/{key}"] = source[name][key][()].astype("float16")
    kernel, bias = read_weights("vgg16", tmp_path / "half.h5", "block2_conv1")["block2_conv1"]
    assert kernel.dtype == bias.dtype == "float32"
    np.testing.assert_allclose(kernel, read_weights("vgg16", None)["block2_conv1"][0], atol=1e-3)


def test_broken_files_are_named(tmp_path, weight_file):
    def refused(path, message, network="vgg16", deepest="block2_conv1"):
        with pytest.raises(MrisrError, match=re.escape(message)) as error:
            read_weights(network, path, deepest)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    refused(tmp_path / "none.h5", "No feature weights at")
    with pytest.raises(MrisrError, match=r"Feature weights must be 'imagenet', the path .* weights=5"):
        read_weights("vgg16", 5)
    refused(weight_file, "not hold the weights of vgg16: it lacks block2_conv2", deepest=None)
    whole = weight_file.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.h5", "cannot be read as weights of vgg16: ")
    (tmp_path / "text.keras").write_text("not a model")
    refused(tmp_path / "text.keras", "cannot be read as weights of vgg16: ")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense/kernel"] = np.zeros((2, 2))
    refused(tmp_path / "other.h5", "it lacks block1_conv1")
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(1, 1)]).save_weights(
        tmp_path / "small.weights.h5"
    )
    refused(tmp_path / "small.weights.h5", "it holds 1 convolutions, vgg16 has 13")

    def changed(name, change):
        (tmp_path / name).write_bytes(whole)
        with h5py.File(tmp_path / name, "a") as file:
            change(file)
        return tmp_path / name

    def not_finite(file):
        file["block1_conv2/bias:0"][3] = np.nan

    def other_shape(file):
        del file["block1_conv2/bias:0"]
        file["block1_conv2/bias:0"] = np.zeros(3)

    def of_vgg19(file):
        file["block3_conv4/bias:0"] = np.zeros(256)

    refused(changed("nan.h5", not_finite), "values in block1_conv2 that are not finite")
    refused(changed("shape.h5", other_shape), "block1_conv2 is [(3, 3, 64, 64), (3,)], expected")
    refused(changed("vgg19.h5", of_vgg19), "does not hold the weights of vgg16: it has block3_conv4")


def test_vgg16_is_not_taken_for_vgg19_whatever_is_needed_of_it(tmp_path, weight_file):
    write_weights(vgg("vgg16", "block4_conv1"), tmp_path / "vgg16.h5")
    with pytest.raises(MrisrError, match="does not hold the weights of vgg19: it lacks block3_conv4"):
        read_weights("vgg19", tmp_path / "vgg16.h5", "block2_conv1")
    assert len(read_weights("vgg16", tmp_path / "vgg16.h5", "block2_conv1")) == 3
    # So far the two are alike.
    assert len(read_weights("vgg19", weight_file, "block2_conv1")) == 3


def test_failed_download_shows_the_way_out(monkeypatch):
    def offline(**_):
        raise Exception("URL fetch failure on https://example.org: None")

    monkeypatch.setattr(keras.applications, "VGG19", offline)
    with pytest.raises(MrisrError, match=r"vgg19 cannot be downloaded .URL fetch.*a local weight file"):
        build_features()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vgg11"}, "Unknown feature network 'vgg11'. Known: vgg16, vgg19"),
        ({"network": "vgg16", "layers": "block5_conv4"}, "vgg16 has no layer 'block5_conv4'. It has: block1"),
        ({"layers": {"block1_conv1": -1}}, "weight of the layer 'block1_conv1' must be 0 or more"),
        ({"layers": ()}, "At least one layer"),
        ({"layers": "block6"}, "vgg19 has no layer 'block6'"),
        ({"layers": 5}, "must be names such as block3_conv3, or such names with weights. Received: layers=5"),
        ({"layers": [["block3"]]}, "Received: layers=[['block3']]"),
        ({"network": ["vgg16"]}, "Unknown feature network ['vgg16']"),
        ({"channel_mapping": "rgb"}, "channel_mapping must be one of auto, mean, each"),
        ({"precision": "mixed_float16"}, "precision must be one of float32, mixed_bfloat16"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(MrisrError, match=re.escape(message)):
        build_features(weights=None, **options)


def test_bad_images():
    features = build_features("vgg16", "block3_conv1", weights=None)
    with pytest.raises(MrisrError, match=r"Images of 3x8 are too small.*the smallest is 4x4"):
        features(np.zeros((1, 3, 8, 3), "float32"))
    with pytest.raises(MrisrError, match=r"images \(N, H, W, C\)"):
        features(np.zeros((8, 8, 3), "float32"))


@pytest.mark.skipif(not REAL_WEIGHTS.is_file(), reason="ImageNet weights are not at hand")
def test_real_weights_load():
    features = build_features("vgg16", weights=REAL_WEIGHTS)
    found = features(images(32))[0]
    assert np.isfinite(found).all() and np.mean(found) > 0
    with pytest.raises(MrisrError, match="does not hold the weights of vgg19: it lacks block3_conv4"):
        build_features("vgg19", weights=REAL_WEIGHTS)
