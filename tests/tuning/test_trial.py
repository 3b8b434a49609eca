"""Trials that are really trained, with networks as small as they come."""

import csv
import dataclasses
import math

import numpy as np
import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.data.pipeline import PatchDataset
from keras_mrisr.models.storage import load_trained
from keras_mrisr.training import train
from keras_mrisr.tuning import read_study
from keras_mrisr.tuning.objective import JudgedValidation, judge_network, perceptual_score, score
from keras_mrisr.tuning.trial import TrialResult, run_trial


@pytest.fixture(scope="module")
def study(study_file):
    return read_study(study_file(), {"training.epochs": 3})


@pytest.fixture(scope="module")
def dataset(image_root):
    return read_dataset(image_root)


VALUES = {"generator.name": "edsr", "generator.blocks": 1, "training.learning_rate": 0.001}


@pytest.fixture(scope="module")
def rungs(tmp_path_factory, study, dataset):
    """Two trials, of which the second goes on from the first after one of three epochs."""
    root = tmp_path_factory.mktemp("rungs")
    run_trial(study, VALUES, root / "trial_0", dataset, until=1)
    run_trial(study, VALUES, root / "trial_1", dataset, until=3, parent=root / "trial_0")
    return root


def history(run):
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def test_a_promoted_trial_goes_on_as_if_it_had_never_stopped(rungs, study, dataset, tmp_path):
    whole = train(study.run_config(VALUES), tmp_path / "whole", dataset=dataset)
    for one, two in zip(history(rungs / "trial_1/run"), history(whole), strict=True):
        assert one == pytest.approx(two, rel=1e-4), "moments, schedule and patches are those of one run"
    assert len(history(rungs / "trial_0/run")) == 1, "the first rung stays as it was"
    results = [TrialResult.read(rungs / name) for name in ("trial_0", "trial_1")]
    assert [result.epochs for result in results] == [1, 3]
    assert results[1].score == pytest.approx(max(row["val_psnr"] for row in history(whole)), abs=1e-4)


def test_what_stays(rungs):
    result = TrialResult.read(rungs / "trial_1")
    generator, info = load_trained(rungs / "trial_1/run")
    assert (result.parameters, result.psnr) == (generator.count_params(), info.metrics["val_psnr"])
    assert result.score == result.psnr and result.perceptual is None and result.ill is None
    assert result.values == VALUES and result.best_epoch == info.metrics["epoch"]
    names = {path.name for path in (rungs / "trial_1/run").iterdir()}
    assert names >= {"config.yaml", "history.csv", "tensorboard", "generator.keras", "last.keras", "backup"}


def test_hparams(rungs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(rungs / "trial_1/hparams"))
    events.Reload()
    assert "_hparams_/session_start_info" in events.Tags()["tensors"]
    assert "trial/score" in events.Tags()["tensors"]
    curves = EventAccumulator(str(rungs / "trial_1/run/tensorboard"))
    curves.Reload()
    assert {"val_psnr", "lr_bicubic_sr_hr"} <= set(curves.Tags()["tensors"])


def test_a_trial_that_ended_is_not_run_again(rungs, study, dataset, monkeypatch):
    monkeypatch.setattr("keras_mrisr.tuning.trial.train", None)
    before = TrialResult.read(rungs / "trial_1")
    assert run_trial(study, VALUES, rungs / "trial_1", dataset, until=3) == before
    # Killed between the training and the score.
    (rungs / "trial_1/result.json").unlink()
    again = run_trial(study, VALUES, rungs / "trial_1", dataset, until=3)
    assert dataclasses.replace(again, score=before.score) == before
    assert again.score == pytest.approx(before.score)


def test_a_sick_trial_has_a_finite_score(tmp_path, study, dataset, monkeypatch):
    make = PatchDataset.__getitem__

    def poisoned(self, index):
        lr, hr = make(self, index)
        return lr, hr * np.nan

    monkeypatch.setattr(PatchDataset, "__getitem__", poisoned)
    result = run_trial(study, VALUES, tmp_path / "trial_0", dataset)
    assert "training diverged" in result.ill and result.psnr is None
    assert math.isfinite(result.score) and result.score == score(study, None) == 0.0
    assert TrialResult.read(tmp_path / "trial_0") == result


def test_scores(study):
    gan = read_study("srgan", {"adversarial.perception": 3})
    assert score(study, {"psnr": 31.5}) == 31.5
    assert score(gan, {"psnr": 31.5, "perceptual": 2.0}) == 37.5
    assert score(dataclasses.replace(gan, objective="perceptual"), {"psnr": 31.5, "perceptual": 2.0}) == 2.0
    for bad in (None, {"psnr": math.nan, "perceptual": 1.0}, {"psnr": -1e9, "perceptual": -1e9}):
        assert score(gan, bad) == -150.0 < score(gan, {"psnr": 5.0, "perceptual": -20.0})
    assert perceptual_score([0.1, 0.001]) == pytest.approx(20.0)
    assert math.isfinite(perceptual_score([0.0]))


def test_the_judge_looks_at_every_layer(smooth_image):
    from keras_mrisr.data.normalize import normalizer_for
    from keras_mrisr.data.pipeline import SlicePair

    features = {"network": "vgg16", "weights": None}
    study = read_study(
        "srgan", {"adversarial.features": features, "adversarial.features.layers": "block1_conv1"}
    )
    study = dataclasses.replace(study, judge={"layers": ["block1_conv2", "block2_conv1"]})
    judge = judge_network(study)
    assert judge.layers == ("block1_conv2", "block2_conv1"), "and not at what the trials train with"
    assert judge_network(study) is judge
    hr = smooth_image(32, 32, 1)
    lr = hr[::2, ::2]
    pair = SlicePair(hr, lr, normalizer_for(lr), None)

    class Nearest:
        @staticmethod
        def predict_on_batch(batch):
            return np.repeat(np.repeat(batch, 2, axis=1), 2, axis=2)

    scores = JudgedValidation(Nearest, [pair], judge).score()
    sr = np.repeat(np.repeat(lr, 2, axis=0), 2, axis=1)
    images = [pair.normalizer.normalize(image)[np.newaxis] for image in (hr, sr)]
    for number, layer in enumerate(judge.layers):
        one, two = (np.asarray(judge(image)[number]) for image in images)
        assert scores[f"val_{layer}"] == pytest.approx(np.mean((one - two) ** 2), rel=1e-3)
    assert {"val_psnr", "val_ssim"} < set(scores)
