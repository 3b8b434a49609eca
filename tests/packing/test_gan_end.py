"""From a finished run to its GAN end and the dial between them, as on the command line."""

import json
import shutil

import numpy as np
import pytest

from keras_mrisr.data import Split, read_image, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.packing import pack_model
from keras_mrisr.volumes import Volume, write_volume

LICENCE = "CC BY-NC-SA 4.0"


@pytest.fixture(scope="module")
def gan_run(tiny_run, lgg_root, tmp_path_factory):
    """The adversarial stage of `tiny_run` by the preset `projected`, with a random VGG of one block."""
    from keras_mrisr.cli import main

    run = tmp_path_factory.mktemp("gan") / "run"
    words = [
        "train", "--init", tiny_run, "--adversarial", "projected", "--data", lgg_root, "--out", run,
        "--epochs", 1, "--batch-size", 2, "--patch-size", 16, "--set", "training.steps_per_epoch=2",
        "training.validation_slices=2", "generator.thin_filters=2", "generator.thin_layers=1",
        "adversarial.discriminator={name: projected, layers: [block1_conv1, block2_conv1], filters: 2}",
        "adversarial.features={network: vgg16, weights: none, layers: {block1_conv1: 1.0e-3}}",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture(scope="module")
def packed(tiny_run, gan_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "both"
    pack_model(tiny_run, folder, licence=LICENCE, gan=gan_run)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory, smooth_image):
    path = tmp_path_factory.mktemp("image") / "lr.png"
    write_image(path, smooth_image(16, 20, 3))
    return path


def info(folder):
    return json.loads((folder / "model.json").read_text())


def test_the_run_is_the_start_with_texture_added(tiny_run, gan_run, image):
    values = info(gan_run)
    assert values["consistent"] is True
    assert values["training"]["adversarial"]["balance"] > 0
    assert {"val_spectrum", "val_features", "val_psnr"} <= set(values["metrics"])
    start, end = (SuperResolver.load(run) for run in (tiny_run, gan_run))
    for layer in start.generator.layers:
        for one, two in zip(
            layer.get_weights(), end.generator.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    assert np.abs(end.generator.get_layer("thin_output_conv").get_weights()[0]).max() > 0
    # What it makes is consistent, asked or not.
    sr = end.upscale(read_image(image))
    assert sr.residual is not None and sr.residual[1] <= sr.residual[0]


def test_one_folder_holds_both(packed, gan_run, tiny_run):
    assert (packed / "perception.npz").is_file()
    values = info(packed)
    assert values["perception"]["weights"] == "perception.npz"
    assert values["perception"]["generator"]["thin_layers"] == 1
    assert "consistent" not in values, "the fidelity end is as it was"
    assert str(tiny_run.parent) not in json.dumps(values)
    card = (packed / "card.md").read_text()
    assert "GAN end" in card and "hinge against projected" in card
    split = Split.from_dict(values["data"]["split"])
    trained = Split.from_dict(info(gan_run)["data"]["split"]).train
    assert {split.part_of(patient) for patient in trained} == {"train"}


def test_the_dial_on_the_command_line(packed, image, lgg_root, tmp_path, mrisr):
    made = {}
    for perception in (0, 0.5, 1):
        words = ["--model", packed, "--perception", perception, "--force", "--precision", "float32"]
        code, _, err = mrisr("upscale", image, tmp_path / f"{perception}.png", *words)
        assert code == 0, err
        made[perception] = read_image(tmp_path / f"{perception}.png").astype(float)
        expected = SuperResolver.load(packed, perception=perception)(read_image(image))
        assert np.abs(made[perception] - expected).max() <= 1  # ONNX at 0
    words = ["evaluate", "--data", lgg_root, "--methods", "bicubic", "--metrics", "psnr,consistency"]
    code, _, err = mrisr(*words, "--model", packed, "--perception", 1, "--out", tmp_path / "scores")
    assert code == 0, err
    protocol = json.loads((tmp_path / "scores/metrics.json").read_text())["protocol"]
    assert protocol["methods"]["SR"] == f"{packed}, perception 1"
    words = ["export", "--model", packed, "--to", "onnx", "--out", tmp_path / "onnx"]
    code, _, err = mrisr(*words, "--perception", 0.5)
    assert code == 0, err
    model = json.loads((tmp_path / "onnx/export.json").read_text())["model"]
    assert (model["consistent"], model["perception"]) == (True, {"value": 0.5})
    words = ["--model", tmp_path / "onnx", "--force", "--precision", "float32"]
    code, _, err = mrisr("upscale", image, tmp_path / "o.png", *words)
    assert code == 0, err
    assert np.abs(read_image(tmp_path / "o.png") - made[0.5]).max() <= 1


def test_several_places_of_the_dial_are_compared(packed, tiny_run, lgg_root, tmp_path, mrisr):
    words = ["evaluate", "--data", lgg_root, "--methods", "bicubic", "--metrics", "psnr,consistency"]
    words += ["--realism", "--limit", 4, "--cases", 0, "--out", tmp_path / "scores"]
    code, _, err = mrisr(
        *words, "--model", f"A={packed}", "--model", f"B={tiny_run}", "--perception", 0, 1, 0, "--report",
        tmp_path / "page.html",
    )  # fmt: skip
    assert code == 0, err
    scores = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert scores["protocol"]["methods"] == {
        "bicubic": scores["protocol"]["methods"]["bicubic"],
        "A, perception 0": str(packed),
        "A, perception 1": f"{packed}, perception 1",
        "B": str(tiny_run),
    }
    psnr = {row["method"]: row["patient_mean"] for row in scores["summary"] if row["metric"] == "psnr"}
    assert psnr["A, perception 0"] == psnr["B"] != psnr["A, perception 1"], "A is B with a GAN end"
    assert "A, perception 1" in (tmp_path / "page.html").read_text()
    code, _, err = mrisr(*words, "--overwrite", "--model", tiny_run, "--perception", 0, 1)
    assert code == 2 and "--perception is for models with a GAN end" in err and err.count("\n") == 1


def test_both_ends_side_by_side(packed, lgg_root, tmp_path, mrisr, monkeypatch):
    """In a figure, and in a study with readers."""
    monkeypatch.chdir(tmp_path)
    image = next(path for path in sorted(lgg_root.rglob("*_1.tif")) if "mask" not in path.name)
    words = ["--model", f"A={packed}", "--perception", 0, 1]
    code, out, err = mrisr("compare", image, *words, "--out", "figure.png", "--dpi", 50)
    assert code == 0, err
    scores = [line.partition(": ")[2] for line in out.splitlines() if line.startswith("A, perception")]
    assert len(set(scores)) == 2
    code, _, err = mrisr("readers", "make", "--data", lgg_root, *words, "--cases", 2, "--out", "study.html")
    assert code == 0, err
    key = json.loads((tmp_path / "study.key.json").read_text())
    assert key["methods"] == ["A, perception 0", "A, perception 1"]


def test_a_volume_is_shown_at_one_place_of_the_dial(tmp_path, mrisr, smooth_image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_volume(Volume(smooth_image(20, 18, 6, "uint16"), np.diag([1, 1, 2, 1.0])), tmp_path / "scan.nii.gz")
    words = ["compare", "scan.nii.gz", "--model", "kspace-x2", "--out", "figure.png", "--perception"]
    code, _, err = mrisr(*words, 0, 1)
    assert (code, err) == (
        2, "mrisr: error: A volume is shown before and after one --perception. Give one number.\n"
    )  # fmt: skip
    found = {}
    for place in (0, 1):
        code, _, err = mrisr(*words, place, "--overwrite")
        assert code == 0, err
        found[place] = (tmp_path / "figure.png").read_bytes()
    assert found[0] != found[1]


def test_what_has_no_such_place(packed, tiny_run, image, tmp_path, mrisr):
    code, _, err = mrisr("upscale", image, tmp_path / "o.png", "--model", packed, "--perception", 1.5)
    assert code == 2 and "--perception must be a number from 0 (fidelity) to 1" in err
    code, _, err = mrisr("upscale", image, tmp_path / "o.png", "--model", tiny_run, "--perception", 0.5)
    assert code == 2 and "has no GAN end" in err and err.count("\n") == 1
    assert not (tmp_path / "o.png").exists()


def test_what_is_packed_again_keeps_what_it_has(packed, tmp_path, image):
    spacing, size = (1.0, 2.0), (10, 40)
    values = json.loads((packed / "model.json").read_text())
    first = shutil.copytree(packed, tmp_path / "first")
    values["data"]["domain"] = {"lr_spacing": [0.5, 9.0], "lr_size": [*size]}
    (first / "model.json").write_text(json.dumps(values))
    (first / "scores.json").write_text("[]")
    pack_model(first, tmp_path / "again", licence=LICENCE, lr_spacing=spacing)
    after = json.loads((tmp_path / "again/model.json").read_text())
    assert after["perception"] == values["perception"]
    assert after["data"]["domain"] == {"lr_spacing": [*spacing], "lr_size": [*size]}
    assert after["data"]["split"] == values["data"]["split"]
    both = [SuperResolver.load(folder, perception=1) for folder in (first, tmp_path / "again")]
    ends = [resolver(read_image(image)) for resolver in both]
    np.testing.assert_array_equal(*ends)
    assert json.loads((tmp_path / "again/scores.json").read_text()) == []


def test_what_is_no_end_of_this_model(tiny_run, gan_run, models, tmp_path):
    for gan, message in ((tiny_run, "was not trained adversarially"), (models["grey"], "is of another")):
        with pytest.raises(MrisrError, match=message):
            pack_model(tiny_run, tmp_path / "out", licence=LICENCE, gan=gan)
    assert not (tmp_path / "out").exists()
