import csv
import json
import signal

import keras
import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, split_patients, write_image
from keras_mrisr.errors import ConfigError, DataError, ModelError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.models.storage import load_info
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.through_plane_config import ThroughPlaneConfig, through_plane_preset
from keras_mrisr.training import TrainingInterruptedError
from keras_mrisr.training.through_plane import compiled_through_plane, train_through_plane
from keras_mrisr.training.through_plane_patches import ThroughPlanePatches
from keras_mrisr.training.through_plane_validation import line_pair, psnr_of


@pytest.fixture(scope="module")
def plane_root(tmp_path_factory, smooth_image):
    """A folder of 5 patients with 2 RGB slices of 48x64, two channels of which are equal."""
    root = tmp_path_factory.mktemp("planes")
    for patient in range(5):
        for index in range(2):
            image = smooth_image(48, 64, 2, seed=10 * patient + index)
            write_image(root / f"p{patient}" / f"{index}.png", image[..., [0, 1, 1]])
    return root


@pytest.fixture(scope="module")
def tiny(plane_root):
    """A function (overrides) -> the smallest `ThroughPlaneConfig` that trains on `plane_root`."""
    base = ThroughPlaneConfig().replace(
        {
            "generator": {"blocks": 1, "filters": 8, "tail": 4},
            "data.root": str(plane_root),
            "training.factor": [1.5, 5],
            "training.slices": 8,
            "training.width": 16,
            "training.batch_size": 4,
            "training.steps_per_epoch": 4,
            "training.epochs": 3,
            "training.validation_planes": 2,
            "training.precision": "float32",
        }
    )
    return lambda overrides=None: base.replace(overrides or {})


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    """A run of `tiny()` from beginning to end; not to be changed."""
    return train_through_plane(tiny(), tmp_path_factory.mktemp("thin") / "run")


