"""Runs made ready to be handed on."""

import json
import shutil

import keras
import pytest
import yaml
from PIL import Image

from keras_mrisr.data import Split, write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import evaluate_model, evaluate_models
from keras_mrisr.packing import pack_model
from keras_mrisr.packing.scores import read_scores

LICENCE = "CC BY-NC-SA 4.0"


def test_pack(tiny_run, packed_models):
    folder = packed_models / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["card.md", "config.yaml", "generator.keras", "model.json", "model.onnx", "scores.json"]
    )
    card = (folder / "card.md").read_text()
    for words in (LICENCE, "| SR | RGB |", "6 whole slices of 2 held-out patients (1 of 2 chose the epoch)",
                  "LR edges of 20 to 40 pixels; LR in-plane spacing of 1.5 to 2 mm",
                  "It is tiny.", "Never trained on: the 1 validation and 1 test patients"):  # fmt: skip
        assert words in card
    for text in (path.read_text() for path in folder.iterdir() if path.suffix not in (".keras", ".onnx")):
        assert str(tiny_run.parent) not in text and "/lgg" not in text and "TCGA" not in text
    assert yaml.safe_load((folder / "config.yaml").read_text())["generator"]["name"] == "edsr"
    evaluation = json.loads((tiny_run / "scores/metrics.json").read_text())["summary"]
    psnr = {
        row["method"]: row["image_mean"]
        for row in evaluation
        if (row["metric"], row["channel"], row["region"]) == ("psnr", "RGB", "whole")
    }
    scores = {row["method"]: row for row in read_scores(tiny_run / "scores") if row["channel"] == "RGB"}
    assert {name: row["psnr"] for name, row in scores.items()} == psnr
    assert len(scores["SR"]["patients"]) == 2 and scores["SR"]["images"] == 6


def test_digests_keep_training_patients_out_of_evaluations(tiny_run, packed_models, lgg_root, tmp_path):
    split = Split.from_dict(json.loads((tiny_run / "model.json").read_text())["data"]["split"])
    packed = Split.from_dict(json.loads((packed_models / "tiny/model.json").read_text())["data"]["split"])
    assert {name: packed.part_of(name) for name in split.patients} == {
        name: split.part_of(name) for name in split.patients
    }
    options = {"methods": ["bicubic"], "metrics": ["psnr"], "figure_cases": 0}
    evaluation = evaluate_models(
        {"run": tiny_run, "packed": packed_models / "tiny"}, lgg_root, part="held-out", **options
    )
    assert evaluation.protocol.patients == tuple(sorted((*split.val, *split.test)))
    assert evaluation.notes[0] == "5 patients of the data trained the model and are left out."
    # Not under another name either.
    for patient in split.train[:1]:
        shutil.copytree(lgg_root / patient, tmp_path / "data/lgg" / patient)
    shutil.copytree(lgg_root / split.test[0], tmp_path / "data/other")
    with pytest.raises(MrisrError, match=f"but {split.train[0]} trained the model or chose its checkpoint"):
        evaluate_model(packed_models / "tiny", tmp_path / "data", kind="images", **options)


def test_scores_of_an_evaluation_beside_other_models(tiny_run, tmp_path):
    result = json.loads((tiny_run / "scores/metrics.json").read_text())
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
    pack_model(tiny_run, tmp_path / "packed", [tmp_path], licence=LICENCE)
    card = (tmp_path / "packed/card.md").read_text()
    assert "| method | channels | PSNR | SSIM | VGG distance |" in card
    assert "| 0.0123 |" in card
    del result["protocol"]["methods"]["SR"]
    result["protocol"]["methods"]["other"] = "other"
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    with pytest.raises(MrisrError, match=r"compares lgg-x2, other: .* it is called SR"):
        read_scores(tmp_path)


