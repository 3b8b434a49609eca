"""Models that come with the package: packed, found by name, chosen, shown."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_mrisr import pretrained
from keras_mrisr.config import read_config
from keras_mrisr.data import read_image, write_image
from keras_mrisr.degrade import DEGRADATIONS, get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.models.storage import load_info
from keras_mrisr.presets import PRESETS, preset_config
from keras_mrisr.pretrained import choose_model, find_model, pretrained_models
from keras_mrisr.pretrained.pack import halve_weights, pack_model, read_scores
from keras_mrisr.pretrained.picture import draw_failure
from keras_mrisr.volumes import Volume, write_volume

LICENCE = "CC BY-NC-SA 4.0"


@pytest.fixture(scope="module")
def run(lgg_root, tmp_path_factory):
    """A run on the LGG-like tree, and its evaluation."""
    from keras_mrisr.cli import main

    run = tmp_path_factory.mktemp("runs") / "tiny"
    words = [
        "train", "--data", lgg_root, "--out", run, "--epochs", 1, "--batch-size", 2, "--patch-size", 16,
        "--generator", "edsr", "--set", "generator.blocks=1", "--set", "generator.filters=8",
        "--set", "training.steps_per_epoch=2", "--set", "training.validation_slices=2",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    words = ["evaluate", "--model", run, "--data", lgg_root, "--part", "held-out", "--out", run / "scores"]
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture(scope="module")
def packed(run, models, tmp_path_factory):
    """A folder of models: "tiny" packed from the run, "grey" of 1 channel, both x2; "tiny-gan" likewise."""
    folder = tmp_path_factory.mktemp("pretrained")
    domain = {"lr_size": (20, 40), "lr_spacing": (1.5, 2.0)}
    notes = ["## Known failures\n\nIt is tiny.\n"]
    pack_model(run, folder / "tiny", [run / "scores"], licence=LICENCE, notes=notes, **domain)
    shutil.copytree(models["grey"], folder / "grey")
    shutil.copytree(folder / "tiny", folder / "a-gan")
    path = folder / "a-gan/model.json"
    values = json.loads(path.read_text())
    values["training"]["adversarial"] = {"kind": "bce"}
    path.write_text(json.dumps(values))
    return folder


@pytest.fixture
def shipped(packed, monkeypatch, tmp_path):
    """As if `packed` came with the package, seen from an empty folder."""
    monkeypatch.setattr(pretrained, "FOLDER", packed)
    monkeypatch.chdir(tmp_path)
    return packed


def test_halve_weights(models, tmp_path):
    import keras

    source = models["rgb"] / "generator.keras"
    halve_weights(source, tmp_path / "half.keras")
    assert (tmp_path / "half.keras").stat().st_size < 0.7 * source.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["half.keras"]
    model, half = (keras.saving.load_model(path) for path in (source, tmp_path / "half.keras"))
    assert [weight.path for weight in model.weights] == [weight.path for weight in half.weights]
    for weight, other in zip(model.get_weights(), half.get_weights(), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(other, weight.astype("float16").astype("float32"))


def test_pack(run, packed):
    folder = packed / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["card.md", "config.yaml", "generator.keras", "model.json", "scores.json"]
    )
    card = (folder / "card.md").read_text()
    split = json.loads((folder / "model.json").read_text())["data"]["split"]
    for words in (LICENCE, "| SR | RGB |", "6 whole slices of 2 held-out patients (1 of 2 chose the epoch)",
                  "LR edges of 20 to 40 pixels; LR in-plane spacing of 1.5 to 2 mm",
                  "It is tiny.", *split["val"], *split["test"]):  # fmt: skip
        assert words in card
    for text in (path.read_text() for path in folder.iterdir() if path.suffix != ".keras"):
        assert str(run.parent) not in text and "/lgg" not in text
    assert yaml.safe_load((folder / "config.yaml").read_text())["generator"]["name"] == "edsr"
    evaluation = json.loads((run / "scores/metrics.json").read_text())["summary"]
    psnr = {
        row["method"]: row["image_mean"]
        for row in evaluation
        if (row["metric"], row["channel"], row["region"]) == ("psnr", "RGB", "whole")
    }
    scores = {row["method"]: row for row in read_scores(run / "scores") if row["channel"] == "RGB"}
    assert {name: row["psnr"] for name, row in scores.items()} == psnr
    assert len(scores["SR"]["patients"]) == 2 and scores["SR"]["images"] == 6


def test_scores_of_an_evaluation_beside_other_models(run, tmp_path):
    result = json.loads((run / "scores/metrics.json").read_text())
    own = next(
        name for name in result["protocol"]["methods"] if name not in result["protocol"]["interpolations"]
    )
    assert own == "SR"
    result["protocol"]["methods"]["lgg-x2"] = "lgg-x2"
    for row in [row for row in result["summary"] if row["method"] == "SR"]:
        result["summary"] += [{**row, "method": "lgg-x2"}]
        result["summary"] += [{**row, "metric": "features", "image_mean": 0.012345}]
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    scores = read_scores(tmp_path)
    assert {"SR", "lgg-x2", "bicubic"} <= {row["method"] for row in scores}
    pack_model(run, tmp_path / "packed", [tmp_path], licence=LICENCE)
    card = (tmp_path / "packed/card.md").read_text()
    assert "| method | channels | PSNR | SSIM | VGG distance |" in card
    assert "| 0.0123 |" in card
    del result["protocol"]["methods"]["SR"]
    result["protocol"]["methods"]["other"] = "other"
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    with pytest.raises(MrisrError, match=r"compares lgg-x2, other: .* it is called SR"):
        read_scores(tmp_path)


def test_no_path_is_taken_along(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["training"]["init"] = "/home/me/x2"
    config["adversarial"]["features"]["weights"] = "/home/me/vgg16.h5"
    config["adversarial"]["pretraining"] = {"init": "/home/me/start", "epochs": 3}
    config["adversarial"]["segmentation_model"] = "/home/me/unet"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    pack_model(copy, tmp_path / "packed", licence=LICENCE)
    text = (tmp_path / "packed/config.yaml").read_text()
    assert "/home/me" not in text
    packed = yaml.safe_load(text)
    assert packed["adversarial"]["pretraining"] == {"init": None, "epochs": 3}
    assert packed["training"]["init"] is None
    assert packed["adversarial"]["features"]["weights"] == "vgg16.h5"


def test_its_config_trains(run, packed, lgg_root, tmp_path, mrisr):
    def train(config, out):
        code, _, err = mrisr("train", "--config", config, "--data", lgg_root, "--out", out)
        assert (code, err) == (0, "")

    train(packed / "tiny/config.yaml", tmp_path / "run")
    assert "`config.yaml` is the whole recipe:" in (packed / "tiny/card.md").read_text()
    # One that went on from another run trains from the beginning.
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["training"]["init"] = str(run)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    train(tmp_path / "config.yaml", tmp_path / "second")
    pack_model(tmp_path / "second", tmp_path / "packed", licence=LICENCE)
    card = (tmp_path / "packed/card.md").read_text()
    assert "began as those of `tiny`, which does not come along. `config.yaml` trains such a model" in card
    shutil.rmtree(tmp_path / "second")
    train(tmp_path / "packed/config.yaml", tmp_path / "third")


def test_bad_packs(run, tmp_path, models, listing):
    def refused(message, *arguments, **options):
        with pytest.raises(MrisrError, match=message):
            pack_model(*arguments, licence=LICENCE, **options)
        assert listing(tmp_path) == before

    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("years of work")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/metrics.json").write_text("{}")
    before = listing(tmp_path)
    refused("No model at", tmp_path / "nothing", tmp_path / "out")
    refused("holds no config.yaml", models["grey"], tmp_path / "out")
    refused("holds no metrics.json", run, tmp_path / "out", [run])
    refused("holds no metrics.json", run, tmp_path / "out", [tmp_path / "scores"])
    refused("exists", run, tmp_path / "full")
    refused("thesis.tex", run, tmp_path / "full", overwrite=True)


def test_evaluations_of_something_else(run, tmp_path):
    """Their numbers would stand in the card as the model's own."""

    def refused(message, **changes):
        result = json.loads((run / "scores/metrics.json").read_text())
        result["protocol"].update(changes)
        (tmp_path / "metrics.json").write_text(json.dumps(result))
        with pytest.raises(MrisrError, match=message):
            pack_model(run, tmp_path / "out", [tmp_path], licence=LICENCE)

    protocol = json.loads((run / "scores/metrics.json").read_text())["protocol"]
    refused("of .*tiny at scale 4, not of tiny at scale 2", scale=4)
    refused("of other at scale 2, not of tiny", methods={**protocol["methods"], "SR": "other/last.keras"})
    bicubic = get_degradation("bicubic", 2).to_dict()
    refused(r"No evaluation has the degradation that tiny undoes \(paper\)", degradation=bicubic)
    split = json.loads((run / "model.json").read_text())["data"]["split"]
    refused("scores patients that tiny was trained on", patients=split["train"][:1])
    # Beside one of its own degradation.
    result = {"protocol": {**protocol, "degradation": bicubic}, "summary": []}
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    pack_model(run, tmp_path / "out", [run / "scores", tmp_path], licence=LICENCE)


