import csv
import importlib.util
import os
import pathlib
import socket
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

import keras_mrisr
from keras_mrisr import cli, ranks
from keras_mrisr.config import write_config
from keras_mrisr.data.pipeline import PatchDataset, load_pairs
from keras_mrisr.data.read import read_dataset
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.training import train
from keras_mrisr.training.directory import check_same_config
from keras_mrisr.training.state import read_state

HERE = pathlib.Path(__file__).parent
PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
# What all samples of a batch have a part in: batch statistics, means of logits, norms of gradients; and what
# is random.
OPTIONS = {
    "generator": {"name": "srresnet", "blocks": 1, "filters": 8},
    "training.steps_per_epoch": 10,
    "training.epochs": 2,
    "training.learning_rate": 1e-2,
    "training.clip_norm": 0.1,
    "training.precision": "float32",
    "adversarial.pretraining": {"learning_rate": 1e-2},
    "adversarial.discriminator": {"name": "patchgan", "filters": 2, "normalization": "batch"},
    "adversarial.discriminator_rate": 1e-2,
    "adversarial.discriminator_steps": 2,
    "adversarial.kind": "relativistic_average",
    "adversarial.balance": 0.1,
    "adversarial.augmentation": ["gain", "translation", "cutout"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_gan):
    """(run of one process, run of two ranks of which one was killed): two stages of 20 steps."""
    python = sys.executable if importlib.util.find_spec("torch") else os.environ.get("MRISR_TORCH_PYTHON")
    if not python:
        pytest.skip("PyTorch is not installed, and MRISR_TORCH_PYTHON names no Python that has it")
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    started = []
    for name, strategy, launcher in (("one", "none", ()), ("two", "distributed", TORCHRUN)):
        config = folder / f"{name}.yaml"
        write_config(tiny_gan({**OPTIONS, "training.strategy": strategy}), config)
        words = [HERE / "ranks_run.py", config, folder / name]
        words += [folder / "killed"] if launcher else []
        started.append(
            subprocess.Popen(
                [python, *launcher, *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()[-3000:]
    assert (folder / "killed").exists()
    return folder / "one", folder / "two"


def saved(run):
    """All variables of the newest backup: weights, optimizers, random numbers."""
    found = {}
    (file,) = (run / "backup").glob("*/model.weights.h5")
    with h5py.File(file) as weights:
        weights.visititems(
            lambda name, node: found.update(
                {name: np.array(node, "float64")} if hasattr(node, "shape") else {}
            )
        )
    return found


@pytest.mark.parametrize("stage", ["pretrained", "."])
def test_two_ranks_end_where_one_process_does(runs, stage):
    one, two = (saved(run / stage) for run in runs)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-5, err_msg=name)
    states = [read_state(run / stage / "backup") for run in runs]
    assert [(state.epoch, state.finished, state.best_epoch) for state in states] == [
        (2, True, states[0].best_epoch)
    ] * 2
    # Scores and losses are of all samples, and are written once.
    rows = [list(csv.DictReader((run / stage / "history.csv").read_text().splitlines())) for run in runs]
    for ours, theirs in zip(*rows, strict=True):
        for name, value in ours.items():
            # The score is a difference of decibels, so it is as exact as those are.
            least = 1e-4 * abs(float(ours["val_psnr"])) if name == "val_score" else 1e-6
            assert float(theirs[name]) == pytest.approx(float(value), rel=1e-4, abs=least), name


@pytest.fixture
def ranked(monkeypatch):
    """A function (rank, count) that makes this process one of several, which it cannot talk to."""

    def make(rank, count):
        monkeypatch.setattr(ranks, "_job", ranks._Job(rank, count, depth=1))

    return make


@pytest.fixture
def started(monkeypatch):
    """A function (rank, count) that sets the environment as torchrun does."""

    def make(rank, count):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        values = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1"}
        for name, value in {**values, "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, str(value))

    return make


def test_ranks_share_out_the_batch_of_one_process(image_root, ranked):
    pairs = load_pairs(read_dataset(image_root), get_degradation("bicubic", scale=2))
    batches = PatchDataset(pairs, 2, patch_size=16, batch_size=6, steps=4, seed=3)
    whole = batches[1]
    parts = []
    for rank in range(3):
        ranked(rank, 3)
        parts.append(batches[1])
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        assert all(len(part) == 2 for part in several)
        np.testing.assert_array_equal(np.concatenate(several), one)


def test_ranks_score_each_item_once(monkeypatch, ranked):
    seen = []
    for rank in range(3):
        ranked(rank, 3)
        monkeypatch.setattr(ranks, "gathered", lambda part: seen.append(part) or [[]] * 3)
        with pytest.raises(IndexError):  # The parts of the others are not there.
            ranks.shared_out(range(7), str)
    assert seen == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    monkeypatch.setattr(ranks, "gathered", lambda part: seen)
    assert ranks.shared_out(range(7), str) == list("0123456")


# Bad input.


def test_without_torchrun(image_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    words = ["train", "--data", str(image_root), "--out", str(tmp_path / "run"), "--strategy", "distributed"]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "torchrun" in line
    assert line.endswith("Received: no WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT in the environment")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="This is PyTorch")
def test_another_backend(tiny, tmp_path, started):
    started(0, 2)
    with pytest.raises(
        ConfigError, match=r"'distributed' needs the PyTorch backend.*KERAS_BACKEND=tensorflow"
    ):
        train(tiny({"training.strategy": "distributed"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_ranks_do_not_come(monkeypatch, started):
    pytest.importorskip("torch")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    monkeypatch.setattr(ranks, "_ARRIVAL", 0.2)
    started(0, 2)
    message = r"Rank 0 waited 0\.2 s for all 2 ranks at 127\.0\.0\.1:\d+"
    with pytest.raises(ConfigError, match=message), ranks.joined("distributed"):
        pass
    assert ranks.rank_count() == 1


def test_a_batch_that_ranks_cannot_share(ranked):
    with pytest.raises(ConfigError, match="for `train` and what torchrun starts"):  # As in a search.
        ranks.check_batch(6)
    ranked(0, 3)
    ranks.check_batch(6)
    with pytest.raises(ConfigError, match=r"batch_size must be a multiple of the 3 ranks\. Received: 4"):
        ranks.check_batch(4)


def test_ranks_of_other_configs(tiny, monkeypatch):
    others = []
    monkeypatch.setattr(ranks, "gathered", lambda value: others.append(value) or list(others))
    check_same_config(tiny())
    check_same_config(tiny({"data.root": "elsewhere"}))
    with pytest.raises(ConfigError, match=r"Rank 2 .* \(training\.epochs: 3 there, 4 now\)"):
        check_same_config(tiny({"training.epochs": 4}))


def test_ranks_with_other_data(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ranks, "gathered", lambda value: [value, "another"] if isinstance(value, str) else [value]
    )
    with pytest.raises(DataError, match="Rank 1 found other data than rank 0"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
