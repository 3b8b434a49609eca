import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import keras_mrisr
from keras_mrisr.config import write_config
from keras_mrisr.errors import MrisrError
from keras_mrisr.training import Interrupted, train
from keras_mrisr.training.epochs import run_epochs

PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]

KILLED = """
import os, signal, sys
from keras_mrisr.config import read_config
from keras_mrisr.training import train

def report(epoch, step, logs):
    if (epoch, step) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)

train(read_config(sys.argv[1]), sys.argv[2], report=report)
"""


class Crash(Exception):
    pass


def reporter(place=None, action=None):
    """A report function that does `action` at (epoch, step), and the list of places that it saw."""
    seen = []

    def report(epoch, step, logs):
        seen.append((epoch, step))
        if (epoch, step) == place:
            action()

    return report, seen


def crash():
    raise Crash


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def state(run):
    (backup,) = (run / "backup").glob("backup-*")
    return json.loads((backup / "state.json").read_text())


def epochs(run):
    return [line.split(",")[0] for line in (run / "history.csv").read_text().splitlines()[1:]]


def same_as_uninterrupted(run, finished_run, weights):
    for name in ("last.keras", "generator.keras"):
        np.testing.assert_allclose(weights(run / name), weights(finished_run / name), atol=1e-6)
    assert epochs(run) == epochs(finished_run)
    mine, other = (json.loads((r / "model.json").read_text()) for r in (run, finished_run))
    assert mine["metrics"]["val_psnr"] == pytest.approx(other["metrics"]["val_psnr"], abs=1e-3)
    assert mine["metrics"]["epoch"] == other["metrics"]["epoch"]


def test_killed_in_the_middle_of_an_epoch(tmp_path, tiny, finished_run, weights):
    run = tmp_path / "run"
    write_config(tiny(), tmp_path / "config.yaml")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "config.yaml", run],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (state(run)["epoch"], state(run)["step"]) == (1, 0)
    (run / ".writing-xgenerator.keras").write_text("what a kill in the middle of a write leaves")
    (run / ".writing-evaluation-test-x").mkdir()  # And of an evaluation, which writes into the run.
    (run / ".writing-evaluation-test-x/figure.png").write_text("half")
    report, seen = reporter()
    train(tiny(), run, report=report)
    assert seen[0] == (2, 1)
    same_as_uninterrupted(run, finished_run, weights)
    assert not list(run.rglob(".writing-*"))


def test_crashed_before_the_first_backup(tmp_path, tiny, finished_run, weights):
    run = tmp_path / "run"
    with pytest.raises(Crash):
        train(tiny(), run, report=reporter((1, 2), crash)[0])
    train(tiny(), run)
    same_as_uninterrupted(run, finished_run, weights)


def test_ctrl_c_goes_on_at_the_next_step(tmp_path, tiny, finished_run, weights):
    run = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        train(tiny(), run, report=reporter((2, 2), interrupt)[0])
    assert signal.getsignal(signal.SIGINT) is before
    assert (state(run)["epoch"], state(run)["step"]) == (1, 2)
    assert (run / "generator.keras").is_file()

    # In the last step of an epoch: the epoch is scored before the run stops.
    report, seen = reporter((2, 4), interrupt)
    with pytest.raises(Interrupted):
        train(tiny(), run, report=report)
    assert seen == [(2, 3), (2, 4), (2, None)]
    assert (state(run)["epoch"], state(run)["step"]) == (2, 0)

    report, seen = reporter()
    train(tiny(), run, report=report)
    assert seen == [(3, 1), (3, 2), (3, 3), (3, 4), (3, None)]
    same_as_uninterrupted(run, finished_run, weights)


def test_second_ctrl_c_does_not_wait(tmp_path, tiny):
    before = signal.getsignal(signal.SIGINT)

    def twice():
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path / "run", report=reporter((1, 2), twice)[0])
    assert signal.getsignal(signal.SIGINT) is before


def test_changed_config_or_split_is_refused(tmp_path, tiny, image_root):
    from keras_mrisr.data import Split, read_dataset

    run = tmp_path / "run"
    with pytest.raises(Crash):
        train(tiny(), run, report=reporter((2, 1), crash)[0])
    for overrides, key in (
        ({"training.learning_rate": 0.5}, "training.learning_rate: 0.001 there, 0.5 now"),
        ({"degradation.name": "paper"}, "degradation.name: 'bicubic' there, 'paper' now"),
        ({"generator.residual_scaling": 0.5}, "generator.residual_scaling: None there, 0.5 now"),
    ):
        with pytest.raises(MrisrError, match=key):
            train(tiny(overrides), run)
    patients = read_dataset(image_root).patients
    split = Split(patients[:4], patients[4:6], patients[6:])
    with pytest.raises(MrisrError, match="another split of the patients"):
        train(tiny(), run, split=split)
    (run / "split.json").write_text("{")
    with pytest.raises(MrisrError, match=r"split\.json cannot be read"):
        train(tiny(), run)


def test_broken_backup_is_named(tmp_path, tiny):
    run = tmp_path / "run"
    with pytest.raises(Crash):
        train(tiny(), run, report=reporter((2, 1), crash)[0])
    (backup,) = (run / "backup").iterdir()
    content = (backup / "model.weights.h5").read_bytes()
    (backup / "model.weights.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(MrisrError, match=r"The backup .*backup-00001-000000 cannot be loaded.*--overwrite"):
        train(tiny(), run)
    (backup / "state.json").write_text("{")
    with pytest.raises(MrisrError, match=r"state\.json cannot be read"):
        train(tiny(), run)


def test_early_stopping_counts_over_restarts(tmp_path, tiny, monkeypatch):
    # Nothing moves, so nothing gets better than epoch 1.
    config = tiny({"training.learning_rate": 1e-12, "training.early_stopping": 2, "training.epochs": 9})
    run = tmp_path / "run"
    with pytest.raises(Crash):
        train(config, run, report=reporter((3, 2), crash)[0])
    assert (state(run)["best_epoch"], state(run)["epoch"]) == (1, 2)
    shutil.copytree(run, tmp_path / "killed")

    report, seen = reporter()
    train(config, run, report=report)
    assert seen[-1] == (3, None)
    assert state(run)["finished"]
    assert epochs(run) == ["1", "2", "3"]

    # Killed between the last backup and the end: nothing is left but to say so.
    late = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(run_epochs.__module__ + ".save_backup", lambda *arguments: crash())
        with pytest.raises(Crash):
            train(config, late)
    assert (state(late)["epoch"], state(late)["finished"]) == (3, False)
    report, seen = reporter()
    train(config, late, report=report)
    assert seen == []
    assert state(late)["finished"]
