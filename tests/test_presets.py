import pytest

from keras_mrisr.config import RunConfig, read_config, write_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.presets import (
    ADVERSARIAL_PRESETS,
    PRESETS,
    adversarial_config,
    continued_config,
    preset_config,
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name):
    assert preset_config(name).generator == PRESETS[name]["generator"]
    assert not preset_config(name).adversarial.on


def test_paper_preset_is_the_papers_recipe():
    config = preset_config("paper")
    assert config.degradation == {"name": "paper"}
    assert config.generator == {"name": "srresnet", "blocks": 16, "filters": 64}
    assert config.training.loss == "mean_squared_error"
    assert config.training.learning_rate == 1e-3
    assert config.training.schedule == "constant"
    assert config.training.batch_size == 16


def test_unknown_preset():
    with pytest.raises(MrisrError, match=r"Unknown preset 'tiny'\. Known: compact, full, paper"):
        preset_config("tiny")
    with pytest.raises(
        MrisrError, match=r"Unknown adversarial preset 'wild'\. Known: paper, projected, stable"
    ):
        adversarial_config(RunConfig(), "wild")


@pytest.mark.parametrize("base", PRESETS)
@pytest.mark.parametrize("name", ADVERSARIAL_PRESETS)
def test_an_adversarial_preset_keeps_size_scale_and_data(tmp_path, base, name):
    before = preset_config(base).replace({"scale": 4, "data.root": "here"})
    config = adversarial_config(before, name)
    assert config.adversarial.on
    assert (config.scale, config.data) == (4, before.data)
    upsampling = {"direct_upsampling", "smooth_upsampling", "thin_layers", "thin_noise"}
    kept, given = ({k: v for k, v in c.generator.items() if k not in upsampling} for c in (config, before))
    assert kept == given
    if name == "stable":
        assert config.generator["smooth_upsampling"]
        assert "direct_upsampling" not in config.generator
    else:
        grown = {"thin_layers": 3, "thin_noise": 1} if name == "projected" else {}
        assert config.generator == {**before.generator, **grown}
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", RunConfig()) == config


def test_adversarial_paper_preset_is_what_diverged():
    config = adversarial_config(preset_config("paper"), "paper")
    training, adversarial = config.training, config.adversarial
    assert (training.batch_size, training.learning_rate, training.schedule) == (1, 1e-4, "constant")
    assert adversarial.discriminator_rate == 1e-4
    assert (adversarial.kind, adversarial.adversarial_weight) == ("bce", 1e-3)
    assert (adversarial.pixel_weight, adversarial.perceptual_weight) == (0.0, 1.0)
    assert (adversarial.consistency_weight, adversarial.r1_weight) == (0.0, 0.0)
    assert not adversarial.pretraining, "no hand-over"
    assert not adversarial.rollbacks, "nobody helps it"
    assert adversarial.average == 0.0


def test_stable_preset_starts_from_a_trained_generator():
    config = adversarial_config(preset_config("compact"))
    assert config == adversarial_config(preset_config("compact"), "stable")
    assert config.adversarial.pretraining["epochs"] > 0
    assert config.adversarial.rollbacks > 0
    assert config.training.learning_rate < config.adversarial.pretraining["learning_rate"]


def test_a_trained_model_gives_the_network_to_train_further():
    generator = {"name": "edsr", "blocks": 3, "filters": 8}
    info = ModelInfo(
        scale=4,
        channels=1,
        generator=generator,
        degradation={"name": "kspace", "scale": 4, "window": "hamming"},
        data={"separate_channels": True},
        neighbours=1,
    )
    config = continued_config(info)
    assert (config.scale, config.generator) == (4, generator)
    assert config.degradation == {"name": "kspace", "window": "hamming"}
    assert (config.data.neighbours, config.data.separate_channels) == (1, True)
    assert config.training.learning_rate < preset_config("full").training.learning_rate
    volumes = ModelInfo(2, 1, {"name": "srresnet3d"}, {}, factors=(1, 1, 2))
    assert continued_config(volumes).scale == (1, 1, 2)
