"""The adversarial stage of the recipe, from config to trained model directory."""

import csv
import importlib.util
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_mrisr
from keras_mrisr.config import write_config
from keras_mrisr.data.pipeline import PatchDataset
from keras_mrisr.errors import MrisrError, TrainingDivergedError
from keras_mrisr.metrics import kid
from keras_mrisr.models.features import build_features
from keras_mrisr.models.storage import load_trained
from keras_mrisr.training import train
from keras_mrisr.training.adversarial import (
    AdversarialValidation,
    _patches_of_tissue,
    compiled_srgan,
    pretraining_config,
)
from keras_mrisr.training.generator import start_from
from keras_mrisr.training.state import RunState, read_state, restore_backup

HERE = pathlib.Path(__file__).parent
PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]

KILLED = """
import os, signal, sys
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
from keras_mrisr.config import read_config
from keras_mrisr.training import recipe, train

make = recipe.compiled_srgan

def eagerly(*arguments):
    model = make(*arguments)
    model.run_eagerly = True
    return model

recipe.compiled_srgan = eagerly  # A graph takes more time than these steps; the shared run has one.

def report(epoch, step, logs):
    if "adversarial" in logs and (epoch, step) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)

config, killed, whole = sys.argv[1:]
if os.path.exists(killed):
    train(read_config(config), whole)
    report = None
train(read_config(config), killed, report=report)
"""


def run_python(*words, program=sys.executable, **environment):
    return subprocess.run(
        [program, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), **environment},
        capture_output=True,
        text=True,
    )


def history(run):
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


# What a run leaves.


def test_two_stages(gan_run, tiny_gan):
    state = read_state(gan_run / "backup")
    assert (state.epoch, state.finished, state.rollbacks) == (2, True, 0)
    _, info = load_trained(gan_run / "pretrained")
    assert read_state(gan_run / "pretrained" / "backup").finished
    assert info.training["epochs"] == 1 and "adversarial" not in info.training
    # What was handed over scores as what the first stage kept.
    assert state.start["val_psnr"] == info.metrics["val_psnr"]
    assert state.start["val_ssim"] == info.metrics["val_ssim"]
    names = {path.name for path in gan_run.iterdir()}
    assert names >= {"generator.keras", "last.keras", "model.json", "card.md", "config.yaml", "pretrained"}
    rows = history(gan_run)
    assert [row["epoch"] for row in rows] == [1, 2]
    losses = {"pixel", "perceptual", "consistency", "adversarial", "r1", "loss", "d_loss"}
    health = {"d_hr", "d_sr", "g_gradient", "d_gradient", "ill"}
    scores = {"val_psnr", "val_ssim", "val_features", "val_kid", "val_variety", "val_spectrum", "val_score"}
    rates = {"generator_adam", "discriminator_adam"}
    assert set(rows[0]) == {"epoch", *losses, *health, *scores, *rates}
    for row in rows:
        start = state.start
        gain = 10 * np.log10(start["val_features"] / row["val_features"])
        assert row["val_score"] == pytest.approx(row["val_psnr"] - start["val_psnr"] + 2 * gain, abs=1e-4)


def test_every_epoch_leaves_sample_images(gan_run):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curves = events.EventAccumulator(str(gan_run / "tensorboard"))
    curves.Reload()
    assert [event.step for event in curves.Tensors("lr_bicubic_sr_hr")] == [1, 2]


