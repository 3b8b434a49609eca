import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

import keras_mrisr
from keras_mrisr.errors import MrisrError
from keras_mrisr.tuning import cluster, find_place, read_results, search, write_study
from keras_mrisr.tuning.cluster import Claim, LostTrialError, Place, await_chief, check_port, environment

PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for variable in (cluster.IP, cluster.PORT, cluster.TUNER_ID):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_places(monkeypatch):
    assert find_place() is None
    assert find_place(chief="0.0.0.0:8000") == Place("chief", "0.0.0.0", 8000, "chief")
    assert find_place(worker="node1:8000", name="w3").address == "node1:8000"
    assert find_place(worker="node1:8000").name.endswith(str(os.getpid()))
    monkeypatch.setenv(cluster.TUNER_ID, "chief")
    assert find_place() is None, "a name alone is no address"
    monkeypatch.setenv(cluster.IP, "10.0.0.1")
    with pytest.raises(MrisrError, match="variables, but no KERASTUNER_ORACLE_PORT: set it"):
        find_place()
    monkeypatch.setenv(cluster.PORT, "8000")
    assert find_place() == Place("chief", "10.0.0.1", 8000, "chief")
    monkeypatch.setenv(cluster.TUNER_ID, "worker2")
    assert find_place() == Place("worker", "10.0.0.1", 8000, "worker2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chief": "a:1", "worker": "a:1"}, "A process is chief or worker"),
        ({"chief": "8000"}, "Expected HOST:PORT, such as"),
        ({"chief": "localhost:http"}, "Expected HOST:PORT"),
        ({"worker": "localhost:99999"}, "Expected HOST:PORT"),
        (
            {"worker": "localhost:80", "name": "chief2"},
            "letters and digits without 'chief'. Received: 'chief2'",
        ),
        ({"worker": "localhost:80", "name": "../w"}, "letters and digits"),
    ],
)
def test_bad_places(arguments, message):
    with pytest.raises(MrisrError, match=message):
        find_place(**arguments)


def test_environment(monkeypatch):
    monkeypatch.setenv(cluster.PORT, "1")
    with environment(Place("worker", "node1", 8000, "w3")):
        assert [os.environ[name] for name in (cluster.IP, cluster.PORT, cluster.TUNER_ID)] == [
            "node1",
            "8000",
            "w3",
        ]
    with environment(None):
        assert cluster.PORT not in os.environ, "a search in one process has no chief"
    assert os.environ[cluster.PORT] == "1" and cluster.IP not in os.environ


def test_port_in_use(port, tmp_path, rates):
    place = Place("chief", "127.0.0.1", port, "chief")
    check_port(place)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(
            MrisrError, match=rf"No chief can listen at 127\.0\.0\.1:{port}: .*in use"
        ) as caught:
            search(rates, tmp_path / "out", place=place)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(MrisrError, match=r"No chief can listen at nowhere\.invalid"):
        check_port(Place("chief", "nowhere.invalid", port, "chief"))


def test_no_chief(port, tmp_path, rates):
    place = Place("worker", "127.0.0.1", port, "w")
    with pytest.raises(MrisrError, match=rf"No chief answers at 127\.0\.0\.1:{port} after 0\.2 s") as caught:
        search(rates, tmp_path / "out", place=place, wait=0.2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(MrisrError, match="No chief answers"):
        await_chief(place, 0.1)


def test_claims(tmp_path, monkeypatch):
    asked = []

    class Client:
        def get_trial(self, trial_id):
            asked.append(trial_id)

    with Claim(Client(), "3", tmp_path, lease=0.04) as claim:
        while not asked:
            time.sleep(0.01)
        claim.check()
        with Claim(Client(), "3", tmp_path, lease=100):
            now = time.monotonic()
            claim.check()  # Not asked of the file system every step.
            monkeypatch.setattr(time, "monotonic", lambda: now + 2)
            with pytest.raises(LostTrialError):
                claim.check()
    assert set(asked) == {"3"}
    (tmp_path / "owner.json").unlink()
    assert claim.holds(), "a folder that is away for a moment"


def test_a_chief_and_two_workers_of_which_one_is_killed(tmp_path, rates, port):
    out = tmp_path / "out"
    study = rates.fixed("training.epochs", 2).fixed("training.steps_per_epoch", 20)
    study = study.fixed("training.strategy", "mirrored")  # As on the GPUs of each worker.
    write_study(study, tmp_path / "study.yaml")
    words = ["tune", "--study", tmp_path / "study.yaml", "--out", out, "--tuner", "random", "--max-trials", 2]

    def start(role, *more):
        return subprocess.Popen(
            [sys.executable, "-m", "keras_mrisr", *map(str, [*words, role, f"127.0.0.1:{port}", *more])],
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def owned_by(process):
        for file in out.glob("trial_*/owner.json"):
            if json.loads(file.read_text())["process"] == process.pid:
                return file.parent

    # The lease is long enough for a machine that is busy with other things.
    chief = start("--chief", "--lease", 20)
    workers = [start("--worker", "--name", name, "--lease", 20) for name in ("one", "two")]
    doomed = workers[0]
    trial = None
    while trial is None or not list(trial.glob("run/backup/backup-00001-*/state.json")):
        assert doomed.poll() is None and chief.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
        trial = owned_by(doomed)
    doomed.send_signal(signal.SIGKILL)
    said = [process.communicate()[0] for process in (chief, *workers)]
    assert [process.returncode for process in (chief, *workers)] == [0, -signal.SIGKILL, 0], "\n".join(said)
    number = trial.name.removeprefix("trial_")
    assert f"Worker one is silent: its trial {number} goes to another." in said[0]
    assert "2 of 2 trials done, best score" in said[0]
    assert "Resuming at epoch 2, step 1" in said[2], "its first epoch was not lost"
    results = read_results(out)
    assert [trial.status for trial in results.trials] == ["finished", "finished"]
    for trial in results.trials:
        assert trial.epochs == 2 and len((trial.folder / "run/history.csv").read_text().splitlines()) == 3
