"""Training the network that finishes: from the command to a finished scan, resuming, and what is refused."""

import csv
import json
import signal

import keras
import nibabel
import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.errors import ConfigError, DataError, ModelError
from keras_mrisr.finish_config import FinishConfig
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.packing import pack_model
from keras_mrisr.training import TrainingInterruptedError
from keras_mrisr.training.finish import train_finish
from keras_mrisr.training.finish_blocks import FinishBlock, FinishPatches, restored_blocks

SETTINGS = {
    "generator": {"blocks": 1, "filters": 4},
    "training.epochs": 2,
    "training.steps_per_epoch": 3,
    "training.batch_size": 2,
    "training.patch_size": 8,
    "training.block_size": 14,
    "training.blocks": 4,
    "training.validation_blocks": 2,
    "training.factor": [2, 3],
    "training.precision": "float32",
    "training.optimizer": "adam",
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder of three subjects' volumes of 16x17x18 voxels."""
    root = tmp_path_factory.mktemp("thin") / "scans"
    for patient in range(3):
        write(root / f"sub-{patient}/T1w.nii.gz", (16, 17, 18), seed=patient)
    return root


def write(path, shape, spacing=(1, 1, 1), seed=0):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    waves = sum(np.cos(grid @ rng.uniform(-1, 1, 3) + rng.uniform(0, 6)) for _ in range(8))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image((500 + 60 * waves).astype("int16"), np.diag([*spacing, 1])), path)


@pytest.fixture(scope="module")
def config(scans, thick_model):
    return FinishConfig().replace({**SETTINGS, "data.root": str(scans), "training.init": str(thick_model)})


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    """A run from beginning to end; not to be changed."""
    return train_finish(config, tmp_path_factory.mktemp("finish") / "run")


