import pathlib

import pytest
import yaml

from keras_mrisr.config import RunConfig
from keras_mrisr.errors import MrisrError
from keras_mrisr.tuning import read_study, write_study
from keras_mrisr.tuning.study import check_study, present_values


@pytest.mark.parametrize("name", ["srresnet", "srgan"])
def test_studies_that_ship(name, models):
    study = read_study(name)
    assert len(study.space.keys) > 10
    if name == "srgan":
        assert study.config.adversarial.on and study.config.adversarial.r1_weight > 0, "the preset stable"
        study = study.starting_from(str(models["x4"]))
        assert (study.config.scale, study.config.generator["filters"]) == (4, 8)
        assert study.config.degradation["name"] == "bicubic"
        # The preset lies within the space, so that it can be the first trial as it is.
        present = present_values(study)
        assert present["adversarial.features.before_activation"] is False, "the builder's default"
        for parameter in study.space.parameters:
            inactive = parameter.when and present["adversarial.kind"] != "bce"
            assert inactive or parameter.encode(present[parameter.key]) is not None, parameter.key
    check_study(study)


@pytest.mark.parametrize("name", ["srresnet", "srgan"])
def test_round_trip(tmp_path, name):
    study = read_study(name, {"training.epochs": 3, "generator.name": "edsr"}, "perceptual")
    write_study(study, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml") == study


def test_run_config(study_file):
    study = read_study(study_file())
    config = study.run_config(
        {"generator.name": "srresnet", "generator.blocks": 3, "generator.batch_norm": False}
    )
    # The options of the old builder don't go with the new one.
    assert config.generator == {"name": "srresnet", "blocks": 3, "batch_norm": False}
    assert config.replace({"generator": study.config.generator}) == study.config
    with pytest.raises(MrisrError, match=r"training\.epochs must be 1 or more"):
        study.run_config({"training.epochs": 0})


def test_fixes(study_file):
    study = read_study(study_file(), {"generator.name": "edsr", "training.epochs": 7})
    assert study.config.training.epochs == 7
    assert study.space.keys == ("generator.blocks", "generator.residual_scaling", "training.learning_rate")
    # An option of the builder, while the builder is searched, has to survive its change.
    study = read_study(study_file(), {"generator.filters": 9})
    assert study.space.keys[-1] == "generator.filters"
    assert study.run_config({"generator.name": "srresnet", "generator.filters": 9}).generator == {
        "name": "srresnet",
        "filters": 9,
    }
    with pytest.raises(MrisrError, match=r"Unknown config key 'training\.epoch'"):
        read_study(study_file(), {"training.epoch": 7})
    with pytest.raises(MrisrError, match="space is empty: nothing is left to search"):
        read_study(
            study_file({"training.epochs": {"type": "int", "min": 1, "max": 2}}, "one"),
            {"training.epochs": 1},
        )


def write(path, **keys):
    space = {"training.epochs": {"type": "int", "min": 1, "max": 3}}
    path.write_text(yaml.safe_dump({"space": space, **keys}))
    return path


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"space": {"training.epoch": {"type": "boolean"}}}, "space: Unknown config key 'training.epoch'"),
        (
            {"space": {"epochs": {"type": "boolean"}}},
            "Unknown config key 'epochs'. Did you mean 'training.epochs'",
        ),
        (
            {"space": {"training.epochs.x": {"type": "boolean"}}},
            "space: Unknown config key 'training.epochs'",
        ),
        ({"space": []}, r"space must hold keys and their ranges. Received: \[\]"),
        ({"space": {}}, "space is empty"),
        ({"spaces": {}}, "unknown key 'spaces'. Known: stage, preset"),
        ({"stage": "both"}, "stage must be one of generator, adversarial. Received: 'both'"),
        ({"objective": "beauty"}, "objective must be one of psnr, perceptual, weighted"),
        ({"preset": "huge"}, "Unknown preset 'huge'"),
        ({"stage": "adversarial", "adversarial": "wild"}, "Unknown adversarial preset 'wild'"),
        ({"config": {"training.epoch": 1}}, "Unknown config key 'training.epoch'"),
        ({"config": [1]}, "config must hold keys and values"),
        # A list where a name belongs, and a number that no float holds.
        ({"preset": ["full"]}, r"Unknown preset \['full'\]"),
        ({"stage": "adversarial", "adversarial": ["stable"]}, r"Unknown adversarial preset \['stable'\]"),
        ({"stage": ["generator"]}, r"stage must be one of generator, adversarial. Received: \['gen"),
        ({"objective": [["psnr"]]}, r"objective must be one of psnr"),
        ({"config": {"training.loss": ["psnr"]}}, r"training.loss must be one of"),
        ({"space": {"training.learning_rate": {"type": "float", "min": 0.1, "max": 10**400}}}, "max must be"),
        ({"config": {"adversarial.on": True}}, "stage is 'generator', but adversarial.on is True"),
    ],
)
def test_bad_studies(tmp_path, keys, message):
    path = write(tmp_path / "my.yaml", **keys)
    with pytest.raises(MrisrError, match=message) as caught:
        read_study(path)
    assert str(caught.value).startswith(f"Study {path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "scale",
        "degradation",
        "degradation.sigma",
        "data.split_seed",
        "data.separate_channels",
        "training.validation_slices",
    ],
)
def test_what_would_make_scores_incomparable(study_file, key):
    space = {
        key: {"type": "choice", "values": [2, 4]},
        "data.neighbours": {"type": "choice", "values": [0, 1]},
    }
    path = study_file(space, "incomparable")
    with pytest.raises(MrisrError, match=rf": space: {key} decides what the trials are scored on") as caught:
        read_study(path)
    assert "\n" not in str(caught.value)
    fixed = {"degradation": {"name": "paper"}, "data.separate_channels": True}.get(key, 2)
    assert read_study(path, {key: fixed}).space.keys == ("data.neighbours",)


