"""Whole searches; where the training does not matter, a stand-in for it."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

import keras_mrisr
from keras_mrisr.errors import MrisrError
from keras_mrisr.training import TrainingInterruptedError
from keras_mrisr.tuning import Budget, read_results, read_study, search, write_study
from keras_mrisr.tuning.trial import TrialResult

pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)
PACKAGE = pathlib.Path(keras_mrisr.__file__).parents[1]


@pytest.fixture
def trained(monkeypatch):
    """Replaces the training of trials: their values, in order. `act` may do worse than to give a score."""

    class Trained(list):
        act = staticmethod(lambda number: None)

    ran = Trained()

    def run_trial(study, values, folder, dataset, until=None, parent=None, report=None):
        number = len(ran)
        ran.append(dict(values, until=until, parent=parent))
        result = ran.act(number) or TrialResult(values, 30 + number, 1, 1, 1.0, 30.0, 0.9, None, 5000, 0.1)
        result.write(folder)
        return result

    monkeypatch.setattr("keras_mrisr.tuning.tuner.run_trial", run_trial)
    return ran


def test_hyperband_promotes(tmp_path, rates, trained, caplog):
    caplog.set_level("INFO", "keras_mrisr")
    out = search(rates.fixed("training.epochs", 3), tmp_path / "out", seed=2)
    assert [ran["until"] for ran in trained] == [1, 1, 1, 3, 3, 3]
    assert [pathlib.Path(ran["parent"]).name for ran in trained if ran["parent"]] == ["trial_2"], "the best"
    assert "6 of 6 trials done, best score 35.000 dB (trial 5), about 0 s left" in caplog.messages
    assert any(
        "1 of 6 trials done, best score 30.000 dB (trial 0), about" in line for line in caplog.messages
    )
    names = {path.name for path in out.iterdir()}
    assert names == {"study.yaml", "search.json", "oracle.json", *(f"trial_{i}" for i in range(6))}
    assert read_study(out / "study.yaml") == rates.fixed("training.epochs", 3)


def test_the_recipe_as_it_stands_is_the_first_trial(tmp_path, study_file, trained):
    study = read_study(study_file(), {"training.learning_rate": 0.002})
    search(study, tmp_path / "out", "random", 2)
    assert trained[0]["generator.name"] == "edsr" and trained[0]["generator.blocks"] == 1
    space = {"generator.blocks": {"type": "int", "min": 2, "max": 40, "step": 2}}
    study = read_study(study_file(space, "steps", config={"generator": {"name": "edsr", "blocks": 8}}))
    search(study, tmp_path / "steps", "random", 1)
    assert trained[2]["generator.blocks"] == 8, "which is on the grid"


def test_sick_trials_do_not_end_the_search(tmp_path, rates, trained):
    def sick(number):
        return TrialResult({}, 0.0, ill="the discriminator has won") if number else None

    trained.act = sick
    results = read_results(search(rates, tmp_path / "out", "random", 6))
    assert [trial.status for trial in results.trials] == ["finished"] + 5 * ["ill"]
    trained.act = lambda number: TrialResult({}, 0.0, ill="the discriminator has won.")
    with pytest.raises(
        MrisrError, match=r"All 4 trials of .* fell ill, the last one: the discriminator has won"
    ):
        search(rates, tmp_path / "sick", "random", 4)


def test_trials_that_fail(tmp_path, rates, trained, capsys, caplog):
    def fail(number):
        if number == 1:
            raise MrisrError("No feature weights at vgg.h5.")

    trained.act = fail
    results = read_results(search(rates, tmp_path / "out", "random", 3))
    assert [trial.status for trial in results.trials] == ["finished", "finished", "failed"]
    assert results.trials[-1].reason == "No feature weights at vgg.h5."
    assert "The trial failed: No feature weights at vgg.h5." in caplog.messages
    assert "Traceback" not in "".join(capsys.readouterr())
    assert (
        json.loads((tmp_path / "out/trial_1/trial.json").read_text())["message"] == results.trials[-1].reason
    )

    def broken(number):
        raise MrisrError("No feature weights at vgg.h5.")

    trained.act = broken
    with pytest.raises(
        MrisrError, match="Three trials in a row failed, the last with: No feature weights"
    ) as caught:
        search(rates, tmp_path / "bad", "random", 9)
    assert "\n" not in str(caught.value)
    assert len(list((tmp_path / "bad").glob("trial_*"))) == 3
    # What was wrong is mended.
    failed = trained[-3:]
    trained.act = lambda number: None
    results = read_results(search(rates, tmp_path / "bad", "random", 9))
    assert trained[-9:-6] == failed and len(trained) == 3 + 3 + 9
    assert [trial.status for trial in results.trials] == 9 * ["finished"]


def test_an_accident_is_tried_again(tmp_path, rates, trained, capsys):
    def accident(number):
        if number == 0:
            raise MemoryError("no memory")

    trained.act = accident
    results = read_results(search(rates, tmp_path / "out", "random", 2))
    assert len(trained) == 3 and trained[0] == trained[1]
    assert "Traceback" not in "".join(capsys.readouterr())
    assert [trial.status for trial in results.trials] == ["finished", "finished"]


def test_stopped_and_gone_on(tmp_path, rates, trained):
    def stop(number):
        if number == 2:
            raise TrainingInterruptedError

    trained.act = stop
    with pytest.raises(TrainingInterruptedError):
        search(rates, tmp_path / "out", "random", 4)
    stopped = trained[2]
    trained.act = lambda number: None
    search(rates, tmp_path / "out", "random", 4)
    assert trained[3] == stopped and len(trained) == 5
    # More trials may be asked for later; the same number again is no work.
    search(rates, tmp_path / "out", "random", 4)
    search(rates, tmp_path / "out", "random", 6)
    assert len(trained) == 7


def test_two_searches_at_once(tmp_path, rates, trained):
    out = tmp_path / "out"

    def begin_another(number):
        before = (out / "oracle.json").read_bytes()
        for overwrite in (False, True):
            with pytest.raises(MrisrError, match=r"out is being written by process \d+ on") as caught:
                search(rates, out, "random", 2, overwrite=overwrite)
            assert "\n" not in str(caught.value)
        assert (out / "oracle.json").read_bytes() == before

    trained.act = begin_another
    search(rates, out, "random", 2)
    assert len(trained) == 2
    trained.act = lambda number: None
    search(rates, out, "random", 2, overwrite=True)
    assert len(trained) == 4, "the folder is free again"
    # One that was killed at its very start.
    search(rates, tmp_path / "begun", "random", 1)
    (tmp_path / "begun/study.yaml").unlink()
    for path in (tmp_path / "begun").iterdir():
        if path.name != "search.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "begun/.writing-abcdefgh-study.yaml").mkdir()
    search(rates, tmp_path / "begun", "random", 1)
    assert not list((tmp_path / "begun").glob(".writing-*"))


def test_budget(tmp_path, study_file, trained, monkeypatch):
    study = read_study(study_file(), {"generator.filters": 8})
    search(study, tmp_path / "out", "random", 3, budget=Budget(parameters=4500))
    # One block of 8 filters has 4241 parameters in EDSR and 5417 or more in SRResNet.
    assert {(ran["generator.name"], ran["generator.blocks"]) for ran in trained} == {("edsr", 1)}
    monkeypatch.setattr("keras_mrisr.tuning.oracles._DRAWS", 5)
    with pytest.raises(MrisrError, match=r"No trial of .*: nothing in the space is within the budget"):
        search(study, tmp_path / "none", "random", 6, budget=Budget(gflops=0.001))
    assert len(trained) == 3


@pytest.mark.parametrize("change", ["space", "config", "tuner", "budget"])
def test_a_folder_of_another_search(tmp_path, rates, study_file, trained, change):
    out = search(rates, tmp_path / "out", "random", 1)
    study, options = rates, {"tuner": "random"}
    if change == "space":
        space = {"training.learning_rate": {"type": "float", "min": 1e-4, "max": 1e-1, "log": True}}
        study, message = (
            read_study(study_file(space, "wider")),
            r"space: training\.learning_rate: .*0.01.* there",
        )
    elif change == "config":
        study, message = rates.fixed("training.seed", 5), r"config: training\.seed: 0 there, 5 now"
    elif change == "tuner":
        options, message = {"tuner": "bayesian"}, r"tuner: 'random' there, 'bayesian' now"
    else:
        options["budget"], message = Budget(gflops=1), r"budget: gflops: None there, 1 now"
    before = (out / "oracle.json").read_bytes()
    with pytest.raises(MrisrError, match=f"holds another search .{message}") as caught:
        search(study, out, max_trials=1, **options)
    assert "overwrite=True" in str(caught.value) and "\n" not in str(caught.value)
    assert (out / "oracle.json").read_bytes() == before
    search(study, out, max_trials=1, overwrite=True, **options)


def test_a_folder_of_something_else(tmp_path, rates, trained):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.txt").write_text("years of work")
    for overwrite, message in (
        (False, "exists and is not empty"),
        (True, "is not a search; it is not overwritten"),
    ):
        with pytest.raises(MrisrError, match=message):
            search(rates, tmp_path / "thesis", "random", 1, overwrite=overwrite)
    (tmp_path / "plan").mkdir()
    write_study(rates, tmp_path / "plan/study.yaml")  # Of a user, who has not searched yet.
    with pytest.raises(MrisrError, match=r"holds a study\.yaml and no search; it is not overwritten"):
        search(rates, tmp_path / "plan", "random", 1, overwrite=True)
    assert (tmp_path / "plan/study.yaml").exists()
    out = search(rates, tmp_path / "out", "random", 1)
    (out / "search.json").write_text("{")
    with pytest.raises(MrisrError, match=r"cannot be gone on with .*search\.json cannot be read"):
        search(rates, out, "random", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuner": "grid"}, "Unknown tuner 'grid'"),
        ({"max_trials": 0}, "`max_trials` must be 1 or more. Received: 0"),
        ({"wait": -1}, "`wait` must be more than 0 seconds. Received: -1"),
        ({"lease": 0}, "`lease` must be more than 0 seconds. Received: 0"),
    ],
)
def test_bad_options(tmp_path, rates, options, message):
    with pytest.raises(MrisrError, match=message):
        search(rates, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_bad_data(tmp_path, rates, study_file, save_model, image_root):
    from keras_mrisr.data import read_dataset
    from keras_mrisr.data.splits import Split

    with pytest.raises(MrisrError, match="nowhere does not exist"):
        search(rates.fixed("data.root", "nowhere"), tmp_path / "out")
    init = save_model(tmp_path / "init", split=Split(tuple(read_dataset(image_root).sites), (), ()))
    with pytest.raises(MrisrError, match=r"no patient is left for val: .* set data.validation_fraction to 0"):
        search(rates.starting_from(str(init)), tmp_path / "out")
    space = {"training.epochs": {"type": "int", "min": 1, "max": 4}}
    with pytest.raises(MrisrError, match="Hyperband decides on the epochs itself"):
        search(read_study(study_file(space, "epochs")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_weights_of_the_judge(tmp_path, rates, trained):
    features = {"network": "vgg16", "weights": str(tmp_path / "missing.h5")}
    study = dataclasses.replace(rates.fixed("adversarial.features", features), objective="perceptual")
    with pytest.raises(MrisrError, match=r"missing\.h5") as caught:
        search(study, tmp_path / "out", "random", 3)
    assert "\n" not in str(caught.value) and not trained and not (tmp_path / "out").exists()


def test_sigkill(tmp_path, rates):
    """A process killed in the middle of its second trial; this one goes on and finds nothing missing."""
    out = tmp_path / "out"
    study = rates.fixed("training.epochs", 2).fixed("training.steps_per_epoch", 10)
    write_study(study, tmp_path / "study.yaml")
    words = ["tune", "--study", tmp_path / "study.yaml", "--out", out, "--tuner", "random", "--max-trials", 2]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_mrisr", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = out / "trial_1/run/backup/backup-00001-000000/state.json"
    while not state.exists():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (out / "trial_0/result.json").read_bytes()
    assert [trial.status for trial in read_results(out).trials] == ["finished", "running"]
    search(study, out, "random", 2)
    results = read_results(out)
    assert [trial.status for trial in results.trials] == ["finished", "finished"]
    assert (out / "trial_0/result.json").read_bytes() == first
    rows = (out / "trial_1/run/history.csv").read_text().splitlines()
    assert len(rows) == 3, "its first epoch was not trained again"
    assert json.loads((out / "oracle.json").read_text())["start_order"] == ["0", "1"]
