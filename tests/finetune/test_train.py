import csv
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import keras_mrisr
from keras_mrisr.config import read_config, write_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.finetune import FinetuneConfig, finetune_features
from keras_mrisr.finetune.classifier import build_classifier
from keras_mrisr.finetune.labels import load_labelled
from keras_mrisr.finetune.scoring import score_slices
from keras_mrisr.finetune.storage import load_features
from keras_mrisr.models.features import build_features
from keras_mrisr.models.vgg import read_weights
from keras_mrisr.training import TrainingInterruptedError, strategy

PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]

KILLED = """
import os, signal, sys
from keras_mrisr.config import read_config
from keras_mrisr.finetune import FinetuneConfig, finetune_features
from keras_mrisr.models import vgg

vgg._FILTERS = (8, 8, 16, 16, 32)

def report(epoch, step, logs):
    if (epoch, step) == (2, 5):
        os.kill(os.getpid(), signal.SIGKILL)

finetune_features(read_config(sys.argv[1], FinetuneConfig()), sys.argv[2], report=report)
"""


class Crash(Exception):
    pass


def crash(*_):
    raise Crash


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_config):
    """(folder, FeaturesInfo) of a run of `toy_config()` from beginning to end; not to be changed."""
    run = tmp_path_factory.mktemp("finetuned") / "run"
    return run, finetune_features(toy_config(), run)


