import pathlib

import pytest
import yaml

import keras_mrisr
from keras_mrisr.config import (
    DataConfig,
    RunConfig,
    TrainingConfig,
    parse_override,
    read_config,
    write_config,
)
from keras_mrisr.errors import MrisrError
from keras_mrisr.presets import PRESETS, preset_config

PRETRAINED = pathlib.Path(keras_mrisr.__file__).parent / "pretrained"


def test_yaml_round_trip(tmp_path):
    config = preset_config("compact").replace(
        {
            "scale": 4,
            "data.root": "a folder/µ",
            "data.patient_pattern": r"(?P<patient>\d+)_",
            "training.init": "runs/x2",
            "degradation": {"name": "bicubic", "round_8bit": True},
        }
    )
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", RunConfig()) == config
    assert RunConfig.from_dict(config.to_dict()) == config


def test_defaults_round_trip(tmp_path):
    write_config(RunConfig(), tmp_path / "config.yaml")
    for base in (None, RunConfig(), preset_config("paper")):
        assert read_config(tmp_path / "config.yaml", base) == RunConfig()


CONFIGS = [path for path in sorted(PRETRAINED.glob("*/config.yaml")) if path.parent.name != "thick"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_configs_of_old_runs_load_as_they_are(path):
    """Those of the bundled models, of several earlier versions: what they say holds, the rest is default."""
    written, config = yaml.safe_load(path.read_text()), read_config(path).to_dict()
    for section, values in written.items():
        assert config[section] == ({**config[section], **values} if isinstance(values, dict) else values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scal": 2}, r"Unknown config key 'scal'\. Did you mean 'scale'"),
        ({"epochs": 2}, r"Unknown config key 'epochs'\. Did you mean 'training\.epochs'"),
        ({"training": {"epoch": 2}}, r"'training\.epoch'\. Did you mean 'training\.epochs'"),
        ({"trainin": {"epochs": 2}}, r"'trainin'\. Did you mean 'training'"),
        ({"data": {"zzz": 2}}, r"'data\.zzz'\. Known here: root, kind"),
        ({1: 2}, "Unknown config key '1'"),
        (None, "The config must hold keys and values"),
        ({"training": 3}, r"training must hold keys and values\. Received: 3"),
        ({"scale": 5}, r"scale must be one of 2, 3, 4, 8\. Received: 5"),
        ({"scale": "two"}, r"scale must be of type int\. Received: 'two'"),
        ({"scale": True}, "scale must be of type int"),
        ({"degradation": "paper"}, r"degradation must be of type dict\. Received: 'paper'"),
        ({"degradation": {"sigma": 1}}, r"degradation\.name is missing"),
        ({"degradation": {"name": "paper", "scale": 3}}, r"degradation\.scale must be the scale 2"),
        ({"generator": {}}, r"generator\.name is missing"),
        ({"generator": {"name": "edsr", "channels": 3}}, r"generator\.channels is no option"),
        (
            {"data": {"kind": "dicom"}},
            r"data\.kind must be one of auto, lgg, images, volumes\. Received: 'dicom'",
        ),
        ({"data": {"test_fraction": -0.1}}, r"data\.test_fraction must be "),
        ({"data": {"validation_fraction": 0}}, r"data\.validation_fraction must be more than 0, less than 1"),
        ({"data": {"validation_fraction": float("nan")}}, r"data\.validation_fraction must be"),
        ({"data": {"test_fraction": 0.6, "validation_fraction": 0.5}}, "less than 1"),
        ({"training": {"epochs": 0}}, r"training\.epochs must be 1 or more\. Received: 0"),
        ({"training": {"epochs": 2.5}}, r"training\.epochs must be of type int"),
        ({"training": {"batch_size": -1}}, r"training\.batch_size"),
        ({"training": {"patch_size": 95}}, r"training\.patch_size must be a multiple of the scale 2"),
        ({"training": {"augment": "maybe"}}, r"training\.augment must be of type bool"),
        ({"training": {"learning_rate": 0}}, r"training\.learning_rate must be more than 0"),
        ({"training": {"learning_rate": "fast"}}, r"training\.learning_rate must be of type float"),
        (
            {"training": {"learning_rate": float("inf")}},
            r"learning_rate must be a finite number, more than 0\. Received: inf",
        ),
        ({"training": {"learning_rate": 10**400}}, r"learning_rate must be of type float\. Received: 1000"),
        ({"training": {"clip_norm": float("nan")}}, r"training\.clip_norm"),
        ({"training": {"seed": 2**32}}, r"training\.seed"),
        ({"training": {"loss": "l1"}}, r"training\.loss must be one of"),
        ({"training": {"schedule": "step"}}, r"training\.schedule must be one of"),
        ({"training": {"precision": "float16"}}, r"training\.precision must be one of"),
        ({"training": {"noise_snr": -2.5}}, r"training\.noise_snr must be a number over 0, or \[low, high\]"),
        ({"training": {"noise_snr": [40, 10]}}, r"training\.noise_snr must be"),
        ({"training": {"noise_snr": [10, "x"]}}, r"training\.noise_snr must be"),
        ({"training": {"noise_snr": [10, 20, 30]}}, r"training\.noise_snr must be"),
        ({"training": {"noise_snr": "loud"}}, r"training\.noise_snr must be of type int \| float"),
        ({"training": {"strategy": "tpu"}}, r"training\.strategy must be one of"),
        ({"training": {"init": 3}}, r"training\.init must be of type"),
        ({"adversarial": {"rampe": 3}}, r"Unknown config key 'adversarial\.rampe'\. Did you mean"),
        ({"rollbacks": 3}, r"Did you mean 'adversarial\.rollbacks'"),
        ({"adversarial": {"kind": "wgan"}}, r"adversarial\.kind must be one of bce, relativistic"),
        ({"adversarial": {"r1_weight": -1}}, r"adversarial\.r1_weight must be 0 or more"),
        ({"adversarial": {"r1_every": 0}}, r"adversarial\.r1_every must be 1 or more"),
        ({"adversarial": {"pixel_weight": float("nan")}}, r"adversarial\.pixel_weight"),
        ({"adversarial": {"average": 1.0}}, r"adversarial\.average must be 0 or more, less than 1"),
        (
            {"adversarial": {"label_smoothing": 0.5}},
            r"adversarial\.label_smoothing must be 0 or more, less than 0\.5",
        ),
        (
            {"adversarial": {"label_smoothing": 0.1, "kind": "relativistic"}},
            r"label_smoothing must be 0 unless adversarial\.kind is 'bce'",
        ),
        ({"adversarial": {"discriminator": {"filters": 3}}}, r"adversarial\.discriminator\.name is missing"),
        ({"adversarial": {"discriminator": {"name": "unet", "channels": 3}}}, r"channels is no option"),
        ({"adversarial": {"discriminator": "unet"}}, r"adversarial\.discriminator must be of type dict"),
        (
            {"adversarial": {"pretraining": {"epoch": 3}}},
            r"'adversarial\.pretraining\.epoch'\. Did you mean 'adversarial\.pretraining\.epochs'",
        ),
        ({"data": {"neighbours": -1}}, r"data\.neighbours must be 0 or more"),
        ({"generator": {"name": "edsr", "neighbours": 1}}, r"generator\.neighbours is no option"),
        ({"scale": [1, 1, 1]}, r"scale must be a number, or three factors of 1 to 4 .* \(1, 1, 1\)"),
        ({"scale": [1, 2]}, r"scale must be a number, or three factors"),
        ({"scale": [1, 1, 8]}, r"scale must be a number, or three factors"),
        ({"scale": [1, 1, "two"]}, r"scale must be of type int\. Received: 'two'"),
        ({"scale": [1, 1, 2], "data": {"neighbours": 1}}, r"data\.neighbours must be 0 for a 3-D generator"),
        ({"scale": [1, 1, 2], "adversarial": {"on": True}}, r"Adversarial training is for .* slices"),
        ({"scale": [1, 1, 2], "training": {"patch_size": 0}}, r"needs training\.patch_size"),
        ({"scale": [1, 1, 3]}, r"training\.patch_slices must be a multiple of the scale 3"),
        (
            {"scale": [3, 3, 2], "training": {"patch_size": 32}},
            r"patch_size must be a multiple of the scale 3",
        ),
        ({"scale": [1, 1, 2], "training": {"noise_snr": 20}}, r"training\.noise_snr is for .* slices"),
        ({"adversarial": {"on": True}, "training": {"patch_size": 0}}, r"needs training\.patch_size"),
    ],
)
def test_bad_values_name_the_key(values, message):
    with pytest.raises(MrisrError, match=message) as caught:
        RunConfig.from_dict(values)
    assert "\n" not in str(caught.value)


