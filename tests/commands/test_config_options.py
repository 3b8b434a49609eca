"""Options that are made from configs, and the list of their keys."""

import re

import pytest

from keras_mrisr.config import AdversarialConfig, RunConfig, parse_override
from keras_mrisr.degrade.registry import DEGRADATIONS
from keras_mrisr.finetune import FinetuneConfig
from keras_mrisr.models.discriminators import DISCRIMINATORS
from keras_mrisr.models.registry import GENERATORS
from keras_mrisr.presets import adversarial_config, preset_config
from keras_mrisr.segmentation import SegmentationConfig, segmentation_preset


def keys(out):
    lines = [line for line in out.splitlines() if not line.startswith("    ")]
    return dict(map(parse_override, lines))


def test_help_of_train(mrisr, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    code, out, err = mrisr("train", "--help")
    assert (code, err) == (0, "")
    for line in ("data:", "network:", "training:", "config:", "example:", "  mrisr train --data slices "):
        assert f"\n{line}" in out
    epochs = preset_config().training.epochs
    assert re.search(rf"--epochs N +Number of epochs; .* \(default: {epochs}\)\n", out)
    assert re.search(r"--learning-rate X .*\(default: 0\.002\)", out)
    assert re.search(r"--data ROOT +Folder of the data\n", out)  # No default, and no empty one.
    for names, option in ((DEGRADATIONS, "degradation"), (GENERATORS, "generator")):
        meaning = re.search(rf"  --{option} .*", out)[0]
        assert all(name in meaning for name in names)


@pytest.mark.parametrize("preset", [[], ["--preset", "compact", "--adversarial"]])
def test_keys_are_all_that_set_takes(mrisr, preset):
    code, out, err = mrisr("train", *preset, "--keys")
    assert (code, err) == (0, "")
    found = keys(out)
    config = preset_config("compact") if preset else preset_config()
    config = adversarial_config(config) if preset else config
    assert {f"adversarial.{name}" for name in AdversarialConfig.model_fields} - set(found) == {
        "adversarial.discriminator",
        "adversarial.features",
    }
    assert found["generator.blocks"] == config.generator["blocks"]
    assert found["adversarial.on"] is bool(preset)
    assert "    Residual blocks\n" in out
    assert all(name in out for name in DISCRIMINATORS)
    # Each one can be given, with that value: then it is what it was.
    again = RunConfig().replace(found)
    assert (again.data, again.training) == (config.data, config.training)
    assert again.generator.items() >= config.generator.items()
    assert (
        again.replace(
            {"adversarial.discriminator": {}, "adversarial.features": {}}
            | {
                f"adversarial.{name}": getattr(config.adversarial, name)
                for name in ("discriminator", "features")
            }
        ).adversarial
        == config.adversarial
    )


def test_keys_of_the_other_trainings(mrisr):
    code, out, err = mrisr("segment", "train", "--preset", "compact", "--keys")
    assert (code, err) == (0, "")
    config = segmentation_preset("compact")
    assert keys(out)["unet"] == {"filters": 16, "depth": 4}
    assert SegmentationConfig().replace(keys(out)) == config
    code, out, err = mrisr("features", "finetune", "--keys")
    assert (code, err) == (0, "")
    assert FinetuneConfig().replace(keys(out)) == FinetuneConfig()


def test_lists_and_scales(mrisr, tmp_path):
    words = ["--data", tmp_path, "--out", tmp_path / "run"]
    code, _, err = mrisr("features", "finetune", *words, "--labels", "tumour,grade")
    assert (code, err) == (
        2,
        "mrisr: error: labels must be some of tumour, sequence. Received: ['tumour', 'grade']\n",
    )
    code, _, err = mrisr("train", *words, "--scale", "1,1,9")
    assert code == 2 and "three factors of 1 to 4" in err and "(1, 1, 9)" in err
