"""`mrisr features finetune` from end to end, and what it refuses: one line, code 2, nothing left behind."""

import json
import shlex
import shutil

import h5py
import numpy as np
import pytest

from keras_mrisr.config import read_config
from keras_mrisr.data import write_image
from keras_mrisr.models.vgg import vgg, write_weights
from keras_mrisr.training import strategy

TINY = [
    "--network", "vgg16", "--epochs", 1, "--image-size", 32, "--learning-rate", "1e-3",
    "--set", "training.steps_per_epoch=2", "--set", "data.validation_fraction=0.2",
]  # fmt: skip


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory, small_vgg):
    """A folder with the weight files `vgg16.h5`, `vgg19.h5` and `cut.h5`."""
    folder = tmp_path_factory.mktemp("weights")
    for network in ("vgg16", "vgg19"):
        write_weights(vgg(network), folder / f"{network}.h5")
    whole = (folder / "vgg16.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, toy_root, weight_files):
    """The folder to stand in: `data`, and `weight_files`."""
    shutil.copytree(toy_root, tmp_path / "data")
    shutil.copytree(weight_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finetune(*words, data="data", out="run"):
    return ["features", "finetune", "--data", data, "--out", out, *TINY, *words]


def test_from_slices_to_a_perceptual_loss(mrisr, place, listing, eager, monkeypatch):
    def precision():
        return json.loads((place / "run" / "model.json").read_text())["training"]["precision"]

    code, out, err = mrisr(*finetune("--weights", "vgg16.h5", "--trainable", "block5"))
    assert (code, err) == (0, "")
    assert "Epoch 1: loss" in out and "validation AUC (tumour)" in out
    assert "test: sequence" in out
    following = shlex.split(out.split("Next:")[1])
    assert following == [
        "mrisr", "train", "--data", "data", "--out", "run-gan", "--adversarial",
        "--set", "adversarial.features.network=vgg16",
        "--set", "adversarial.features.weights=run/features.h5",
        "--set", "data.validation_fraction=0.2",
    ]  # fmt: skip

    # The same words again are refused, and with --overwrite the run is made anew.
    before = listing(place)
    code, _, err = mrisr(*finetune("--weights", "vgg16.h5", "--trainable", "block5"))
    assert code == 2 and err.count("\n") == 1 and "complete with 1 epochs" in err
    assert listing(place) == before
    assert precision() == "float32"
    monkeypatch.setattr(strategy, "has_bfloat16", lambda: True)
    words = ["--trainable", "block5", "--precision", "auto", "--overwrite"]
    code, _, err = mrisr(*finetune("--weights", "vgg16.h5", *words))
    assert (code, err) == (0, "")
    assert precision() == "mixed_bfloat16"

    code, _, err = mrisr(
        *following[1:], "--scale", 2, "--epochs", 1, "--patch-size", 16, "--batch-size", 2,
        "--generator", "edsr", "--degradation", "bicubic", "--precision", "float32",
        "--set", "generator.blocks=1", "--set", "generator.filters=4",
        "--set", "training.steps_per_epoch=2", "--set", "training.validation_slices=2",
        "--set", "adversarial.pretraining={}",
        "--set", "adversarial.discriminator={name: patchgan, filters: 2}",
    )  # fmt: skip
    assert code == 0, err
    assert (place / "run-gan" / "generator.keras").is_file()
    features = read_config(place / "run-gan" / "config.yaml").adversarial.features
    assert set(features["layers"]) == {"block4", "block5"}, "those of the preset"


def without_masks(place):
    for mask in place.rglob("*_mask.png"):
        mask.unlink()


def empty_masks(place):
    for mask in place.rglob("*_mask.png"):
        write_image(mask, np.zeros((32, 32, 1), "uint8"))


def copied_channels(place):
    for path in sorted((place / "data").rglob("?.png")):
        write_image(path, np.repeat(np.full((32, 32, 1), 9, "uint8"), 3, axis=-1))


def other_size(place):
    write_image(place / "data/p0/3_mask.png", np.zeros((16, 32, 1), "uint8"))


def truncated_slices(place):
    for file in (place / "data").rglob("?.png"):
        file.write_bytes(file.read_bytes()[:-300])


def not_finite(place):
    with h5py.File(place / "vgg16.h5", "a") as file:
        file["block5_conv1/bias:0"][0] = np.nan


def nothing(place):
    pass


@pytest.mark.parametrize(
    ("break_it", "words", "parts"),
    [
        (without_masks, [], ("data has no masks", "NAME_mask.tif", "'sequence' alone")),
        (empty_masks, [], ("training slices show no tumour", "data.split_seed")),
        (copied_channels, ["--labels", "sequence"], ("two channels that differ", "'tumour' alone")),
        (other_size, [], ("3_mask.png is 16x32 pixels", "export the mask again")),
        (truncated_slices, [], (".png is broken or cut short",)),
        (nothing, ["--weights", "none.h5"], ("No feature weights at none.h5",)),
        (nothing, ["--weights", "vgg19.h5"], ("vgg19.h5 does not hold the weights of vgg16", "block3_conv4")),
        (nothing, ["--weights", "cut.h5"], ("cut.h5 cannot be read as weights of vgg16",)),
        (not_finite, [], ("vgg16.h5 has values in block5_conv1 that are not finite",)),
        (nothing, ["--labels", "grade"], ("labels must be some of tumour, sequence",)),
        (nothing, ["--trainable", "block9"], ("trainable must be some of block1",)),
        (nothing, ["--set", "training.loss=1"], ("Unknown config key 'training.loss'",)),
        (nothing, ["--out", "data"], ("data exists and is not empty",)),
    ],
    ids=[
        "no-masks", "empty-masks", "copied-channels", "mask-size", "truncated-slices", "no-weights",
        "wrong-network", "truncated-weights", "not-finite", "labels", "blocks", "key", "out",
    ],
)  # fmt: skip
def test_bad_input(mrisr, listing, place, break_it, words, parts):
    break_it(place)
    before = listing(place)
    code, _, err = mrisr(*finetune(*(["--weights", "vgg16.h5"] if "--weights" not in words else []), *words))
    assert code == 2, err
    assert err.count("\n") == 1 and err.startswith("mrisr: error: "), err
    for part in parts:
        assert part in err
    assert listing(place) == before


def test_data_must_be_named(mrisr, tmp_path):
    code, _, err = mrisr("features", "finetune", "--out", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "No data: give --data ROOT" in err
    code, _, err = mrisr("features", "finetune", "--out", tmp_path / "run", "--data", tmp_path / "none")
    assert code == 2 and "none does not exist" in err
    assert not list(tmp_path.iterdir())
