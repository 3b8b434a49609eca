"""What the adversarial stage refuses, before anything was trained or left behind."""

import json

import pytest

from keras_mrisr.data.splits import Split
from keras_mrisr.errors import MrisrError
from keras_mrisr.models.vgg import vgg, write_weights
from keras_mrisr.training import train
from keras_mrisr.training.adversarial import check_feature_weights


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"adversarial.discriminator.channels": 3},
            r"adversarial\.discriminator\.channels is no option: it follows from the scale and the data",
        ),
        (
            {"degradation.name": "random-blur", "adversarial.consistency_weight": 1.0},
            "'random-blur' differs from image to image",
        ),
        ({"adversarial.discriminator.name": "resnet"}, r"Unknown discriminator 'resnet'\. Known: patchgan"),
        ({"adversarial.discriminator": {"name": [1]}}, r"Unknown discriminator \[1\]"),
        ({"adversarial.discriminator.depth": 3}, r"Unknown option 'depth' of 'patchgan'"),
        (
            {"training.patch_size": 8, "adversarial.discriminator": {"name": "srgan"}},
            r"Patches of 8 are too small for the discriminator 'srgan'",
        ),
        (
            {"training.patch_size": 12},
            r"'patchgan' takes HR patches of any size that is a multiple of 8\. Received: patch_size=12",
        ),
        (
            {"adversarial.pixel_weight": 0, "adversarial.perceptual_weight": 0},
            "are both 0: nothing ties SR to HR",
        ),
        ({"adversarial.pretraining.patch_size": 64}, "smaller than the patch of 64"),
        ({"adversarial.pretraining.patch_size": 15}, r"adversarial\.pretraining: .*multiple of the scale 2"),
        ({"adversarial.pretraining.epochs": "many"}, r"adversarial\.pretraining: training\.epochs must be"),
        ({"adversarial.features.network": "vgg11"}, r"Unknown feature network 'vgg11'\. Known: vgg16, vgg19"),
        ({"adversarial.features.layer": "x"}, r"Unknown key adversarial\.features\.layer\. Known: network"),
        ({"adversarial.features.weights": "none.h5"}, r"No feature weights at none\.h5"),
        (
            {"training.patch_size": 8, "adversarial.features.layers": ["block1", "block5"]},
            r"Patches of 8 are too small for the features block1_conv2, block5_conv3: the smallest is 16\.",
        ),
        ({"training.init": "nowhere"}, "No model at nowhere"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, tiny_gan, monkeypatch, overrides, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MrisrError, match=message) as caught:
        train(tiny_gan(overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "overrides",
    [
        {"scale": 4},
        {"generator.filters": 8},
        {"generator.smooth_upsampling": True},
        {"generator": {"name": "srresnet", "blocks": 1, "filters": 4}},
    ],
    ids=["scale", "filters", "upsampling", "generator"],
)
def test_init_of_another_model(tmp_path, tiny_gan, finished_run, overrides):
    config = tiny_gan({"training.init": str(finished_run), **overrides})
    with pytest.raises(MrisrError, match=r"training\.init: .* this run is .* Choose the same generator"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_init_of_the_first_stage_that_does_not_fit(tmp_path, tiny_gan, finished_run):
    config = tiny_gan({"adversarial.pretraining.init": str(finished_run), "generator.filters": 8})
    with pytest.raises(MrisrError, match=r"^adversarial\.pretraining\.init: .*filters 4 there and 8 here"):
        train(config, tmp_path / "run")
    with pytest.raises(MrisrError, match="No model at nowhere"):
        nothing = {"adversarial.pretraining.init": "nowhere", "data.root": str(tmp_path / "none")}
        train(config.replace(nothing), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_feature_weights_that_do_not_fit(tmp_path, tiny_gan, finished_run):
    write_weights(vgg("vgg16", "block1_conv1"), tmp_path / "good.h5")
    content = (tmp_path / "good.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.h5").write_text("no weights")
    generator = finished_run / "generator.keras"
    for file, layer, message in (
        (tmp_path / "half.h5", "block1_conv1", "half.h5 cannot be read as weights of vgg16"),
        (tmp_path / "text.h5", "block1_conv1", "text.h5 cannot be read as weights of vgg16"),
        (tmp_path / "good.h5", "block1_conv2", "does not hold the weights of vgg16: it lacks block1_conv2"),
        (generator, "block1_conv1", r"generator\.keras does not hold the weights of vgg16"),
    ):
        overrides = {"adversarial.features.weights": str(file), "adversarial.features.layers": layer}
        with pytest.raises(MrisrError, match=message) as caught:
            train(tiny_gan(overrides), tmp_path / "run")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()


def test_fine_tuned_features_that_know_who_is_held_out(tmp_path, tiny_gan, finished_run, caplog):
    file = tmp_path / "tuned" / "features.h5"
    file.parent.mkdir()
    write_weights(vgg("vgg16", "block1_conv1"), file)
    config = tiny_gan({"adversarial.features.weights": str(file)})
    split = Split.from_dict(json.loads((finished_run / "split.json").read_text()))
    check_feature_weights(config, split)
    assert "does not say which patients it was trained with" in caplog.text
    caplog.clear()
    for weights in ("imagenet", None):
        check_feature_weights(tiny_gan({"adversarial.features.weights": weights}), split)

    def describe(values):
        (file.parent / "model.json").write_text(json.dumps({"data": {"split": values}}))

    describe(split.to_dict())
    check_feature_weights(config, split)
    assert not caplog.text
    for part, others in (("train", split.val), ("train", split.test), ("val", split.test)):
        describe({**split.to_dict(), part: others})
        with pytest.raises(
            MrisrError, match=r"features\.weights: .* trained with \d patient.s. that this run"
        ):
            train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()