def test_direct_construction_checks_types_too():
    with pytest.raises(MrisrError, match=r"training\.epochs must be of type int"):
        TrainingConfig(epochs="10")
    with pytest.raises(MrisrError, match=r"data\.root must be of type str"):
        DataConfig(root=None)
    assert RunConfig(training={"epochs": 3}).training == TrainingConfig(epochs=3)
    with pytest.raises(MrisrError, match=r"training\.epochs must be of type int"):
        RunConfig(training={"epochs": "10"})
    with pytest.raises(MrisrError, match=r"training must hold keys and values\. Received: 3"):
        RunConfig(training=3)


def test_numbers_may_be_written_either_way():
    training = RunConfig.from_dict(
        {"training": {"learning_rate": "1e-4", "epochs": 3.0, "clip_norm": 1}}
    ).training
    assert (training.learning_rate, training.epochs, training.clip_norm) == (1e-4, 3, 1.0)
    assert isinstance(training.epochs, int)
    assert isinstance(training.clip_norm, float)


def test_replace():
    config = RunConfig()
    new = config.replace({"training.epochs": 3, "generator.blocks": 4, "data.root": "x"})
    assert (new.training.epochs, new.generator["blocks"], new.data.root) == (3, 4, "x")
    assert new.generator["filters"] == config.generator["filters"]
    assert config == RunConfig(), "the config itself must not change"