def history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def test_the_run_is_a_model_directory(run, tiny, plane_root):
    resolver = ThroughPlaneResolver.load(run)
    info = resolver.info
    assert info.generator == {"blocks": 1, "filters": 8, "tail": 4}
    assert (info.factors, info.data["root_name"]) == ([1.5, 5.0], plane_root.name)
    assert resolver.restore(np.zeros((1, 6, 9), "float32"), 15).shape == (1, 15, 9)
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = max(float(row["val_psnr"]) for row in rows)
    assert info.metrics["val_psnr"] == best
    # 6.67 is not in the range of the config.
    assert {"val_gain_2", "val_gain_4"} <= set(rows[0]) and "val_gain_6.67" not in rows[0]
    assert float(rows[0]["val_gain"]) == pytest.approx(
        (float(rows[0]["val_gain_2"]) + float(rows[0]["val_gain_4"])) / 2
    )
    # 3 patients train, with 2 slices of two channels that differ.
    assert info.training["train_planes"] == 12
    assert f"PSNR {best:.2f} dB" in (run / "card.md").read_text()
    assert str(plane_root) not in (run / "model.json").read_text()
    for name in ("last.keras", "samples.png", "curves.png"):
        assert (run / name).is_file()
    with pytest.raises(ModelError):
        load_info(run)


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, tiny, run):
    def stop(epoch, step, logs):
        if (epoch, step) == (2, 2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train_through_plane(tiny(), tmp_path / "run", report=stop)
    seen = []
    train_through_plane(tiny(), tmp_path / "run", report=lambda *call: seen.append(call[:2]))
    assert seen[0] == (2, 3)
    ours, theirs = (
        keras.saving.load_model(path / "last.keras").get_weights() for path in (tmp_path / "run", run)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ConfigError, match="holds this run already, complete"):
        train_through_plane(tiny(), tmp_path / "run")


def test_training_starts_from_another_model(tmp_path, tiny, run):
    config = tiny({"training.init": str(run), "training.epochs": 1, "training.learning_rate": 1e-9})
    started = train_through_plane(config, tmp_path / "run")
    before, after = (ThroughPlaneResolver.load(path).network.get_weights() for path in (run, started))
    first = ThroughPlaneResolver.load(run).network
    assert all(np.abs(one - other).max() < 1e-5 for one, other in zip(before, after, strict=True))
    assert first.count_params() == sum(weight.size for weight in after)
    with pytest.raises(
        ConfigError, match=r"training.init: .* has the network .*'blocks': 1.* Choose the same"
    ):
        train_through_plane(config.replace({"generator.blocks": 2}), tmp_path / "other")
    other = split_patients(
        read_dataset(config.data.root).sites, 5, config.data.validation_fraction, config.data.test_fraction
    )
    with pytest.raises(DataError, match=r"was trained with \d patient"):
        train_through_plane(config, tmp_path / "other", split=other)
    assert not (tmp_path / "other").exists()


def test_volumes_of_thick_and_thin_slices(tmp_path, tiny, smooth_image):
    for patient, (size, spacing) in enumerate((((40, 36, 3), 5), ((24, 24, 24), 1), ((32, 32, 4), 4))):
        array = smooth_image(*size, "int16", seed=patient)
        path = tmp_path / f"scans/sub-{patient}/T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, spacing, 1])), path)
    config = tiny({"data.root": str(tmp_path / "scans"), "training.epochs": 1, "training.steps_per_epoch": 1})
    info = ThroughPlaneResolver.load(train_through_plane(config, tmp_path / "run")).info
    assert info.data["kind"] == "volumes"
    # Patient 0 has 3 planes, 1 has 72 and 2 has 4: whichever one trains.
    assert info.training["train_planes"] in (3, 72, 4)


def test_bad_configs_and_data(tmp_path, tiny):
    for overrides, message in (
        ({"training.factor": [1, 4]}, r"training.factor must be \[low, high\], both from 1.2 to 8. Received"),
        ({"training.factor": [4, 2]}, "training.factor must be"),
        ({"training.slices": 3}, "training.slices must be 4 or more"),
        ({"data.neighbours": 1}, "data.neighbours must be 0 for this task"),
        ({"generator.name": "edsr"}, "Unknown config key 'generator.name'"),
    ):
        with pytest.raises(ConfigError, match=message):
            tiny(overrides)
    with pytest.raises(ConfigError, match=r"Unknown preset 'paper'\. Known: compact, full"):
        through_plane_preset("paper")
    with pytest.raises(
        DataError, match=r"is 64 pixels wide or more and shows anything\. Lower `training.width`"
    ):
        train_through_plane(tiny({"training.width": 64}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_presets_are_the_network_of_the_bundled_model():
    compact = through_plane_preset("compact")
    assert compact.generator.to_dict() == {"blocks": 10, "filters": 64, "tail": 32}
    training = compact.training
    assert (training.optimizer, training.learning_rate, training.clip_norm) == ("muon", 1e-3, 0.5)
    assert training.epochs * training.steps_per_epoch == 6000
    model = compiled_through_plane(compact.replace({"training.precision": "mixed_bfloat16"}))
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert model.get_layer("output_conv").compute_dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_a_pair_of_lines_covers_the_same_extent():
    ramp = np.tile(np.linspace(0, 1, 100, dtype="float32")[:, np.newaxis], (1, 3))
    pair = line_pair(ramp, 6.67)
    assert pair.lr.shape == (14, 3) and pair.hr.shape == (93, 3)  # 14 * 6.67 = 93.4 lines.
    # Averages of a ramp are its values at the centres of the slices, but for the ends.
    centres = (np.arange(14) + 0.5) * 93 / 14 - 0.5
    np.testing.assert_allclose(pair.lr[2:-2, 0], centres[2:-2] / 99, atol=1e-4)
    assert line_pair(ramp[:10], 6.67) is None
    assert psnr_of(ramp, ramp + 0.1) == pytest.approx(20, abs=1e-3)


def test_fit_takes_batches_of_all_sizes(smooth_image):
    images = [smooth_image(48, 64, dtype="float32", seed=seed)[..., 0] for seed in range(2)]
    patches = ThroughPlanePatches(images, slices=8, width=16, batch_size=2, steps=1)
    sizes = set()
    for epoch in range(6):
        patches.start(epoch)
        inputs, hr = patches[0]
        sizes.add((inputs["lr"].shape[1], hr.shape[1]))
    assert len(sizes) > 3
    patches.start(0)
    model = through_plane(1, 4, 4)
    model.compile("adam", "mean_absolute_error")
    # With one step an epoch Keras would take the first batch's shape for all.
    losses = model.fit(patches, epochs=6, verbose=0).history["loss"]
    assert len(losses) == 6 and np.isfinite(losses).all()


def test_thickness_and_contrast_can_be_those_of_a_scan(smooth_image):
    images = [smooth_image(64, 64, dtype="float32")[..., 0]]
    options = {"slices": 8, "width": 16, "batch_size": 8, "steps": 1, "factor": (4.0, 4.0)}
    inputs, hr = ThroughPlanePatches(images, thickness=0.8, contrasts=False, **options)[0]
    np.testing.assert_allclose(inputs["acquisition"], np.tile([0.25, 0.8], (8, 1)), rtol=1e-6)
    assert np.isin(hr, images[0]).all()
    inputs, hr = ThroughPlanePatches(images, **options)[0]
    assert len(np.unique(inputs["acquisition"][:, 1])) > 2
    assert not np.isin(hr, images[0]).all()


def test_command(mrisr, tmp_path, plane_root):
    out = tmp_path / "run"
    words = ["train", "--task", "through-plane", "--data", plane_root, "--out", out, "--epochs", 1]
    sizes = ["generator.blocks=1", "generator.filters=8", "generator.tail=4", "training.steps_per_epoch=2"]
    patches = [
        "training.slices=8",
        "training.width=16",
        "training.factor=[2,3]",
        "training.validation_planes=1",
    ]
    code, text, err = mrisr(*words, "--batch-size", 2, "--precision", "float32", "--set", *sizes, *patches)
    assert (code, err) == (0, "")
    assert "dB over the cubic B-spline" in text
    assert f"mrisr upscale SCAN OUT --through-plane --model {out}" in text
    assert json.loads((out / "model.json").read_text())["task"] == "through-plane"
    code, _, err = mrisr(*words, "--scale", 2)
    assert code == 2 and err.startswith(
        "mrisr train --task through-plane: error: unrecognized arguments: --scale 2"
    )
    code, text, _ = mrisr("train", "--task", "through-plane", "--preset", "compact", "--keys")
    assert code == 0 and "generator.tail=32" in text and "training.epochs=30" in text
    code, _, err = mrisr("train", "--task", "through-plane", "--data", tmp_path / "none", "--out", out)
    assert code == 2 and err.count("\n") == 1 and "does not exist" in err