@pytest.mark.parametrize("bounds", [(40, 20), (0, 20), (-1, 20), (float("nan"), 20), (1, float("inf"))])
def test_bounds_that_are_none(run, tmp_path, bounds):
    with pytest.raises(MrisrError, match="--lr-size takes the least and the most, both over 0"):
        pack_model(run, tmp_path / "out", licence=LICENCE, lr_size=bounds)


def test_packing_what_was_packed(shipped, tmp_path, mrisr):
    code, _, err = mrisr("models", "pack", "tiny", tmp_path / "again", "--licence", LICENCE)
    assert (code, err) == (0, "")
    assert (tmp_path / "again/config.yaml").read_text() == (shipped / "tiny/config.yaml").read_text()
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe\x00")
    code, _, err = mrisr(
        "models", "pack", "tiny", "x", "--licence", LICENCE, "--notes", tmp_path / "notes.md"
    )
    assert code == 2 and "notes.md is no text in UTF-8" in err and err.count("\n") == 1


def test_find_model(shipped, tmp_path, caplog):
    assert find_model("tiny") == shipped / "tiny"
    pretrained._say_once.cache_clear()
    caplog.set_level("INFO", "keras_mrisr")
    (tmp_path / "tiny").mkdir()
    assert find_model("tiny") == shipped / "tiny"
    assert "tiny: the folder of this name holds no model; the one that comes along is taken" in caplog.text
    for mark in ("model.onnx", "model.json"):
        (tmp_path / "tiny" / mark).touch()
        assert find_model("tiny").resolve() == tmp_path / "tiny"  # One's own comes first.
        (tmp_path / "tiny" / mark).unlink()
    assert caplog.text.count("tiny: what lies at this path is taken, not the model of this name") == 1
    with pytest.raises(
        MrisrError, match=r"No model at nothing.* name of one that comes along \(a-gan, grey, tiny\)"
    ):
        find_model("nothing")
    for name in ("..", "../tiny/model.json", "", "tiny/generator"):
        with pytest.raises(MrisrError):
            assert find_model(name).exists() and name in ("..", "")
            raise MrisrError("A path that exists.")