def test_the_run_is_a_model_for_thick_slices(run, thick_model, scans):
    resolver, plain = ThroughPlaneResolver.load(run), ThroughPlaneResolver.load(thick_model)
    for ours, theirs in zip(resolver.network.get_weights(), plain.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    info = resolver.info
    assert (info.finish, info.generator) == ({"blocks": 1, "filters": 4}, plain.info.generator)
    assert (info.factors, info.data["root_name"]) == (plain.info.factors, scans.name)
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    best = max(float(row["val_psnr"]) for row in rows)
    assert len(rows) == 2 and info.metrics["val_psnr"] == best
    # Both gains are over the same mean.
    means = [float(row["val_psnr"]) - float(row["val_gain"]) for row in rows]
    assert means[0] == pytest.approx(means[1], abs=1e-6)
    assert "over the mean of both families" in (run / "card.md").read_text()
    assert (run / "samples.png").is_file() and (run / "last.keras").is_file()
    assert plain.info.finish == {} and plain.finish is None


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, config, run):
    def stop(epoch, step, logs):
        if (epoch, step) == (1, 2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train_finish(config, tmp_path / "run", report=stop)
    train_finish(config, tmp_path / "run")
    ours, theirs = (
        keras.saving.load_model(path / "last.keras").get_weights() for path in (tmp_path / "run", run)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_blocks_are_what_the_model_makes_of_thick_slices(scans, config, thick_model):
    from keras_mrisr.data import read_dataset
    from keras_mrisr.degrade.thick_slices import ThickSlices
    from keras_mrisr.inference.through_plane_resolver import restore_families

    resolver = ThroughPlaneResolver.load(thick_model)
    dataset = read_dataset(scans, "volumes")
    training = config.replace({"training.factor": [3, 3]}).training
    blocks = restored_blocks(dataset, resolver, training, 3, varied=False)
    assert [one.hr.shape for one in blocks] == [(12, 14, 14, 1)] * 3
    for block in blocks:
        lr = ThickSlices(3.0).degrade(block.hr[..., 0], 0)
        families, _ = restore_families(resolver, lr, 0, 12)
        np.testing.assert_allclose(block.estimates, np.stack(families, axis=-1), atol=1e-6)
    varied = restored_blocks(dataset, resolver, training, 3)
    assert any(np.abs(one.hr - other.hr).max() > 0.01 for one, other in zip(blocks, varied, strict=True))


def test_patches_turn_both_families_with_the_volume():
    """Of estimates that name their family's axis: whatever is flipped or swapped, each stays with its own."""
    y, z = np.meshgrid(np.arange(9.0), 100 + np.arange(9.0), indexing="ij")
    estimates = np.broadcast_to(np.stack([y, z], axis=-1), (9, 9, 9, 2)).astype("float32")
    block = FinishBlock(estimates, estimates.sum(axis=-1, keepdims=True))
    patches = FinishPatches([block], 8, 16, 1)
    batch, hr = patches[0]
    assert batch.shape == (16, 8, 8, 8, 2) and hr.shape == (16, 8, 8, 8, 1)
    np.testing.assert_array_equal(batch.sum(axis=-1, keepdims=True), hr)
    swapped = batch[..., 0].max(axis=(1, 2, 3)) >= 100
    assert 0 < swapped.sum() < 16
    for one, is_swapped in zip(batch, swapped, strict=True):
        # The first family varies along the second axis, the second along the third.
        assert np.ptp(one[..., 0], axis=1).max() > 0 == np.ptp(one[..., 0], axis=2).max()
        assert np.ptp(one[..., 1], axis=2).max() > 0 == np.ptp(one[..., 1], axis=1).max()
        assert (one[..., int(is_swapped)] < 100).all()
    again, _ = FinishPatches([block], 8, 16, 1)[0]
    np.testing.assert_array_equal(batch, again)


def test_bad_input(tmp_path, config, thick_model, models, scans):
    def refused(error, message, **overrides):
        changes = {key.replace("__", "."): value for key, value in overrides.items()}
        with pytest.raises(error, match=message) as caught:
            train_finish(config.replace(changes), tmp_path / "run")
        assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()

    refused(ModelError, "is no model that makes thick slices thin", training__init=str(models["grey"]))
    refused(ModelError, "No model at .*none", training__init=str(tmp_path / "none"))
    small = {"training__patch_size": 16, "training__block_size": 40}
    refused(DataError, "patches of this size need 19 voxels along each axis", **small)
    for patient in range(3):
        write(tmp_path / f"thick/{patient}/T1w.nii.gz", (16, 16, 16), (1, 1, 4))
        write_image(tmp_path / f"images/{patient}/0.png", np.zeros((16, 16, 1), "uint8"))
    refused(DataError, "voxels of 1 x 1 x 4 mm: this task needs volumes", data__root=str(tmp_path / "thick"))
    refused(DataError, "holds no volumes", data__root=str(tmp_path / "images"), data__kind="images")
    for overrides, message in (
        ({"training.factor": [1, 4]}, r"training.factor must be \[low, high\], both from 1.2 to 8"),
        ({"training.patch_size": 7}, "training.patch_size must be 8 or more"),
        ({"training.block_size": 10}, "training.block_size must be 11 or more here"),
        ({"data.neighbours": 1}, "data.neighbours must be 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            config.replace(overrides)


def test_a_model_whose_finish_is_lost(tmp_path, run):
    for name in ("model.json", "generator.keras"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(ModelError, match=r"holds no finish.keras"):
        ThroughPlaneResolver.load(tmp_path)


def test_packed_it_keeps_its_finish(tmp_path, run):
    pack_model(run, tmp_path / "packed", licence="CC0")
    packed, ours = ThroughPlaneResolver.load(tmp_path / "packed"), ThroughPlaneResolver.load(run)
    for one, other in zip(packed.finish.network.weights, ours.finish.network.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    card = (tmp_path / "packed/card.md").read_text()
    assert "mrisr train --task finish --config" in card


def test_from_the_command_to_a_finished_scan(mrisr, tmp_path, scans, thick_model):
    out = tmp_path / "run"
    words = ["train", "--task", "finish", "--data", scans, "--out", out, "--init", thick_model, "--epochs", 1]
    sizes = ["generator.blocks=1", "generator.filters=4", "training.steps_per_epoch=1", "training.blocks=2",
             "training.validation_blocks=1", "training.patch_size=8", "training.block_size=12",
             "training.factor=[2,3]"]  # fmt: skip
    words += ["--batch-size", 1, "--precision", "float32", "--optimizer", "adam", "--learning-rate", 0.01]
    words += ["--set", *sizes]
    code, text, err = mrisr(*words)
    assert (code, err) == (0, "")
    assert f"mrisr upscale SCAN OUT --through-plane --model {out}" in text
    write(tmp_path / "scan.nii.gz", (9, 10, 5), (1, 1, 3))
    results = []
    for model in (out, thick_model):
        target = tmp_path / f"{model.name}.nii.gz"
        code, text, err = mrisr("upscale", tmp_path / "scan.nii.gz", target, "--model", model)
        assert (code, err) == (0, "")
        results.append(np.asarray(nibabel.load(target).dataobj))
    assert results[0].shape == (9, 10, 15)
    # One step at this rate can be seen.
    assert np.abs(results[0].astype(int) - results[1]).max() > 0
    json_info = json.loads((out / "model.json").read_text())
    assert (json_info["task"], json_info["finish"]) == ("through-plane", {"blocks": 1, "filters": 4})
    code, text, _ = mrisr("train", "--task", "finish", "--data", scans, "--out", out, "--keys")
    assert code == 0 and "training.block_size=96" in text