def test_no_path_is_taken_along(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
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


def test_its_config_trains(tiny_run, packed_models, lgg_root, tmp_path, mrisr):
    def train(config, out):
        code, _, err = mrisr("train", "--config", config, "--data", lgg_root, "--out", out)
        assert (code, err) == (0, "")

    train(packed_models / "tiny/config.yaml", tmp_path / "run")
    assert "`config.yaml` is the whole recipe:" in (packed_models / "tiny/card.md").read_text()
    # One that went on from another run trains from the beginning.
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    config["training"]["init"] = str(tiny_run)
    shutil.copytree(tiny_run, tmp_path / "second")
    (tmp_path / "second/config.yaml").write_text(yaml.safe_dump(config))
    info = json.loads((tiny_run / "model.json").read_text())
    info["training"]["init"] = str(tiny_run)
    (tmp_path / "second/model.json").write_text(json.dumps(info))
    pack_model(tmp_path / "second", tmp_path / "packed", licence=LICENCE)
    card = (tmp_path / "packed/card.md").read_text()
    assert "began as those of `tiny`, another model. `config.yaml` trains such a model" in card
    shutil.rmtree(tmp_path / "second")
    train(tmp_path / "packed/config.yaml", tmp_path / "third")


def test_bad_packs(tiny_run, tmp_path, models, listing):
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
    refused("holds no metrics.json", tiny_run, tmp_path / "out", [tiny_run])
    refused("holds no metrics.json", tiny_run, tmp_path / "out", [tmp_path / "scores"])
    refused("exists", tiny_run, tmp_path / "full")
    refused("thesis.tex", tiny_run, tmp_path / "full", overwrite=True)


def test_evaluations_of_something_else(tiny_run, tmp_path):
    """Their numbers would stand in the card as the model's own."""

    def refused(message, **changes):
        result = json.loads((tiny_run / "scores/metrics.json").read_text())
        result["protocol"].update(changes)
        (tmp_path / "metrics.json").write_text(json.dumps(result))
        with pytest.raises(MrisrError, match=message):
            pack_model(tiny_run, tmp_path / "out", [tmp_path], licence=LICENCE)

    protocol = json.loads((tiny_run / "scores/metrics.json").read_text())["protocol"]
    refused("of .*tiny at scale 4, not of tiny at scale 2", scale=4)
    refused("of other at scale 2, not of tiny", methods={**protocol["methods"], "SR": "other/last.keras"})
    bicubic = get_degradation("bicubic", 2).to_dict()
    refused(r"No evaluation has the degradation that tiny undoes \(paper\)", degradation=bicubic)
    split = json.loads((tiny_run / "model.json").read_text())["data"]["split"]
    refused("scores patients that tiny was trained on", patients=split["train"][:1])
    # Beside one of its own degradation.
    result = {"protocol": {**protocol, "degradation": bicubic}, "summary": []}
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    pack_model(tiny_run, tmp_path / "out", [tiny_run / "scores", tmp_path], licence=LICENCE)


@pytest.mark.parametrize("bounds", [(40, 20), (0, 20), (-1, 20), (float("nan"), 20), (1, float("inf"))])
def test_bounds_that_are_none(tiny_run, tmp_path, bounds):
    with pytest.raises(MrisrError, match="`lr_size` takes the least and the most, both over 0"):
        pack_model(tiny_run, tmp_path / "out", licence=LICENCE, lr_size=bounds)


def test_pack_on_the_command_line(tiny_run, tmp_path, mrisr, smooth_image):
    (tmp_path / "notes.md").write_text("## Known failures\n\nNone.\n")
    write_image(tmp_path / "hr.png", smooth_image(41, 52, 1))
    words = ["--lr-size", 20, 40, "--notes", tmp_path / "notes.md", "--evaluation", tiny_run / "scores"]
    words += ["--picture-of", tmp_path / "hr.png"]
    code, out, err = mrisr("models", "pack", tiny_run, tmp_path / "mine", "--licence", LICENCE, *words)
    assert (code, err) == (0, "")
    assert f"Wrote {tmp_path / 'mine'}; float16 changes the result by" in out
    assert "degraded by `bicubic`, which it was not made for" in (tmp_path / "mine/card.md").read_text()
    with Image.open(tmp_path / "mine/failure.jpg") as picture:
        assert picture.format == "JPEG" and picture.width == 1500
    code, _, err = mrisr("models", "pack", tiny_run, tmp_path / "mine", "--licence", LICENCE)
    assert code == 2 and "--overwrite" in err


def test_pack_without_what_writes_onnx(tiny_run, tmp_path, mrisr, monkeypatch):
    def export(*_, **__):
        raise ImportError("This requires a package.")

    monkeypatch.setattr(keras.Model, "export", export)
    code, _, err = mrisr("models", "pack", tiny_run, tmp_path / "mine", "--licence", LICENCE)
    assert code == 0 and err.count("\n") == 1, err
    assert "packed without model.onnx, and needs TensorFlow to run: ONNX export needs tf2onnx" in err
    assert (tmp_path / "mine/generator.keras").is_file() and not (tmp_path / "mine/model.onnx").exists()
