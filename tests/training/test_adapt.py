import json

import keras
import numpy as np
import pytest

from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.model_info import ThroughPlaneInfo
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.training.adapt import Adaptation, adapt, save_adapted
from keras_mrisr.volumes import Volume

SIZE = {"blocks": 1, "filters": 8, "tail": 4}


@pytest.fixture(scope="module")
def resolver():
    """An untrained model: its output is cubic interpolation."""
    keras.utils.set_random_seed(0)
    training = {
        "loss": "mean_absolute_error", "optimizer": "muon", "learning_rate": 1e-3, "schedule": "cosine",
        "batch_size": 4, "slices": 8, "width": 16, "precision": "float32", "seed": 0, "parameters": 1,
        "train_planes": 9, "epochs": 1, "steps_per_epoch": 1, "seconds": 60, "hardware": "a CPU",
    }  # fmt: skip
    info = ThroughPlaneInfo(
        task="through-plane", generator=SIZE, factors=[1.2, 8.0], thickness=[0.6, 1.4], training=training,
        data={"root_name": "data", "kind": "images", "split": {"train": ["a"], "val": ["b"], "test": []}},
        metrics={"val_psnr": 30.0, "val_gain": 1.0, "val_gain_2": 1.0, "epoch": 1, "protocol": "as it is"},
    )  # fmt: skip
    return ThroughPlaneResolver(through_plane(**SIZE), info, "start")


@pytest.fixture(scope="module")
def scan(smooth_image):
    """12 slices of 40x40 with edges, 1x1x4 mm."""
    array = np.concatenate([smooth_image(40, 40, seed=seed) for seed in range(12)], axis=-1)
    return Volume(1000 * array.astype("float32"), np.diag([1, 1, 4, 1]), "/somewhere/sub-1_FLAIR.nii.gz")


def test_what_the_scan_teaches_is_kept(resolver, scan, tmp_path):
    before = resolver.network.get_weights()
    seen = []
    adapted, result = adapt(
        resolver, scan, steps=150, learning_rate=5e-3, progress=lambda *call: seen.append(call)
    )
    assert result.kept and result.after > result.before + 0.5
    assert (result.steps, result.slices, result.held_out) == (150, 10, 2)
    assert (result.factor, result.thickness) == (4.0, 1.0)
    assert seen[-1] == (1000, 1000) and seen == sorted(seen)
    assert "Adapted by 150 steps on 10 slices of sub-1_FLAIR.nii.gz" in result.sentence
    # The model that it was given is as it was.
    for one, other in zip(before, resolver.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    save_adapted(adapted, tmp_path / "adapted")
    loaded = ThroughPlaneResolver.load(tmp_path / "adapted")
    lr = np.random.default_rng(0).random((1, 6, 9), "float32")
    np.testing.assert_allclose(loaded.restore(lr, 24), adapted.restore(lr, 24), atol=1e-6)
    assert np.abs(loaded.restore(lr, 24) - resolver.restore(lr, 24)).max() > 1e-3
    about = json.loads((tmp_path / "adapted/model.json").read_text())["training"]["adapted"]
    assert (about["from"], about["on"], about["factor"]) == ("start", "sub-1_FLAIR.nii.gz", 4.0)
    assert (
        "| adapted | from start on sub-1_FLAIR.nii.gz, 150 steps"
        in (tmp_path / "adapted/card.md").read_text()
    )


def test_what_does_harm_is_refused(resolver, scan):
    same, result = adapt(resolver, scan, steps=3, learning_rate=3.0)
    assert same is resolver
    assert result.after < result.before and not result.kept
    assert result.sentence.endswith("That is no better: the weights stay as they were.")


def test_a_time_ends_it(resolver, scan):
    _, result = adapt(resolver, scan, minutes=1e-6)
    assert result.steps == 1  # It was over before the first step.


def test_channels_thickness_and_axis_are_those_of_the_scan(resolver, scan):
    array = np.moveaxis(np.stack([scan.array, scan.array[::-1]], axis=-1), 2, 0)
    volume = Volume(array, np.diag([3, 1, 1, 1]), slice_thickness=2.4)
    _, result = adapt(resolver, volume, steps=1)
    assert (result.factor, result.slices + result.held_out) == (3.0, 24)
    assert result.thickness == pytest.approx(0.8)
    _, result = adapt(resolver, volume, steps=1, factor=2.5, thickness=1.0)
    assert (result.factor, result.thickness) == (2.5, 1.0)


def test_bad_input(resolver, scan, monkeypatch):
    for budget in (
        {},
        {"minutes": 1, "steps": 5},
        {"minutes": 0.0},
        {"steps": -1},
        {"minutes": float("nan")},
    ):
        with pytest.raises(ConfigError, match="`adapt`"):
            adapt(resolver, scan, **budget)
    few = Volume(scan.array[..., :4], scan.affine, "few.nii")
    with pytest.raises(DataError, match=r"few.nii has 4 slices that show anything: 5 or more"):
        adapt(resolver, few, steps=1)
    with pytest.raises(DataError, match=r"slices of 40x40 voxels are too small to learn a factor of 12 from"):
        adapt(resolver, scan, steps=1, factor=12.0)
    export = ThroughPlaneResolver(object(), resolver.info, "thick.onnx")
    with pytest.raises(ConfigError, match=r"thick.onnx is an export. Give the model directory"):
        adapt(export, scan, steps=1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(MissingDependencyError, match="backend numpy does not: pip install tensorflow"):
        adapt(resolver, scan, steps=1)


def test_the_same_psnr_is_no_gain():
    result = Adaptation("scan", 4.0, 1.0, 1, 1.0, 8, 2, 30.0, 30.0)
    assert not result.kept