def test_unreadable(tmp_path):
    with pytest.raises(
        MrisrError, match=r"Unknown study 'srrresnet'\. Known: srgan, srresnet, or a YAML file"
    ):
        read_study("srrresnet")
    for content, message in (
        (b"a: [", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"1", "not int"),
    ):
        (tmp_path / "broken.yaml").write_bytes(content)
        with pytest.raises(MrisrError, match=message) as caught:
            read_study(tmp_path / "broken.yaml")
        assert "\n" not in str(caught.value)
    with pytest.raises(MrisrError, match=r"Cannot read the study .*: No such file"):
        read_study(pathlib.Path("nothing.yaml"))
    with pytest.raises(MrisrError, match=r"Cannot read the study .*: Is a directory"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        (
            "generator.depth",
            {"type": "int", "min": 1, "max": 4},
            "'edsr' has no option 'depth'. It has: scale",
        ),
        (
            "training.batch_size",
            {"type": "int", "min": 0, "max": 4},
            r"training\.batch_size must be 1 or more",
        ),
        ("training.patch_size", {"type": "choice", "values": [16, 17]}, "must be a multiple of the scale 2"),
        ("generator.name", {"type": "choice", "values": ["edsr", "unet"]}, "Unknown generator 'unet'"),
    ],
)
def test_values_that_no_config_takes(study_file, key, entry, message):
    with pytest.raises(MrisrError, match=message) as caught:
        check_study(read_study(study_file({key: entry}, "bad")))
    assert str(caught.value).startswith(f"space: {key} of ")


def test_what_goes_together(study_file, models):
    space = {"adversarial.discriminator.depth": {"type": "int", "min": 1, "max": 4}}
    adversarial = read_study(study_file(space, "gan", stage="adversarial"))
    with pytest.raises(MrisrError, match="starts from a trained generator: give one with `init=RUN`"):
        check_study(adversarial)
    with pytest.raises(MrisrError, match="'patchgan' has no option 'depth'"):
        check_study(adversarial.starting_from(str(models["grey"])))
    with pytest.raises(
        MrisrError, match=r"The study varies generator\.name, but runs that start from a trained"
    ):
        check_study(read_study(study_file()).starting_from(str(models["grey"])))
    with pytest.raises(MrisrError, match="No model at nowhere"):
        adversarial.starting_from("nowhere")
    volumes = {
        "scale": [1, 1, 2],
        "generator": {"name": "srresnet3d"},
        "degradation": {"name": "slice-profile"},
    }
    space = {"training.learning_rate": {"type": "float", "min": 1e-4, "max": 1e-3}}
    with pytest.raises(MrisrError, match="objective of a 3-D generator is psnr"):
        check_study(read_study(study_file(space, "volumes", config=volumes, objective="weighted")))


def test_the_default_config_is_a_preset(tmp_path):
    study = read_study(write(tmp_path / "my.yaml"))
    assert study.config == RunConfig.from_dict(study.config.to_dict())
    assert study.config.generator["name"] == "edsr" and study.objective == "psnr"
