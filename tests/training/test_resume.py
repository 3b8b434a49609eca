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
from keras_mrisr.config import read_config, write_config
from keras_mrisr.data import write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.training import TrainingInterruptedError, train

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
    with pytest.raises(TrainingInterruptedError):
        train(tiny(), run, report=reporter((2, 2), interrupt)[0])
    assert signal.getsignal(signal.SIGINT) is before
    assert (state(run)["epoch"], state(run)["step"]) == (1, 2)
    assert (run / "generator.keras").is_file()

    # In the last step of an epoch: the epoch is scored before the run stops.
    report, seen = reporter((2, 4), interrupt)
    with pytest.raises(TrainingInterruptedError):
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
    with pytest.raises(MrisrError, match=r"The backup .*backup-00001-000000 cannot be loaded.*`overwrite`"):
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
        patch.setattr("keras_mrisr.training.run.save_backup", lambda *arguments: crash())
        with pytest.raises(Crash):
            train(config, late)
    assert (state(late)["epoch"], state(late)["finished"]) == (3, False)
    report, seen = reporter()
    train(config, late, report=report)
    assert seen == []
    assert state(late)["finished"]


def test_more_epochs_resume_a_finished_run(tmp_path, tiny, finished_run, weights):
    # Under a constant rate as if there had been no pause.
    constant = {"training.schedule": "constant"}
    whole = train(tiny({**constant, "training.epochs": 4}), tmp_path / "whole")
    run = train(tiny({**constant, "training.epochs": 2}), tmp_path / "run")
    with pytest.raises(MrisrError, match="complete with 2 epochs"):
        train(tiny({**constant, "training.epochs": 2}), run)
    for _ in range(2):  # The second time after a crash, when the config is the new one already.
        with pytest.raises(Crash):
            train(tiny({**constant, "training.epochs": 4}), run, report=reporter((3, 1), crash)[0])
    train(tiny({**constant, "training.epochs": 4}), run)
    same_as_uninterrupted(run, whole, weights)
    assert read_config(run / "config.yaml").training.epochs == 4
    with pytest.raises(MrisrError, match="complete with 4 epochs"):
        train(tiny({**constant, "training.epochs": 4}), run)


def test_more_epochs_take_the_rates_of_the_longer_schedule(tmp_path, tiny):
    short, long = (tiny({"training.epochs": count}) for count in (2, 4))
    run = train(long, train(short, tmp_path / "run"))
    rates = [float(row.rpartition(",")[2]) for row in (run / "history.csv").read_text().splitlines()[1:]]
    # At the ends of the epochs: half a cosine over 2 epochs, then the second half of one over 4.
    wanted = [1 + np.cos(np.pi * part) for part in (1 / 2, 1, 3 / 4, 1)]
    np.testing.assert_allclose(rates, 0.5 * short.training.learning_rate * np.array(wanted), atol=1e-9)


def test_early_stopping_may_wait_longer(tmp_path, tiny):
    config = tiny({"training.learning_rate": 1e-12, "training.early_stopping": 1, "training.epochs": 4})
    run = train(config, tmp_path / "run")
    assert (state(run)["epoch"], state(run)["finished"]) == (2, True)
    with pytest.raises(MrisrError, match="complete with 2 epochs"):
        train(config.replace({"training.epochs": 9}), run)
    train(config.replace({"training.early_stopping": 2}), run)
    assert epochs(run) == ["1", "2", "3"]


@pytest.fixture
def stopped(tmp_path, tiny, image_root):
    """(config, run that crashed in its second epoch, its data in a folder of their own)."""
    root = shutil.copytree(image_root, tmp_path / "data")
    config = tiny({"data.root": str(root)})
    with pytest.raises(Crash):
        train(config, tmp_path / "run", report=reporter((2, 1), crash)[0])
    return config, tmp_path / "run", root


def test_data_may_lie_elsewhere(tmp_path, stopped, finished_run, weights):
    config, run, root = stopped
    moved = root.rename(tmp_path / "moved")
    train(config.replace({"data.root": str(moved)}), run)
    assert read_config(run / "config.yaml").data.root == str(moved)
    same_as_uninterrupted(run, finished_run, weights)


def test_other_data_are_refused(tmp_path, stopped, listing, smooth_image, caplog):
    config, run, root = stopped
    other = shutil.copytree(root, tmp_path / "other")
    # Of a patient that it trains with: those of the test set it never reads.
    patient = json.loads((run / "split.json").read_text())["train"][0]
    write_image(other / patient / "0.png", smooth_image(32, 32, seed=99))
    before = listing(run)
    with pytest.raises(MrisrError, match=r"other does not hold the data that .*run was begun with"):
        train(config.replace({"data.root": str(other)}), run)
    assert listing(run) == before
    # Under the same path the user is told, and has it resumed.
    shutil.rmtree(root)
    other.rename(root)
    train(config, run)
    assert "have changed since" in caplog.text


def test_a_run_of_an_older_version_has_no_digest(tmp_path, stopped, caplog):
    config, run, root = stopped
    (file,) = (run / "backup").glob("*/state.json")
    old = json.loads(file.read_text())
    assert len(old.pop("data")) == 64
    file.write_text(json.dumps(old))
    moved = root.rename(tmp_path / "moved")
    train(config.replace({"data.root": str(moved)}), run)
    assert "took no note of its data" in caplog.text
    assert len(state(run)["data"]) == 64


def test_of_two_that_train_into_one_folder_exactly_one_goes_on(tmp_path, tiny):
    refused = []

    def another():
        with pytest.raises(MrisrError) as caught:
            train(tiny(), tmp_path / "run")
        refused.append(str(caught.value))

    train(tiny(), tmp_path / "run", report=reporter((1, 2), another)[0])
    (message,) = refused
    assert "run is being written by process" in message
    assert epochs(tmp_path / "run") == ["1", "2", "3"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