def test_the_average_is_what_is_saved(gan_run, tiny_gan):
    model = compiled_srgan(tiny_gan(), 1, build_features(**tiny_gan().adversarial.features))
    restore_backup(gan_run / "backup", model)
    last, _ = load_trained(gan_run / "last.keras")
    for saved, mean, now in zip(
        last.get_weights(),
        model.average_generator.get_weights(),
        model.generator.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(saved, mean)
        assert np.abs(saved - now).max() > 0
    assert int(model.optimizer.iterations) == 6


def test_card_and_description(gan_run):
    _, info = load_trained(gan_run)
    recipe = info.training["adversarial"]
    assert recipe["discriminator"]["name"] == "patchgan" and recipe["on"]
    best = max(history(gan_run), key=lambda row: row["val_score"])
    assert (info.metrics["epoch"], info.metrics["val_score"]) == (best["epoch"], best["val_score"])
    card = (gan_run / "card.md").read_text()
    for text in (
        "| adversarial | bce against patchgan (filters=2, normalization=spectral)",
        "1 pixel, 0.1 perceptual, 0.001 adversarial, 0.5 consistency, 0.1 r1",
        "features of vgg16 (None)",
        "| feature distance |",
        "need not be\nwhat was there",
    ):
        assert text in card
    plain = (gan_run / "pretrained" / "card.md").read_text()
    assert "adversarial" not in plain.lower() and "feature" not in plain


def test_no_path_of_this_machine_in_the_description(tiny_gan):
    from keras_mrisr.training.adversarial import described

    config = tiny_gan({"adversarial.features.weights": "/home/me/vgg19_mri.h5"})
    assert described(config.adversarial)["features"]["weights"] == "vgg19_mri.h5"
    assert config.adversarial.features["weights"] == "/home/me/vgg19_mri.h5"
    assert described(tiny_gan().adversarial)["features"]["weights"] is None


def test_hand_over_is_exact(gan_run, tiny_gan, weights):
    features = build_features(**tiny_gan().adversarial.features)
    model = compiled_srgan(tiny_gan(), 1, features)
    start_from(tiny_gan(), gan_run / "pretrained", model)
    for network in (model.generator, model.average_generator):
        found = np.concatenate([np.ravel(value) for value in network.get_weights()])
        np.testing.assert_array_equal(found, weights(gan_run / "pretrained" / "generator.keras"))


def test_the_first_stage_has_its_own_training(tiny_gan):
    config = tiny_gan({"training.init": "x", "adversarial.pretraining": {"epochs": 7, "batch_size": 2}})
    first = pretraining_config(config)
    assert (first.training.epochs, first.training.batch_size, first.training.init) == (7, 2, None)
    assert first.training.patch_size == config.training.patch_size
    assert not first.adversarial.on
    config = tiny_gan({"adversarial.pretraining": {"init": "older"}})
    assert pretraining_config(config).training.init == "older"


# The validation.


def validation(tiny_gan, pairs, state):
    features = build_features(**tiny_gan().adversarial.features)
    model = compiled_srgan(tiny_gan(), 1, features)
    callback = AdversarialValidation(keras.models.clone_model(model.generator), pairs, features, state, 2.0)
    callback.set_model(model)
    return callback


@pytest.fixture(scope="module")
def pairs(image_root):
    from keras_mrisr.data import read_dataset
    from keras_mrisr.data.pipeline import load_pairs
    from keras_mrisr.degrade import get_degradation

    dataset = read_dataset(image_root)
    return load_pairs(dataset.select(dataset.patients[:2]), get_degradation("bicubic", 2))


def test_the_start_scores_zero(tiny_gan, pairs):
    state = RunState()
    callback = validation(tiny_gan, pairs, state)
    callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs["val_score"] == 0
    assert {name: logs[name] for name in state.start} == state.start
    assert 0.2 < logs["val_variety"] < 5
    # The same output for every slice.
    average = callback.model.average_generator
    average.set_weights([0 * value for value in average.get_weights()])
    callback.generator.predict_on_batch = lambda lr: np.full((1, 32, 32, 1), 0.5, "float32")
    callback.on_epoch_end(1, logs)
    assert logs["val_variety"] < 1e-6
    assert logs["val_score"] < 0


def test_kid_counts_where_it_is_asked_for(tiny_gan, pairs):
    callback = validation(tiny_gan, pairs, RunState())
    callback.on_train_begin()
    start = callback.state.start
    network, sets = callback.features, ([], [])
    for pair in pairs:  # Of 32 pixels: one patch each.
        lr, hr = (one[np.newaxis].astype("float32") / 255 for one in (pair.lr, pair.hr))
        sr = callback.generator.predict_on_batch(lr)
        for images, found in ((hr, sets[0]), (sr, sets[1])):
            found.append(np.concatenate([np.asarray(one).mean(axis=(1, 2)) for one in network(images)], 1)[0])
    unit = np.sqrt(np.mean(np.square(sets[0])))
    assert start["val_kid"] == pytest.approx(kid(*(np.array(one) / unit for one in sets)), rel=1e-3)
    logs = {}
    callback.on_epoch_end(0, logs)
    score = logs["val_score"]
    callback.kid, callback.state.start = 3.0, {**start, "val_kid": 1.0}
    callback.on_epoch_end(1, logs)
    assert logs["val_score"] == pytest.approx(score + 3 * (1 - logs["val_kid"]))


@pytest.mark.parametrize("mapping", ["auto", "each"])
def test_kid_is_taken_of_tissue(mapping):
    image = np.zeros((1, 128, 192, 2), "float32")
    image[0, :64, :64] = 1.0
    image[0, 64:, 128:, 1] = 1.0
    network = build_features("vgg16", ["block1_conv1", "block2_conv1"], None, channel_mapping=mapping)
    hr, sr = _patches_of_tissue(image, [network(image), network(image)])
    assert hr.shape == ({"auto": 2, "each": 3}[mapping], 64 + 128)
    np.testing.assert_array_equal(hr, sr)


def test_no_features_where_nothing_looks_at_them(tmp_path, tiny_gan, gan_run, eager):
    config = tiny_gan(
        {
            "training.init": str(gan_run / "pretrained"),
            "training.epochs": 1,
            **{f"adversarial.{name}_weight": 0.0 for name in ("perceptual", "consistency", "r1")},
            "adversarial.features.weights": "none.h5",
        }
    )
    with pytest.raises(MrisrError, match="No feature weights"):  # They choose the best epoch.
        train(config, tmp_path / "run")
    run = train(config.replace({"adversarial.perception": 0.0}), tmp_path / "run")
    [row] = history(run)
    start = read_state(run / "backup").start
    assert "val_features" not in {*row, *start}
    assert row["val_score"] == pytest.approx(row["val_psnr"] - start["val_psnr"], abs=1e-4)
    assert "features of" not in (run / "card.md").read_text()


def test_output_that_is_not_finite(tiny_gan, pairs):
    callback = validation(tiny_gan, pairs, RunState())
    average = callback.model.average_generator
    average.set_weights([value * np.nan for value in average.get_weights()])
    with pytest.raises(MrisrError, match=r"starts from gives values that are not finite.*training\.init"):
        callback.on_train_begin()
    callback.state.start = {"val_psnr": 30.0, "val_features": 1.0}
    logs = {}
    callback.on_epoch_end(0, logs)  # For the guard to find.
    assert np.isnan(logs["val_score"]) and np.isnan(logs["val_psnr"])


# What goes wrong on the way.


def test_a_run_survives_nan_in_its_data(tmp_path, tiny_gan, gan_run, eager, monkeypatch):
    make = PatchDataset.__getitem__

    def poisoned(self, index):
        lr, hr = make(self, index)
        return (lr, hr * np.nan) if (self.epoch, index) == (1, 1) else (lr, hr)

    monkeypatch.setattr(PatchDataset, "__getitem__", poisoned)
    config = tiny_gan({"training.init": str(gan_run / "pretrained"), "training.precision": "mixed_bfloat16"})
    run = train(config, tmp_path / "run")
    assert not (run / "pretrained").exists(), "an init replaces the first stage"
    state = read_state(run / "backup")
    assert (state.rollbacks, state.finished) == (1, True)
    assert np.isfinite([list(row.values()) for row in history(run)]).all()
    assert history(run)[1]["generator_adam"] < 0.5 * history(run)[0]["generator_adam"] + 1e-9
    for name in ("generator.keras", "last.keras"):
        generator, _ = load_trained(run / name)
        assert all(np.isfinite(value).all() for value in generator.get_weights())


def test_a_run_without_a_healthy_epoch_is_no_success(tmp_path, tiny_gan, gan_run, eager, monkeypatch):
    make = PatchDataset.__getitem__
    monkeypatch.setattr(
        PatchDataset, "__getitem__", lambda self, index: [x * np.nan for x in make(self, index)]
    )
    others = {
        f"adversarial.{name}_weight": 0.0 for name in ("perceptual", "consistency", "r1", "adversarial")
    }
    config = tiny_gan({"training.init": str(gan_run / "pretrained"), "adversarial.rollbacks": 0, **others})
    for _ in range(2):  # Started again, it says the same.
        with pytest.raises(
            TrainingDivergedError, match=r"no epoch of .*run was healthy\. No model was kept\. Start from"
        ):
            train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "model.json").exists()