def test_replace_of_a_name_drops_the_old_options():
    config = RunConfig().replace({"generator.blocks": 3, "generator.name": "srresnet"})
    assert config.generator == {"name": "srresnet", "blocks": 3}
    same = RunConfig().replace({"generator.name": "edsr"})
    assert same.generator == RunConfig().generator


@pytest.mark.parametrize("key", ["trainin.epochs", "training.epoch", "epochs"])
def test_replace_of_an_unknown_key(key):
    with pytest.raises(MrisrError, match="Unknown config key"):
        RunConfig().replace({key: 3})


def test_file_over_a_preset(tmp_path):
    (tmp_path / "a.yaml").write_text("generator:\n  blocks: 2\ntraining:\n  epochs: 7\n")
    config = read_config(tmp_path / "a.yaml", preset_config("compact"))
    assert config.generator == {**PRESETS["compact"]["generator"], "blocks": 2}
    assert config.training.epochs == 7
    assert config.training.learning_rate == PRESETS["compact"]["training"]["learning_rate"]
    (tmp_path / "a.yaml").write_text("generator: {name: edsr, blocks: 2}\n")
    assert read_config(tmp_path / "a.yaml", preset_config("compact")).generator == {
        "name": "edsr",
        "blocks": 2,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not valid YAML"),
        (b"\xff\xfe\x00x", "not valid YAML"),
        (b"", "must hold keys and values, not NoneType"),
        (b"- a\n", "must hold keys and values, not list"),
        (b"traning: {epochs: 2}", "Did you mean 'training'"),
        (b"1: 2", "Unknown config key '1'"),
        (b"scale: 2020-13-01", "not valid YAML"),
        (b"[" * 5000, "not valid YAML"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(MrisrError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    for path in (tmp_path / "a.yaml", tmp_path):
        with pytest.raises(MrisrError, match=f"Cannot read the config {path}"):
            read_config(path)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("training.epochs=10", ("training.epochs", 10)),
        ("data.root=a=b", ("data.root", "a=b")),
        ("training.init=null", ("training.init", None)),
        ("training.augment=false", ("training.augment", False)),
        ("degradation={name: bicubic}", ("degradation", {"name": "bicubic"})),
    ],
)
def test_parse_override(text, pair):
    assert parse_override(text) == pair


@pytest.mark.parametrize("text", ["epochs", "=3", "", "a=[1"])
def test_parse_override_rejects(text):
    with pytest.raises(MrisrError, match=r"KEY=VALUE|not valid YAML"):
        parse_override(text)


def test_volumes_round_trip(tmp_path):
    config = RunConfig().replace({"scale": [1, 1, 2], "degradation": {"name": "slice-profile"}})
    assert config.dimensions == 3 and config.scale == (1, 1, 2)
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    assert config.replace({"degradation.scale": [1, 1, 2]}).dimensions == 3
    assert config.replace({"scale": 2.0}).dimensions == 2
    assert config.replace({"scale": [2, 2]}).scale == 2
