import dataclasses
import json
import sys

import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.models import PixelShuffle, build_generator
from keras_mrisr.models.storage import ModelInfo, load_info, load_trained, save_trained
from keras_mrisr.registration import import_user_code, load_entry_points

INFO = ModelInfo(
    scale=2,
    channels=1,
    generator={"name": "edsr", "blocks": 1, "filters": 4},
    degradation={"name": "paper", "scale": 2},
    data={"split": {"train": ["a"], "val": ["b"], "test": ["c"]}},
    metrics={"val_psnr": 30.5},
    version="1",
)


@pytest.fixture(scope="module")
def generator():
    model = build_generator(scale=2, channels=1, **INFO.generator)
    model.get_layer("output_conv").kernel.assign(np.full((3, 3, 4, 1), 0.1))
    return model


@pytest.fixture
def saved(tmp_path, generator):
    save_trained(tmp_path / "model", generator, INFO, "# card")
    return tmp_path / "model"


def test_round_trip(saved, generator):
    assert sorted(path.name for path in saved.iterdir()) == ["card.md", "generator.keras", "model.json"]
    x = np.random.default_rng(0).random((1, 7, 6, 1), dtype="float32")
    for path in (saved, str(saved), saved / "generator.keras"):
        loaded, info = load_trained(path)
        assert info == INFO
        np.testing.assert_array_equal(loaded(x), generator(x))
    assert load_info(saved) == INFO
    assert (saved / "card.md").read_text() == "# card"


def test_saving_again_replaces(saved, generator):
    save_trained(saved, generator, ModelInfo.from_dict({**INFO.to_dict(), "version": "2"}), "new")
    assert load_info(saved).version == "2"


def test_keys_of_later_versions_are_ignored(saved):
    (saved / "model.json").write_text(json.dumps({**INFO.to_dict(), "new_key": 1}))
    assert load_info(saved) == INFO


def test_missing(tmp_path, saved):
    with pytest.raises(MrisrError, match=f"No model at {tmp_path / 'nothing'}"):
        load_trained(tmp_path / "nothing")
    with pytest.raises(MrisrError, match=r"no model directory: model\.json is missing"):
        load_trained(tmp_path)
    (tmp_path / "alone.keras").touch()
    with pytest.raises(MrisrError, match=r"alone\.keras lies in no model directory: there is no model\.json"):
        load_info(tmp_path / "alone.keras")
    with pytest.raises(MrisrError, match=r"alone\.keras cannot be loaded"):
        load_trained(tmp_path / "alone.keras")
    (saved / "generator.keras").unlink()
    with pytest.raises(MrisrError, match=r"holds no generator\.keras"):
        load_trained(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"scale": 2}', "3", '{"scale": "two"}'])
def test_broken_description(saved, content):
    (saved / "model.json").write_text(content)
    with pytest.raises(MrisrError, match=r"model\.json is ") as caught:
        load_trained(saved)
    assert "\n" not in str(caught.value)


def test_broken_weights(saved):
    content = (saved / "generator.keras").read_bytes()
    for broken in (b"", b"no zip", content[: len(content) // 2]):
        (saved / "generator.keras").write_bytes(broken)
        with pytest.raises(MrisrError, match=r"generator\.keras cannot be loaded") as caught:
            load_trained(saved)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": 3}, r"takes 1 channel.* model\.json says 3"),
        ({"scale": 4, "degradation": {}}, r"model\.json says scale 4"),
        ({"neighbours": 1}, r"takes 1 channel.* model\.json says 3 of 3 slices"),
        ({"factors": [1, 1, 2], "degradation": {}}, r"model\.json says scale 1x1x2"),
    ],
)
def test_weights_of_another_model(saved, changed, message):
    (saved / "model.json").write_text(json.dumps({**INFO.to_dict(), **changed}))
    with pytest.raises(MrisrError, match=message):
        load_trained(saved)