def test_killed_in_the_middle_of_an_adversarial_epoch(tmp_path, tiny_gan, gan_run):
    """In processes of their own, for deterministic operations; every number is the same bit for bit."""
    first = str(gan_run / "pretrained")
    weightless = {f"adversarial.{name}_weight": 0.0 for name in ("perceptual", "consistency")}
    config = tiny_gan({"training.init": first, "adversarial.ramp": 5, **weightless})
    write_config(config, tmp_path / "config.yaml")
    words = ["-c", KILLED, *(tmp_path / name for name in ("config.yaml", "killed", "whole"))]
    killed = run_python(*words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    state = read_state(tmp_path / "killed" / "backup")
    assert (state.epoch, state.step, state.finished) == (1, 0, False)
    with pytest.raises(MrisrError, match=r"adversarial\.ramp: 5 there, 6 now"):
        train(config.replace({"adversarial.ramp": 6}), tmp_path / "killed")
    with pytest.raises(MrisrError, match=r"adversarial\.pretraining\.epochs: 1 there, 2 now"):
        train(config.replace({"adversarial.pretraining.epochs": 2}), tmp_path / "killed")

    done = run_python(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    found = []
    for name in ("killed", "whole"):
        model = compiled_srgan(config, 1, build_features(**config.adversarial.features))
        restore_backup(tmp_path / name / "backup", model)
        found.append([v.numpy() for v in (*model.variables, *model.optimizer.variables)])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
    # The sums behind the scores are shared out to threads, which is not always in the same order.
    for one, two in zip(history(tmp_path / "killed"), history(tmp_path / "whole"), strict=True):
        assert one == pytest.approx(two, rel=1e-4)


# Other devices and backends.


def test_two_replicas_take_the_same_step_as_one(tmp_path, tiny_gan):
    # Noise too small to matter, because each replica draws its own; but it is drawn.
    write_config(tiny_gan({"adversarial.instance_noise": 1e-9}), tmp_path / "config.yaml")
    done = run_python(HERE / "two_replicas_gan.py", tmp_path / "config.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["replicas"] == 2
    for kind in ("stable", "batch"):
        logs = results[kind].pop("logs")
        assert max(results[kind].values()) < 1e-4, results[kind]
        for name, (one, two) in logs.items():
            assert two == pytest.approx(one, rel=1e-4), (kind, name)
        assert min(logs["g_gradient"][0], logs["d_gradient"][0]) > 1e-3  # The limit of "stable".


def test_pytorch_takes_the_same_steps(tmp_path, monkeypatch, capsys):
    python = sys.executable if importlib.util.find_spec("torch") else os.environ.get("MRISR_TORCH_PYTHON")
    if not python:
        pytest.skip("PyTorch is not installed, and MRISR_TORCH_PYTHON names no Python that has it")
    monkeypatch.setattr(sys, "argv", ["three_steps.py", str(tmp_path / "weights.npz")])
    runpy.run_path(str(HERE / "three_steps.py"))
    here = json.loads(capsys.readouterr().out.splitlines()[-1])
    done = run_python(
        HERE / "three_steps.py", tmp_path / "weights.npz", program=python, KERAS_BACKEND="torch"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    there = json.loads(done.stdout.splitlines()[-1])
    assert (here["backend"], there["backend"]) == ("tensorflow", "torch")
    assert len(here["rows"]) == len(there["rows"]) == 8
    for one, two in zip(here["rows"], there["rows"], strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-7)
