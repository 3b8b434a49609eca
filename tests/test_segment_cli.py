"""`mrisr segment`, from data to an evaluation, and everything that it refuses."""

import json
import shutil

import numpy as np
import pytest

from keras_mrisr.data import read_image, write_image

TINY = [
    "--epochs", 1, "--batch-size", 2, "--patch-size", 16, "--set", "unet.filters=2", "--set", "unet.depth=1",
    "--set", "training.steps_per_epoch=1", "--precision", "mixed_bfloat16",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lgg_root):
    """A U-Net that one step of training made."""
    from keras_mrisr.cli import main

    run = tmp_path_factory.mktemp("segment") / "unet"
    words = ["segment", "train", "--data", lgg_root, "--out", run, "--preset", "compact", *TINY]
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture
def place(tmp_path, monkeypatch, lgg_root, trained):
    """The folder to stand in: `data` with 7 patients of 3 RGB slices and masks, and `unet`."""
    shutil.copytree(lgg_root, tmp_path / "data")
    shutil.copytree(trained, tmp_path / "unet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(mrisr, listing, place):
    """A function (words, part of the message) that runs a command which must be refused properly."""

    def check(words, part):
        before = listing(place)
        code, _, err = mrisr("segment", *words)
        assert err.count("\n") == 1, err
        assert err.startswith("mrisr"), err
        assert part in err
        assert code == 2
        assert listing(place) == before

    return check


def test_train_predict_evaluate(mrisr, place, save_model):
    from keras_mrisr.data import Split

    split = Split.from_dict(json.loads((place / "unet/split.json").read_text()))
    for name in ("sr", "other"):
        save_model(place / name, channels=3, split=split)
    patient = split.test[0]
    code, out, err = mrisr("segment", "predict", f"data/{patient}", "masks", "--model", "unet")
    assert (code, err) == (0, "")
    assert "Wrote 3 masks to masks" in out
    assert read_image(place / "masks" / f"{patient}_2_mask.tif").shape == (32, 32, 1)
    code, out, err = mrisr(
        "segment", "evaluate", "--model", "unet", "--data", "data", "--sr-model", "sr", "--sr-model",
        "named=other",
    )  # fmt: skip
    assert (code, err) == (0, "")
    for word in ("HR", "bicubic", "sr", "named", f"of {len(split.test)} patients"):
        assert word in out
    assert sorted(path.name for path in (place / "unet/evaluation-test").iterdir()) == [
        "overlay.png", "per_patient.csv", "segmentation.json",
    ]  # fmt: skip
    again = ["segment", "evaluate", "--model", "unet", "--data", "data", "--part", "test"]
    assert mrisr(*again)[0] == 2
    assert mrisr(*again, "--overwrite")[0] == 0


def with_gan_end(folder, channels):
    """Gives a model of `save_model` a GAN end whose results are brighter."""
    from keras_mrisr.models import build_generator
    from keras_mrisr.models.perception import save_gan_end
    from keras_mrisr.models.storage import load_trained

    fidelity, info = load_trained(folder)
    gan = build_generator(scale=2, channels=channels, **info.generator)
    gan.set_weights(fidelity.get_weights())
    kernel, *bias = gan.get_layer("output_conv").get_weights()
    gan.get_layer("output_conv").set_weights([kernel, *(values + 0.3 for values in bias)])
    save_gan_end(folder / "perception.npz", fidelity, gan)
    values = json.loads((folder / "model.json").read_text())
    end = {"weights": "perception.npz", "consistent": False, "training": {}, "generator": info.generator}
    (folder / "model.json").write_text(json.dumps({**values, "perception": end}))
    return folder


def test_both_ends_of_the_dial_are_segmented(mrisr, place, save_model):
    from keras_mrisr.data import Split

    split = Split.from_dict(json.loads((place / "unet/split.json").read_text()))
    with_gan_end(save_model(place / "both", channels=3, split=split), 3)
    save_model(place / "plain", channels=3, split=split)
    words = ["segment", "evaluate", "--model", "unet", "--data", "data"]
    both = [*words, "--sr-model", "both", "--sr-model", "plain", "--out", "dial"]
    code, _, err = mrisr(*both, "--perception", 0, 1)
    assert (code, err) == (0, "")
    found = json.loads((place / "dial/segmentation.json").read_text())
    assert found["protocol"]["models"] == {
        "both, perception 0": "both", "both, perception 1": "both, perception 1", "plain": "plain",
    }  # fmt: skip
    code, _, err = mrisr(*words, "--sr-model", "plain", "--out", "none", "--perception", 0, 1)
    assert code == 2 and "--perception is for models with a GAN end: plain have none" in err
    code, _, err = mrisr(*words, "--out", "none", "--perception", 1)
    assert code == 2 and "give --sr-model, too" in err and not (place / "none").exists()
    code, _, err = mrisr(*words, "--sr-model", "both", "--out", "one", "--perception", 1)
    assert (code, err) == (0, "")
    found = json.loads((place / "one/segmentation.json").read_text())
    assert found["protocol"]["models"] == {"both": "both, perception 1"}


def test_trained_in_half_precision_saved_in_float32(trained):
    from keras_mrisr.models.unet_storage import load_unet

    assert "precision: mixed_bfloat16" in (trained / "config.yaml").read_text()
    unet, _ = load_unet(trained)
    assert {layer.compute_dtype for layer in unet.layers} == {"float32"}


def test_a_unet_is_no_model_for_super_resolution(place, mrisr):
    slice_file = next(place.glob("data/*/*_1.tif"))
    code, _, err = mrisr("upscale", slice_file, "sr.tif", "--model", "unet")
    assert code == 2 and err.count("\n") == 1
    assert "unet is a U-Net, which mrisr segment takes: give a model for super-resolution" in err


def test_help_and_no_action(mrisr):
    code, out, _ = mrisr("segment")
    assert code == 0
    for action in ("train", "predict", "evaluate"):
        assert action in out


def test_bad_training(refused, place):
    train = ["train", "--out", "run", *TINY]
    refused(train, "No data: give --data ROOT")
    refused([*train, "--data", "nowhere"], "nowhere does not exist")
    refused([*train, "--data", "data", "--preset", "paper"], "Unknown preset 'paper'")
    refused([*train, "--data", "data", "--set", "unet.width=2"], "Unknown config key 'unet.width'")
    refused([*train, "--data", "data", "--precision", "half"], "training.precision must be one of")
    refused(
        ["train", "--data", "data", "--out", "unet", *TINY], "holds this run already, complete with 1 epochs"
    )
    refused(["train", "--data", "data", "--out", "data", *TINY], "data exists and is not empty")
    refused([*train, "--config", "nowhere.yaml"], "Cannot read the config nowhere.yaml")
    # The config of a run is the run's.
    refused(["train", "--config", "unet/config.yaml", "--out", "unet"], "holds this run already, complete")


def test_data_that_cannot_be_segmented(refused, place):
    train = ["train", "--data", "data", "--out", "run", *TINY]
    masks = sorted(place.glob("data/*/*_mask.tif"))
    for mask in masks:
        write_image(mask, np.zeros((16, 16), "uint8"))
    refused(train, "is 16x16 pixels, its image 32x32")
    for mask in masks:
        write_image(mask, np.zeros((32, 32), "uint8"))
    refused(train, "are empty: there is nothing to segment")
    for mask in masks:
        mask.unlink()
    refused(train, "data has no masks")


def test_slices_that_cannot_be_used_are_left_out(mrisr, place):
    bad, other = sorted(place.glob("data/*/*_1_mask.tif"))[:2]
    write_image(bad, np.zeros((16, 16), "uint8"))
    write_image(other.with_name(other.name.replace("_mask", "")), np.zeros((32, 32), "uint8"))
    code, out, err = mrisr("segment", "train", "--data", "data", "--out", "run", *TINY)
    assert code == 1 and "Trained U-Net in run" in out, err
    assert "is 16x16 pixels, its image 32x32" in err and "has 1 channel(s), and most have 3" in err
    assert err.splitlines()[-1].startswith("mrisr: error: 1 file could not be read; all others are done.")


def test_bad_predictions(refused, place, models):
    slice_file = next(place.glob("data/*/*_1.tif"))
    refused(["predict", "nowhere", "out", "--model", "unet"], "nowhere does not exist")
    refused(["predict", "data", "out", "--model", "nowhere"], "nowhere does not exist")
    refused(["predict", "data", "out", "--model", models["rgb"]], "is a super-resolution model")
    refused(["predict", "data", "data", "--model", "unet"], "is the source itself")
    refused(["predict", slice_file, "mask.jpg", "--model", "unet"], "no PNG or TIFF name")
    refused(["predict", slice_file, slice_file, "--model", "unet"], "is the source itself")
    write_image(place / "grey.png", np.zeros((32, 32), "uint8"))
    refused(["predict", "grey.png", "mask.png", "--model", "unet"], "grey.png: The U-Net takes 3 channel(s)")


def test_bad_evaluations(refused, place, save_model):
    from keras_mrisr.data import Split

    split = Split.from_dict(json.loads((place / "unet/split.json").read_text()))
    save_model(place / "two", channels=3, split=split)
    save_model(place / "four", scale=4, channels=3, split=split)
    save_model(place / "grey", split=split)
    moved = Split(train=(*split.test, *split.val), val=split.train[:1], test=split.train[1:])
    save_model(place / "seen", channels=3, split=moved)
    evaluate = ["evaluate", "--model", "unet", "--data", "data", "--out", "out"]
    refused([*evaluate, "--sr-model", "two", "--sr-model", "four"], "differ in scale (x2 and x4)")
    refused([*evaluate, "--sr-model", "grey"], "makes 1 channel(s), the U-Net takes 3")
    refused([*evaluate, "--sr-model", "seen"], "No patient is in the part 'test' of every model")
    refused([*evaluate, "--sr-model", "two", "--sr-model", "two"], "Two are called 'two'")
    refused([*evaluate, "--part", "val"], "Unknown part 'val'")
    refused(["evaluate", "--model", "two", "--data", "data", "--out", "out"], "is a super-resolution model")
    for mask in place.glob(f"data/{split.test[0]}/*_mask.tif"):
        mask.unlink()
    refused(evaluate, "has no mask (3 of")
