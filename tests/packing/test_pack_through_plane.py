import json

import keras
import numpy as np
import pytest
import yaml

from keras_mrisr.data import Split
from keras_mrisr.errors import ConfigError, ModelError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.model_info import ThroughPlaneInfo
from keras_mrisr.models.storage import save_trained
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.packing import pack_model
from keras_mrisr.through_plane_config import ThroughPlaneConfig

SIZE = {"blocks": 1, "filters": 8, "tail": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What a training for thick slices leaves, without the training."""
    folder = tmp_path_factory.mktemp("thin") / "thin"
    keras.utils.set_random_seed(0)
    network = through_plane(**SIZE)
    network.get_layer("output_conv").set_weights([np.full((3, 3, 4, 1), 0.01), np.zeros(1)])
    config = ThroughPlaneConfig.from_dict({"generator": SIZE, "data": {"root": "/home/me/scans"}})
    about = {"parameters": 1, "train_planes": 9, "seconds": 60, "hardware": "a CPU"}
    split = Split(("anna-smith",), ("bob",), ())
    info = ThroughPlaneInfo(
        task="through-plane", generator=SIZE, factors=[1.2, 8.0], thickness=[0.6, 1.4],
        data={"root_name": "scans", "kind": "volumes", "split": split.to_dict()},
        training={**config.training.to_dict(), **about},
        metrics={"val_psnr": 30.0, "val_gain": 1.0, "val_gain_2": 1.0, "epoch": 1, "protocol": "as it is"},
    )  # fmt: skip
    save_trained(folder, network, info, "card")
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    return folder


@pytest.fixture
def evaluation(tmp_path):
    """A function (model) -> folder with scores as an evaluation of thick slices writes them."""

    def make(model):
        protocol = {
            "methods": {"B-spline": "scipy", "SR": str(model)}, "interpolations": ["B-spline"], "images": 2,
            "scale": [4.0], "degradation": {"name": "thick-slices", "factors": [4.0]}, "part": "test",
            "patients": ["eve"], "hr": "thin", "lr": "thick", "sr": "float", "averaging": "over patients",
        }  # fmt: skip
        row = {"region": "volume", "metric": "psnr", "channel": "x4"}
        summary = [
            {**row, "method": "SR", "image_mean": 34.25},
            {**row, "method": "B-spline", "image_mean": 31.5},
        ]
        folder = tmp_path / "scores"
        folder.mkdir(exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps({"protocol": protocol, "summary": summary}))
        return folder

    return make


def test_pack(run, evaluation, tmp_path):
    target = tmp_path / "packed"
    difference = pack_model(run, target, [evaluation(run)], licence="CC0")
    assert 0 < difference < 1e-3
    assert (target / "generator.keras").stat().st_size < 0.8 * (run / "generator.keras").stat().st_size
    ours, packed = ThroughPlaneResolver.load(run), ThroughPlaneResolver.load(target)
    lr = np.random.default_rng(0).random((1, 6, 9), "float32")
    np.testing.assert_allclose(packed.restore(lr, 20), ours.restore(lr, 20), atol=1e-3)
    card = (target / "card.md").read_text()
    for words in ("CC0", "| SR | x4 | 34.25 dB |", "2 volumes of 1 held-out patients", "thick-slices",
                  "mrisr train --task through-plane --config"):  # fmt: skip
        assert words in card
    for name in ("model.json", "config.yaml", "card.md", "scores.json"):
        text = (target / name).read_text()
        assert "/home/me" not in text and "anna-smith" not in text
    assert packed.info.data["licence"] == "CC0"


def test_what_does_not_fit_is_refused(run, evaluation, tmp_path):
    with pytest.raises(ModelError, match=r"is an evaluation of .*other on thick-slices, not of thin"):
        pack_model(run, tmp_path / "packed", [evaluation("/runs/other")], licence="CC0")
    with pytest.raises(ConfigError, match="`picture_of` is for models that make planes finer"):
        pack_model(run, tmp_path / "packed", licence="CC0", picture_of=tmp_path / "image.png")
    assert not (tmp_path / "packed").exists()