def test_choose_model(shipped):
    model, reason = choose_model(2, 3)
    assert model.name == "tiny"  # Not a-gan, which may invent detail.
    assert reason.startswith(f"tiny (x2, 3 channel(s), degraded by paper); weights under {LICENCE}; --model")
    assert choose_model(2, 1)[0].name == choose_model(2, 1, volume=True)[0].name == "grey"
    with pytest.raises(MrisrError, match=r"for x4 and 3 channel\(s\): grey .*Train one"):
        choose_model(4, 3)


def test_only_colour_has_a_scale(packed, monkeypatch, tmp_path):
    shutil.copytree(packed / "tiny", tmp_path / "rgb")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(MrisrError, match=r"for x2 and volumes: only RGB slices like .* have x2 \(rgb\)"):
        choose_model(2, 1, volume=True)
    with pytest.raises(MrisrError, match=r"for x2 and grey images: only RGB"):
        choose_model(2, 1)


def test_the_choice_is_the_least_harmful_one(packed, monkeypatch, tmp_path):
    """A blur that is not there is not undone, whatever the names."""
    shutil.copytree(packed / "tiny", tmp_path / "a-paper")
    for name, degradation in (("b-bicubic", "bicubic"), ("c-random", "random-blur")):
        shutil.copytree(packed / "tiny", tmp_path / name)
        values = json.loads((tmp_path / name / "model.json").read_text())
        values["degradation"] = get_degradation(degradation, 2).to_dict()
        (tmp_path / name / "model.json").write_text(json.dumps(values))
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert choose_model(2, 3)[0].name == "c-random"
    shutil.rmtree(tmp_path / "c-random")
    assert choose_model(2, 3)[0].name == "b-bicubic"


