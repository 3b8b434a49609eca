"""The k-space degradation and noise from the command line: training, evaluation, bad options."""

import json

import numpy as np
import pytest
import yaml

from keras_mrisr.data import write_image

TINY = [
    "--epochs", 1, "--batch-size", 2, "--patch-size", 16, "--generator", "edsr",
    "--set", "generator.blocks=1", "--set", "generator.filters=8", "--set", "training.steps_per_epoch=2",
    "--set", "training.validation_slices=2",
]  # fmt: skip


def evaluate(mrisr, run, root, out, *words):
    words = [*words, "--part", "all-unseen", "--cases", 0, "--metrics", "psnr"]
    done = mrisr("evaluate", "--model", run, "--data", root, "--out", out, *words)
    return done, json.loads((out / "metrics.json").read_text()) if (out / "metrics.json").exists() else None


def test_train_and_evaluate(mrisr, image_root, tmp_path):
    run = tmp_path / "run"
    words = ["--degradation", "kspace", "--set", "degradation.window=hamming", *TINY]
    words += ["--set", "training.noise_snr=[10, 40]"]
    code, _, err = mrisr("train", "--data", image_root, "--out", run, *words)
    assert (code, err) == (0, "")
    info = json.loads((run / "model.json").read_text())
    assert info["degradation"] == {
        "name": "kspace", "scale": 2, "window": "hamming", "alpha": None, "magnitude": True,
    }  # fmt: skip
    assert info["training"]["noise_snr"] == [10, 40]
    assert yaml.safe_load((run / "config.yaml").read_text())["training"]["noise_snr"] == [10, 40]

    (code, out, err), clean = evaluate(mrisr, run, image_root, tmp_path / "clean")
    assert (code, err) == (0, "")
    assert "zero-filled" in out and "degradation kspace (window=hamming" in out and "Rician" not in out
    assert clean["protocol"]["noise_snr"] is None

    # The same noise for every slice in every evaluation, whatever else is evaluated.
    (code, out, err), noisy = evaluate(mrisr, run, image_root, tmp_path / "noisy", "--noise-snr", 10)
    assert (code, err) == (0, "")
    assert "Rician noise at SNR 10" in out
    assert noisy["protocol"]["noise_snr"] == 10
    _, few = evaluate(mrisr, run, image_root, tmp_path / "few", "--noise-snr", 10, "--limit", 1)
    rows = [
        (tmp_path / name / "per_image.csv").read_text().splitlines() for name in ("clean", "noisy", "few")
    ]
    assert few["protocol"]["images"] == 1
    assert set(rows[2]) < set(rows[1])
    assert len(set(rows[1]) & set(rows[0])) == 1  # The head of the table.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--set", "degradation.window=x"],
            "window must be one of none, hamming, hann, tukey, kaiser, fermi",
        ),
        (["--set", "degradation.sigma=2"], "Unknown option 'sigma' of 'kspace'"),
        (["--set", "training.noise_snr=0"], "training.noise_snr must be a number over 0, or [low, high]"),
    ],
)
def test_bad_options_leave_nothing_behind(mrisr, image_root, tmp_path, words, message):
    run = tmp_path / "run"
    code, _, err = mrisr(
        "train", "--data", image_root, "--out", run, "--degradation", "kspace", *TINY, *words
    )
    assert code == 2
    assert message in err and err.count("\n") == 1
    assert not run.exists()


def test_noise_on_signed_images_leaves_nothing_behind(mrisr, tmp_path, smooth_image):
    for patient in range(4):
        image = smooth_image(32, 32, dtype="float32", seed=patient) - np.float32(0.5)
        write_image(tmp_path / "images" / f"p{patient}" / "0.tif", image)
    words = [*TINY, "--set", "training.noise_snr=20"]
    code, _, err = mrisr("train", "--data", tmp_path / "images", "--out", tmp_path / "run", *words)
    assert code == 2
    assert "0.tif has negative values, so it is no magnitude image" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ratio", ["0", "-3", "nan"])
def test_bad_noise_in_an_evaluation(mrisr, image_root, models, tmp_path, ratio):
    out = tmp_path / "out"
    (code, _, err), _ = evaluate(mrisr, models["grey"], image_root, out, f"--noise-snr={ratio}")
    assert code == 2
    assert "--noise-snr must be a ratio over 0" in err and err.count("\n") == 1
    assert not out.exists()
