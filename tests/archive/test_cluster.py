"""Archives on the workers of a Dask cluster: real processes on loopback."""

import csv
import functools
import os
import signal

import numpy as np
import pytest

from keras_mrisr import cluster
from keras_mrisr.archive import Ledger, upscale_archive
from keras_mrisr.cluster import DaskWorkers, ThisProcess
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.volumes import read_volume

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
COUNT = 5


def double(item, models):
    if item == 3:
        raise DataError("three")
    return models * item


def ten():
    return 10


@pytest.fixture
def studies(tmp_path, dicom_series):
    root = tmp_path / "pacs"
    for number in range(COUNT):
        array = (np.indices((8, 7, 3)).sum(axis=0) * (number + 3)).astype("int16")
        dicom_series(root / f"s{number}", array, np.eye(4), uid=f"1.2.{number}", SeriesNumber=number)
    return root


def arrays(out):
    return {f"s{number}": read_volume(out / f"s{number}").array for number in range(COUNT)}


def test_a_worker_that_is_killed_loses_nothing(studies, models, tmp_path):
    load = functools.partial(SuperResolver.load, str(models["grey"]))
    upscale_archive(studies, tmp_path / "serial", load())
    with DaskWorkers(load, processes=2) as workers:
        for name, team in (("there", workers), ("here", None)):  # Who reads the headers does not matter.
            with Ledger(tmp_path / name, {}) as ledger:
                ledger.scan(studies, team=team)
                read = ledger.series()
        with Ledger(tmp_path / "there", {}) as ledger:
            assert ledger.series() == read and len(read) == COUNT
        pids = workers.client.run(os.getpid)
        assert len(pids) == 2 and os.getpid() not in pids.values()

        def kill(done, total):
            if done == 1:
                os.kill(next(iter(pids.values())), signal.SIGKILL)

        outcome = upscale_archive(studies, tmp_path / "sr", workers, progress=kill)
        assert set(workers.client.run(os.getpid).values()) != set(pids.values())  # Another took its place.
    assert (outcome.made, outcome.kept, outcome.failures) == (COUNT, 0, {})
    expected = arrays(tmp_path / "serial")
    for name, array in arrays(tmp_path / "sr").items():
        np.testing.assert_array_equal(array, expected[name])
    with open(outcome.report, newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done"] * COUNT
    left = [path.name for path in (tmp_path / "sr").rglob(".*")]
    assert left == []  # Neither half-written folders nor locks.


def test_items_that_fail_stop_no_other(monkeypatch):
    expected = {0: 0, 1: 10, 2: 20, 4: 40}
    monkeypatch.setattr(cluster, "_AHEAD", 2)
    with DaskWorkers(ten, processes=1) as workers:
        results = dict(workers.run(double, range(5)))
        assert isinstance(results.pop(3), DataError) and results == expected
        monkeypatch.setattr(cluster, "__version__", "0.0.0")
        [(_, error)] = workers.run(double, [1])  # As on a worker of another version that joined later.
        assert "A worker has keras-mrisr" in str(error) and "not 0.0.0" in str(error)
        with pytest.raises(
            DataError, match=r"The worker tcp://127\.0\.0\.1:\d+ has keras-mrisr .*, this is 0"
        ):
            workers._check_workers()
    assert dict(ThisProcess(10).run(double, [0, 1, 2, 4])) == expected


def test_what_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="one of them"):
        DaskWorkers(ten)
    with pytest.raises(ConfigError, match="`workers` must be 1 or more"):
        DaskWorkers(ten, processes=0)
    monkeypatch.setattr(cluster, "_WAIT", 1)
    for address in ("tcp://127.0.0.1:9", "no address"):
        with (
            pytest.raises(DataError, match=f"No Dask scheduler answers at {address}"),
            DaskWorkers(ten, address),
        ):
            pass


def test_on_the_command_line(studies, models, mrisr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = str(models["grey"])
    code, out, err = mrisr("upscale", "pacs", "sr", "--studies", "--model", model, "--workers", 1)
    assert (code, err) == (0, "") and f"{COUNT} series made" in out
    assert read_volume(tmp_path / "sr/s1").shape == (16, 14, 3)
    for words, part in (
        (["pacs", "x", "--workers", 2], "--workers is for archives: give --studies"),
        (["pacs", "x", "--studies", "--workers", 0], "--workers must be 1 or more"),
        (["pacs", "x", "--studies", "--dask", "no"], "No Dask scheduler answers at no"),
    ):
        code, _, err = mrisr("upscale", *words, "--model", model)
        assert code == 2 and part in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()