def test_every_degradation_has_its_place_in_the_choice():
    assert set(pretrained._HARMLESS) == set(DEGRADATIONS)


def test_python(shipped, smooth_image):
    resolver = SuperResolver.load("tiny")
    assert resolver.name == "tiny"
    assert resolver(smooth_image(20, 24, 3)).shape == (40, 48, 3)


def test_models_on_the_command_line(shipped, mrisr):
    code, out, err = mrisr("models")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if " MB " in line] == ["a-gan", "grey", "tiny"]
    assert out.count("over bicubic on 2 held-out patients (1 of 2 chose the epoch)") == 2
    assert f"Licence of the weights of a-gan, tiny: {LICENCE}\n" in out
    assert mrisr("models", "list") == (code, out, err)
    assert mrisr("models", "show", "tiny")[1].startswith("# edsr x2, 3 channel(s)")
    code, _, err = mrisr("models", "show", "thing")
    assert code == 2 and "No model at thing" in err and "(a-gan, grey, tiny)" in err
    _, out, _ = mrisr("models", "show", shipped / "tiny")
    assert out.startswith("# edsr x2") and out.rstrip().endswith(f"FOLDER: {shipped / 'tiny'}")
    code, _, err = mrisr("models", "show", shipped)
    assert code == 2 and "holds no card.md" in err


def test_pack_on_the_command_line(run, tmp_path, mrisr, smooth_image):
    (tmp_path / "notes.md").write_text("## Known failures\n\nNone.\n")
    write_image(tmp_path / "hr.png", smooth_image(41, 52, 1))
    words = ["--lr-size", 20, 40, "--notes", tmp_path / "notes.md", "--evaluation", run / "scores"]
    words += ["--picture-of", tmp_path / "hr.png"]
    code, out, err = mrisr("models", "pack", run, tmp_path / "mine", "--licence", LICENCE, *words)
    assert (code, err) == (0, "")
    assert f"Wrote {tmp_path / 'mine'}; float16 changes the result by" in out
    assert "degraded by `bicubic`, which it was not made for" in (tmp_path / "mine/card.md").read_text()
    with Image.open(tmp_path / "mine/failure.jpg") as picture:
        assert picture.format == "JPEG" and picture.width == 1500
    code, _, err = mrisr("models", "pack", run, tmp_path / "mine", "--licence", LICENCE)
    assert code == 2 and "--overwrite" in err


def test_upscale_without_model(shipped, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "colour.png", smooth_image(24, 30, 3))
    code, out, err = mrisr("upscale", "colour.png", "sr.png")
    assert (code, err) == (0, "")
    assert f"Model: tiny (x2, 3 channel(s), degraded by paper); weights under {LICENCE}; --model" in out
    assert read_image(tmp_path / "sr.png").shape == (48, 60, 3)
    volume = Volume(smooth_image(20, 18, 6, "uint16"), np.diag([1.8, 1.8, 4, 1.0]))
    write_volume(volume, tmp_path / "scan.nii.gz")
    code, out, err = mrisr("upscale", "scan.nii.gz", "sr.nii.gz")
    assert (code, err) == (0, "")
    assert "Model: grey" in out
    code, _, err = mrisr("upscale", "colour.png", "x4.png", "--scale", 4)
    assert code == 2 and "No model that comes along is for x4" in err
    for scale in (0, -2, 1):
        code, _, err = mrisr("upscale", "colour.png", "no.png", "--scale", scale)
        assert (code, err) == (2, f"mrisr: error: --scale must be 2 or more. Received: {scale}\n")