@pytest.mark.parametrize(
    ("name", "scale", "fields", "sizes"),
    [
        ("edsr", 2, {"neighbours": 1, "channels": 2}, (6, 5)),
        ("srresnet3d", (1, 1, 3), {"scale": 3, "factors": (1, 1, 3), "degradation": {}}, (6, 5, 4)),
    ],
)
def test_stacks_and_volumes(tmp_path, name, scale, fields, sizes):
    options = {"name": name, "blocks": 1, "filters": 4}
    info = dataclasses.replace(INFO, generator=options, **fields)
    model = build_generator(scale=scale, channels=info.channels, neighbours=info.neighbours, **options)
    save_trained(tmp_path / "model", model, info, "# card")
    loaded, again = load_trained(tmp_path / "model")
    assert again == info
    x = np.random.default_rng(0).random((1, *sizes, info.input_channels), dtype="float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert info.scale_text == ("2" if name == "edsr" else "1x1x3")
    # The network of the one with the description of the other.
    (tmp_path / "model" / "model.json").write_text(json.dumps(INFO.to_dict()))
    with pytest.raises(MrisrError, match="the files are of two models"):
        load_trained(tmp_path / "model")


def plain_network(channels, made, factors=(2, 2)):
    """A Keras model as a user builds one: convolution, then nearest neighbours."""
    rank = len(factors)
    inputs = keras.Input((*[None] * rank, channels))
    conv, up = [
        (keras.layers.Conv2D, keras.layers.UpSampling2D),
        (keras.layers.Conv3D, keras.layers.UpSampling3D),
    ][rank - 2]
    x = conv(made, 3, padding="same", data_format="channels_last")(inputs)
    return keras.Model(inputs, up(factors, data_format="channels_last")(x), name="own")


@pytest.mark.parametrize(
    ("network", "scale", "channels", "neighbours", "factors"),
    [
        ((1, 1, (2, 2)), 2, 1, 0, (2, 2)),
        ((3, 3, (4, 4)), 4, 3, 0, (4, 4)),
        ((3, 1, (2, 2)), 2, 1, 1, (2, 2)),
        ((1, 1, (1, 1, 3)), 3, 1, 0, (1, 1, 3)),
    ],
)
def test_a_network_of_ones_own_is_described_by_its_shapes(
    tmp_path, network, scale, channels, neighbours, factors
):
    network = plain_network(*network)
    network.save(tmp_path / "own.keras")
    for source in (network, tmp_path / "own.keras"):
        loaded, info = load_trained(source)
        assert loaded.name == "own"
        assert (info.scale, info.channels, info.neighbours) == (scale, channels, neighbours)
        assert info.factors == factors
        assert info.degradation == {}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ((2, 1, (2, 2)), r"own makes 1 channel\(s\) of 2: the input must have as many, or an odd multiple"),
        ((1, 1, (2, 3)), r"own upscales by \(2, 3\): a slice has one factor for both axes"),
    ],
)
def test_shapes_that_no_super_resolution_has(network, message):
    with pytest.raises(MrisrError, match=message):
        load_trained(plain_network(*network))


def test_a_classifier_is_no_super_resolution():
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)), name="labels")
    with pytest.raises(MrisrError, match="labels is no network for super-resolution"):
        load_trained(model)


def model_of(layer):
    inputs = keras.Input((None, None, 1))
    return keras.Model(inputs, PixelShuffle(2)(layer(keras.layers.Conv2D(4, 3, padding="same")(inputs))))


GATE = """
import keras

@keras.saving.register_keras_serializable("mine")
class Gate(keras.layers.Layer):
    def call(self, inputs):
        return inputs * keras.ops.sigmoid(inputs)
    def compute_output_shape(self, input_shape):
        return input_shape
"""


@pytest.fixture
def gated(tmp_path, monkeypatch):
    """A model with a layer of a user's own, which is registered by nobody at first, and its module."""
    module = tmp_path / "gate.py"
    module.write_text(GATE)
    import_user_code([str(module)])
    model_of(sys.modules["gate"].Gate()).save(tmp_path / "gated.keras")

    def forget():
        sys.modules.pop("gate", None)
        keras.saving.get_custom_objects().pop("mine>Gate", None)

    forget()
    yield module, tmp_path / "gated.keras"
    forget()


def test_a_layer_of_a_users_own(gated):
    module, model = gated
    with pytest.raises(
        MrisrError, match=r"holds 'Gate', which .* registers it with Keras \(`import`\)"
    ) as caught:
        load_trained(model)
    assert "retrain" not in str(caught.value)
    import_user_code([str(module)])
    assert load_trained(model)[1].scale == 2


def test_an_entry_point_registers_layers(gated, tmp_path, monkeypatch):
    module, model = gated
    package = tmp_path / "site" / "mine-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[keras_mrisr.layers]\ngate = gate\n")
    monkeypatch.syspath_prepend(package.parent)
    load_entry_points.cache_clear()
    with pytest.raises(
        MrisrError, match=r"The entry point gate = gate of keras_mrisr\.layers cannot be loaded"
    ):
        load_trained(model)
    monkeypatch.syspath_prepend(module.parent)
    assert load_trained(model)[1].scale == 2


def test_user_code_that_cannot_be_imported(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    for name, reason in (("no_such_module", "ModuleNotFound"), (str(tmp_path / "broken.py"), "ZeroDivision")):
        with pytest.raises(MrisrError, match=f"`import`: {name} cannot be imported .{reason}Error"):
            import_user_code([name])


def test_code_in_a_model_is_called_unsafe(tmp_path):
    model_of(keras.layers.Lambda(lambda x: x * 2)).save(tmp_path / "code.keras")
    with pytest.raises(MrisrError, match=r"a Lambda layer.*: unsafe, and refused") as caught:
        load_trained(tmp_path / "code.keras")
    assert "retrain" not in str(caught.value)


def test_import_is_an_option_of_commands(mrisr, gated, tmp_path, image_root):
    module, model = gated
    image = next(image_root.rglob("*.png"))
    words = ["upscale", image, tmp_path / "sr.png", "--model", model]
    code, _, err = mrisr(*words)
    assert code == 2 and "'Gate'" in err and "(--import)" in err
    assert mrisr(*words, "--import", module)[0] == 0