def history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def same_as_uninterrupted(run, finished):
    mine, other = (read_weights("vgg16", folder / "features.h5") for folder in (run, finished[0]))
    for name in mine:
        for one, two in zip(mine[name], other[name], strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
    assert [row["epoch"] for row in history(run)] == [row["epoch"] for row in history(finished[0])]
    metrics = json.loads((run / "model.json").read_text())["metrics"]
    assert metrics["test"]["tuned"]["sequence"]["images"] == 48
    for view, scores in finished[1].metrics["test"]["tuned"].items():
        assert metrics["test"]["tuned"][view] == pytest.approx(scores, abs=1e-3)


def test_what_a_run_leaves(finished, toy_config, toy_root):
    run, info = finished
    names = {path.name for path in run.iterdir()}
    assert names == {
        "features.h5", "heads.weights.h5", "heads-start.weights.h5", "model.json", "card.md", "config.yaml",
        "split.json", "history.csv", "curves.png", "tensorboard", "backup",
    }  # fmt: skip
    assert read_config(run / "config.yaml", FinetuneConfig()) == toy_config()
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = max(rows, key=lambda row: float(row["val_score"]))
    assert info.metrics["epoch"] == int(best["epoch"])
    assert info.metrics["val"]["tuned"]["tumour"]["auc"] == pytest.approx(float(best["val_tumour_auc"]))
    assert (info.network, info.init, info.trainable) == ("vgg16", "random", ["block3", "block4", "block5"])
    assert info.data["split"] == json.loads((run / "split.json").read_text())
    assert len(info.data["split"]["test"]) == 4
    card = (run / "card.md").read_text()
    assert "test: tumour, grey" in card and "channel 0, channel 1" in card
    assert str(toy_root.parent) not in card + (run / "model.json").read_text()


def test_it_learns_to_tell_unseen_patients_apart(finished):
    for part in ("val", "test"):
        tuned, start = (finished[1].metrics[part][when] for when in ("tuned", "start"))
        assert tuned["tumour"]["images"] == 16 and tuned["tumour_grey"]["images"] == 48
        assert tuned["tumour"]["majority"] == 0.5
        assert tuned["tumour"]["balanced_accuracy"] >= 0.85
        assert tuned["tumour"]["auc"] >= 0.95
        assert tuned["tumour_grey"]["auc"] >= 0.85
        assert tuned["sequence"]["auc"] >= 0.95
        assert tuned["tumour_grey"]["auc"] > start["tumour_grey"]["auc"] + 0.1


def test_the_perceptual_loss_takes_the_weights(finished):
    run, _ = finished
    x = np.random.default_rng(0).random((1, 32, 32, 3), dtype="float32")
    layers = ("block2_conv2", "block3_conv1", "block5_conv3")
    before = build_features("vgg16", layers, None)(x)
    after = build_features("vgg16", layers, run / "features.h5")(x)
    np.testing.assert_array_equal(before[0], after[0])
    assert all(np.abs(one - two).max() > 1e-3 for one, two in zip(before[1:], after[1:], strict=True))


def test_scores_are_those_of_the_files(finished, toy_dataset, toy_config):
    run, info = finished
    classifier = build_classifier("vgg16", None, {"tumour": 1, "sequence": 3}, [])
    slices = load_labelled(toy_dataset.select(info.data["split"]["test"]), info.labels)
    for when, weights, heads in (("start", None, "heads-start"), ("tuned", run / "features.h5", "heads")):
        load_features(classifier, "vgg16", weights, run / f"{heads}.weights.h5")
        seen = []
        scores = score_slices(classifier.whole, slices, 32, lambda *done: seen.append(done))  # noqa: B023
        assert seen[-1] == (16, 16)
        for view in scores:
            assert scores[view] == pytest.approx(info.metrics["test"][when][view])


def test_one_label_and_one_channel(tmp_path, toy_dataset, toy_config, toy_slice, monkeypatch, caplog):
    from keras_mrisr.data import write_image

    shorter = {"training.epochs": 1, "training.steps_per_epoch": 2, "training.precision": "mixed_bfloat16"}
    config = toy_config({**shorter, "labels": ["sequence"], "trainable": ["block5"]})
    monkeypatch.setattr(strategy, "has_bfloat16", lambda: False)
    info = finetune_features(config, tmp_path / "sequence", dataset=toy_dataset)
    assert caplog.text.count("Pass `training.precision=auto` for the faster one") == 1
    assert set(info.metrics["test"]["tuned"]) == {"sequence"}

    rng = np.random.default_rng(0)
    for patient in range(3):
        for index in range(4):
            image, mask = toy_slice(rng, index % 2)
            write_image(tmp_path / "grey" / f"{patient}" / f"{index}.png", image[..., :1])
            write_image(tmp_path / "grey" / f"{patient}" / f"{index}_mask.png", mask)
    config = toy_config({**shorter, "labels": ["tumour"], "data.root": str(tmp_path / "grey")})
    info = finetune_features(config, tmp_path / "tumour")
    assert set(info.metrics["test"]["tuned"]) == {"tumour"}
    assert info.metrics["test"]["tuned"]["tumour"]["images"] == 4  # One patient


def test_killed_in_the_middle_of_an_epoch(tmp_path, toy_config, finished):
    write_config(toy_config(), tmp_path / "config.yaml")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "config.yaml", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (tmp_path / "run" / "features.h5").is_file()
    seen = []
    finetune_features(toy_config(), tmp_path / "run", report=lambda *place: seen.append(place[:2]))
    assert seen[0] == (2, 1)
    same_as_uninterrupted(tmp_path / "run", finished)


def test_ctrl_c_goes_on_at_the_next_step_and_a_crash_while_testing_tests_again(
    tmp_path, toy_config, finished, monkeypatch
):
    run = tmp_path / "run"

    def interrupt(epoch, step, logs):
        if (epoch, step) == (1, 7):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        finetune_features(toy_config(), run, report=interrupt)
    assert not (run / "features.h5").exists()
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr("keras_mrisr.finetune.train._score_test", crash)
        with pytest.raises(Crash):
            finetune_features(toy_config(), run, report=lambda *place: seen.append(place[:2]))
    assert seen[0] == (1, 8) and seen[-1] == (3, None)
    assert "test" not in json.loads((run / "model.json").read_text())["metrics"]

    with pytest.raises(MrisrError, match=r"another config \(training.learning_rate: 0.002 there, 0.1 now"):
        finetune_features(toy_config({"training.learning_rate": 0.1}), run)
    seen.clear()
    finetune_features(toy_config(), run, report=lambda *place: seen.append(place))
    assert seen == [], "only the test patients were left"
    same_as_uninterrupted(run, finished)
    with pytest.raises(MrisrError, match="holds this run already, complete with 3 epochs"):
        finetune_features(toy_config(), run)


def test_diverged_training_is_named(tmp_path, toy_config):
    config = toy_config({"training.learning_rate": 1e30, "training.schedule": "constant"})
    with pytest.raises(MrisrError, match=r"became .* in epoch 1.*training diverged"):
        finetune_features(config, tmp_path / "run")