def test_the_choice_is_no_path_of_its_name(shipped, models, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "colour.png", smooth_image(24, 30, 3))
    shutil.copytree(models["grey"], tmp_path / "tiny")
    assert mrisr("upscale", "colour.png", "sr.png")[::2] == (0, "")
    assert read_image(tmp_path / "sr.png").shape == (48, 60, 3)
    shutil.rmtree(tmp_path / "tiny")
    (tmp_path / "tiny").mkdir()
    assert mrisr("upscale", "colour.png", "named.png", "--model", "tiny")[::2] == (0, "")


def test_every_command_takes_a_name(shipped, mrisr, tmp_path, lgg_root):
    patient = load_info(shipped / "tiny").data["split"]["test"][0]
    image = lgg_root / patient / f"{patient}_1.tif"
    words = ("--data", lgg_root, "--limit", 1, "--methods", "bicubic", "--metrics", "psnr")
    for command in (
        ("evaluate", "--model", "tiny", *words),
        ("compare", image, "--model", "tiny", "--out", tmp_path / "figure.png", "--dpi", 50),
        ("export", "--model", "tiny", "--to", "onnx", "--out", tmp_path / "onnx"),
    ):
        code, _, err = mrisr(*command)
        assert (code, err) == (0, ""), command
    assert (tmp_path / "tiny-evaluation-test/metrics.json").is_file()
    assert (tmp_path / "onnx/card.md").read_text() == (shipped / "tiny/card.md").read_text()
    assert sorted(path.name for path in shipped.iterdir()) == ["a-gan", "grey", "tiny"]


def test_warning_outside_the_domain(shipped, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "in/small.png", smooth_image(10, 30, 3))
    write_image(tmp_path / "in/right.png", smooth_image(24, 30, 3))
    _, out, err = mrisr("upscale", "in", "out", "--model", "tiny")
    text = " ".join((out + err).split())
    assert "small.png has 10 x 30 pixels; the model was made for 20 to 40." in text
    assert "right.png has" not in text


def test_what_ships():
    """Small enough for a wheel, and each of them works."""
    models = pretrained_models()
    assert {model.licence for model in models} == {"CC BY-NC-SA 4.0"}
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*") if path.is_file()) < 25e6
    for model in models:
        channels = model.info.image_channels or 2
        image = np.random.default_rng(0).integers(0, 255, (16, 18, channels), "uint8")
        sr = SuperResolver.load(model.name)(image)
        assert sr.shape == (16 * model.info.scale, 18 * model.info.scale, channels)
        assert (model.folder / "card.md").read_text().startswith("# ")
        assert model.scores
        # Its config says all that decides the training, whatever the preset that it is read over says.
        configs = [read_config(model.folder / "config.yaml", preset_config(name)) for name in PRESETS]
        assert all(config == configs[0] for config in configs)


def test_the_picture_shows_what_a_model_of_any_blur_was_not_made_for(upscaler_of, tmp_path, smooth_image):
    write_image(tmp_path / "hr.png", smooth_image(48, 48, 1))
    for own, other in (("paper", "bicubic"), ("random-blur", "kspace"), ("bicubic", "paper")):
        names = draw_failure(upscaler_of(own), tmp_path / "hr.png", tmp_path / "picture.jpg")
        assert names == (own, other)


@pytest.fixture
def upscaler_of(models):
    """A resolver of the RGB test model that says it undoes a degradation."""

    def make(degradation):
        resolver = SuperResolver.load(models["rgb"])
        values = get_degradation(degradation, 2).to_dict()
        resolver.info = dataclasses.replace(resolver.info, degradation=values)
        return resolver

    return make
