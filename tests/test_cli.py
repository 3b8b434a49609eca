"""The command from end to end, as a user types it."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

import keras_mrisr
from keras_mrisr import terminal
from keras_mrisr.data import read_image, write_image

TINY = [
    "--epochs", 2, "--batch-size", 2, "--patch-size", 16, "--generator", "edsr",
    "--set", "generator.blocks=1", "--set", "generator.filters=8", "--set", "training.steps_per_epoch=2",
    "--set", "training.validation_slices=2",
]  # fmt: skip
RUN_FILES = {
    "backup", "card.md", "config.yaml", "curves.png", "generator.keras", "history.csv", "last.keras",
    "model.json", "samples.png", "split.json", "tensorboard",
}  # fmt: skip


@pytest.fixture(scope="module")
def lgg_run(lgg_root, tmp_path_factory):
    """A run on the LGG-like tree with a space in its name."""
    from keras_mrisr.cli import main

    run = tmp_path_factory.mktemp("runs") / "my run"
    assert main([str(word) for word in ["train", "--data", lgg_root, "--out", run, *TINY]]) == 0
    return run


def python(*words, **environment):
    """Runs `python WORDS` in a process of its own, with this package and an empty environment besides."""
    source = str(pathlib.Path(keras_mrisr.__file__).parents[1])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": source, **environment}
    words = [sys.executable, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_version_and_help_without_tensorflow():
    code = (
        "import sys, keras_mrisr, keras_mrisr.cli as cli; cli._build_parser().format_help(); "
        "heavy = {'tensorflow', 'keras', 'numpy', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    done = python("-m", "keras_mrisr", "--version")
    assert (done.returncode, done.stdout) == (0, f"keras-mrisr {keras_mrisr.__version__}\n")


@pytest.mark.parametrize(
    "words", [[], ["data"], ["--help"], *([c, "--help"] for c in ("demo", "train", "evaluate", "upscale"))]
)
def test_help(mrisr, words):
    code, out, err = mrisr(*words)
    assert (code, err) == (0, "")
    assert out.startswith("usage: mrisr")


def test_inspect_lgg(mrisr, lgg_root, tmp_path):
    sheet = tmp_path / ("long name " * 12 + "[1].png")
    code, out, err = mrisr("data", "inspect", lgg_root, "--sheet", sheet)
    assert (code, err) == (0, "")
    assert f"{lgg_root}: 21 slices of 7 patients (CS 4, DU 3); nothing odd" in out
    assert f"{lgg_root} (lgg)\n" in out
    assert f"Wrote {sheet}\n" in out  # Neither broken over lines nor read as markup.
    assert read_image(sheet).shape[-1] == 3
    rows = [line.split() for line in out.splitlines()]
    assert ["CS", "4", "12", "32x32", "uint8", "3", "4", "4"] in [row[:8] for row in rows]
    assert ["all", "7", "21", "32x32", "uint8", "3", "7", "7"] in [row[:8] for row in rows]
    assert "…" not in out


def test_inspect_images_with_something_odd(mrisr, image_root, tmp_path, smooth_image):
    root = tmp_path / "images"
    for number in range(7):
        write_image(root / f"p1_{number}.png", smooth_image(32, 32))
        (root / f"p2_{number}.png").write_text("no image")
    words = ["data", "inspect", root, "--patient-pattern", r"(p\d)_"]
    code, out, err = mrisr(*words, "--quiet")
    assert code == 1 and err.startswith("mrisr: error: 7 files could not be read")
    assert "unreadable: 7\n" in out and "... and 2 more" in out
    assert "14 slices of 2 patients" not in out
    assert "... and" not in mrisr(*words, "--all")[1]


def test_train_on_lgg(lgg_run):
    assert {path.name for path in lgg_run.iterdir()} == RUN_FILES
    info = json.loads((lgg_run / "model.json").read_text())
    assert (info["scale"], info["channels"], info["data"]["kind"]) == (2, 3, "lgg")
    with (lgg_run / "history.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]


def test_evaluate(mrisr, lgg_run, lgg_root):
    out_folder = lgg_run / "evaluation-test"
    code, out, err = mrisr("evaluate", "--model", lgg_run, "--data", lgg_root, "--overwrite")
    assert (code, err) == (0, "")
    for word in ("nearest", "bicubic", "lanczos", "SR", "FLAIR, tissue", f"model: {lgg_run}\n", "PSNR"):
        assert word in out
    assert f"Wrote {out_folder}\n" in out
    names = ["figure.png", "metrics.json", "per_image.csv", "per_patient.csv"]
    assert sorted(path.name for path in out_folder.iterdir()) == names
    split = json.loads((lgg_run / "split.json").read_text())
    assert json.loads((out_folder / "metrics.json").read_text())["protocol"]["patients"] == split["test"]


def test_evaluate_another_part_of_few_slices(mrisr, lgg_run, lgg_root, tmp_path):
    words = ["--part", "val", "--limit", 1, "--ensemble", "--consistency", "--scale", 2]
    words += ["--out", tmp_path / "new/scores"]
    code, out, err = mrisr("evaluate", "--model", lgg_run / "last.keras", "--data", lgg_root, *words)
    assert (code, err) == (0, "")
    assert "part val: 1 slice of 1 patient (limit 1" in out


def test_upscale(mrisr, lgg_run, lgg_root, tmp_path):
    code, out, err = mrisr("upscale", lgg_root, tmp_path / "sr", "--model", lgg_run, "--scale", 2)
    assert (code, err) == (0, "")
    assert f"Wrote 21 files to {tmp_path / 'sr'}\n" in out
    source = next(path for path in lgg_root.rglob("*_1.tif"))
    assert read_image(tmp_path / "sr" / source.relative_to(lgg_root)).shape == (64, 64, 3)
    code, out, err = mrisr(
        "upscale", source, tmp_path / "one.png", "--model", lgg_run, "--ensemble", "--quiet"
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"Wrote {tmp_path / 'one.png'}\nVerdict: ") and out.count("\n") == 2


def test_the_same_again_and_overwrite(mrisr, image_root, tmp_path, listing):
    words = ["train", "--data", image_root, "--out", tmp_path / "run", *TINY]
    code, out, err = mrisr(*words)
    assert (code, err) == (0, "")
    assert f"{image_root}: 24 slices of 8 patients (by folder); nothing odd\n" in out
    assert "Epoch 2: loss" in out and "validation PSNR" in out and " left\n" in out
    assert f"  mrisr evaluate --model {tmp_path / 'run'} --data {image_root}\n" in out
    before = listing(tmp_path)
    code, _, err = mrisr(*words)
    assert code == 2
    assert "holds this run already, complete with 2 epochs" in err and err.count("\n") == 1
    code, _, err = mrisr(*words, "--seed", 1)
    assert code == 2
    assert "training.seed: 0 there, 1 now" in err and err.count("\n") == 1
    assert listing(tmp_path) == before
    assert mrisr(*words, "--seed", 1, "--overwrite")[::2] == (0, "")
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["training"]["seed"] == 1


def test_train_from_the_config_of_a_run(mrisr, lgg_run, tmp_path):
    code, _, err = mrisr("train", "--config", lgg_run / "config.yaml", "--out", tmp_path / "run", "--quiet")
    assert (code, err) == (0, "")
    assert (tmp_path / "run/config.yaml").read_text() == (lgg_run / "config.yaml").read_text()
    assert (tmp_path / "run/split.json").read_text() == (lgg_run / "split.json").read_text()
    assert (tmp_path / "run/history.csv").read_text() == (lgg_run / "history.csv").read_text()


ADVERSARIAL = [
    "--set", "adversarial.discriminator={name: srgan, filters: 2, dense: 4, normalization: spectral}",
    "--set", "adversarial.features={network: vgg16, layers: block1_conv1, weights: null}",
    "--set", "adversarial.pretraining={epochs: 3, learning_rate: 1e-3}",
]  # fmt: skip


def test_train_adversarially(mrisr, image_root, tmp_path, monkeypatch):
    """Both stages with one command, on a terminal; then what the other commands make of the model."""
    from rich.console import Console

    run = tmp_path / "run"
    words = ["train", "--data", image_root, "--out", run, "--adversarial", *TINY, *ADVERSARIAL]
    with monkeypatch.context() as patch:
        patch.setattr(terminal, "console", Console(force_terminal=True, width=100, color_system=None))
        code, out, err = mrisr(*words)
    assert code == 0, err
    assert "First stage: the generator alone" in out
    assert "Epoch 3: loss" in out and "Epoch 3/2" not in out and "━" in out
    assert "The feature network vgg16 has random weights" in out + err
    assert {path.name for path in run.iterdir()} == {*RUN_FILES, "pretrained"}
    assert "| adversarial | relativistic_average against srgan" in (run / "card.md").read_text()
    with (run / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"] and "d_hr" in rows[0]
    code, out, err = mrisr("evaluate", "--model", run, "--data", image_root, "--quiet")
    assert (code, err) == (0, "")
    code, _, err = mrisr(*words)
    assert code == 2
    assert "holds this run already, complete with 2 epochs" in err


def test_options_become_config_keys():
    from keras_mrisr import cli
    from keras_mrisr.commands.config_options import read_config_options
    from keras_mrisr.commands.train import _base

    words = [
        "train", "--data", "D", "--kind", "images", "--patient-pattern", "(p)", "--out", "R", "--scale", "4",
        "--preset", "compact", "--degradation", "bicubic", "--generator", "srresnet", "--epochs", "3",
        "--batch-size", "5", "--patch-size", "48", "--learning-rate", "1e-4", "--loss", "mean_squared_error",
        "--optimizer", "muon", "--precision", "float32", "--strategy", "mirrored", "--init", "I",
        "--seed", "7",
        "--set", "generator.blocks=3", "data.split_seed=2", "--set", "training.schedule=constant",
    ]  # fmt: skip
    options = cli._build_parser().parse_args(words)
    config = read_config_options(options, _base(options))
    assert (config.scale, config.degradation) == (4, {"name": "bicubic"})
    assert config.generator == {"name": "srresnet", "blocks": 3}
    data, training = config.data, config.training
    assert (data.root, data.kind, data.patient_pattern, data.split_seed) == ("D", "images", "(p)", 2)
    assert (training.epochs, training.batch_size, training.patch_size) == (3, 5, 48)
    assert training.optimizer == "muon"
    assert (training.learning_rate, training.loss, training.schedule) == (
        1e-4,
        "mean_squared_error",
        "constant",
    )
    assert (training.precision, training.strategy, training.init, training.seed) == (
        "float32",
        "mirrored",
        "I",
        7,
    )


def test_adversarial_presets_lie_between_the_preset_and_the_rest(tmp_path):
    from keras_mrisr import cli
    from keras_mrisr.commands.config_options import read_config_options
    from keras_mrisr.commands.train import _base

    def config(*words):
        words = ["train", "--data", "D", "--out", "R", *words]
        options = cli._build_parser().parse_args(words)
        return read_config_options(options, _base(options))

    assert not config("--preset", "compact").adversarial.on
    (tmp_path / "a.yaml").write_text("adversarial: {ramp: 7, average: 0.5}")
    made = config(
        "--preset", "compact", "--config", str(tmp_path / "a.yaml"), "--set", "adversarial.average=0.9",
        "--batch-size", "3", "--adversarial",
    )  # fmt: skip
    given = config("--preset", "compact").generator
    kept = {key: given[key] for key in ("name", "blocks", "filters")}
    assert made.generator == {**kept, "smooth_upsampling": True}
    assert (made.adversarial.on, made.adversarial.kind) == (True, "relativistic_average")
    assert (made.adversarial.ramp, made.adversarial.average, made.training.batch_size) == (7, 0.9, 3)
    paper = config("--adversarial", "paper")
    assert (paper.adversarial.kind, paper.training.batch_size) == ("bce", 1)


def test_ctrl_c(mrisr, image_root, tmp_path, monkeypatch):
    from keras_mrisr import training

    def stop(*_, **__):
        raise training.TrainingInterruptedError

    monkeypatch.setattr(training, "train", stop)
    code, out, err = mrisr("train", "--data", image_root, "--out", tmp_path / "run")
    assert (code, err) == (130, "")
    assert "The same command resumes from here" in out

    monkeypatch.setattr("keras_mrisr.demo.train", stop)
    monkeypatch.setattr("keras_mrisr.demo._template", lambda: np.ones((40, 40, 189), "float32"))
    code, out, err = mrisr("demo", "--out", tmp_path / "demo")
    assert (code, err) == (130, "")
    assert "The same command resumes from here" in out

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_mrisr.data.read_dataset", interrupt)
    code, _, err = mrisr("data", "inspect", image_root)
    assert (code, err) == (130, "mrisr: error: stopped\n")


def test_sigterm_leaves_nothing_behind(mrisr, models, image_root, tmp_path, listing, monkeypatch):
    from keras_mrisr.inference import SuperResolver

    def terminated(*_):
        assert any("lock" in path.name for path in tmp_path.rglob("*"))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(SuperResolver, "_forward", terminated)
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = mrisr("upscale", image_root, tmp_path / "out", "--model", models["grey"])
    assert (code, err) == (143, "mrisr: error: stopped\n")
    assert listing(tmp_path) == {}
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_but_the_message_on_stderr(models, tmp_path):
    """In a process of its own, because only the first import of TensorFlow talks."""
    write_image(tmp_path / "rgb.png", np.arange(48, dtype="uint8").reshape(4, 4, 3))
    write_image(tmp_path / "grey.png", np.arange(16, dtype="uint8").reshape(4, 4, 1))
    code = (
        "import sys; from keras_mrisr.cli import main; model, *images, out = sys.argv[1:]; "
        "codes = [main(['upscale', image, out, '--model', model]) for image in images]; "
        "assert codes == [2, 0], codes"
    )
    images = [tmp_path / "rgb.png", tmp_path / "grey.png"]
    done = python("-c", code, models["grey"], *images, tmp_path / "out.png")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Wrote {tmp_path / 'out.png'}\n")
    assert done.stderr.startswith(f"mrisr: error: {images[0]}: The model takes 1 channel")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback(mrisr, tmp_path):
    with pytest.raises(keras_mrisr.MrisrError, match="does not exist"):
        mrisr("data", "inspect", tmp_path / "missing", "--debug")


def test_bars_on_a_terminal(mrisr, image_root, tmp_path, monkeypatch):
    """What a terminal shows: bars, epochs and log lines above them."""
    from rich.console import Console

    monkeypatch.setattr(terminal, "console", Console(force_terminal=True, width=100, color_system=None))
    code, out, err = mrisr("train", "--data", image_root, "--out", tmp_path / "run", *TINY)
    assert (code, err) == (0, "")
    for text in ("Epoch 2/2", "━", "2/2", "Epoch 1: loss", "24 slices of 8 patients"):
        assert text in out
    words = ["--part", "all-unseen", "--overwrite"]
    code, out, err = mrisr("evaluate", "--model", tmp_path / "run", "--data", image_root, *words)
    assert (code, err) == (0, "")
    assert "Scoring slices" in out and "━" in out
