"""KerasTuner's oracles with ours around them; no trial is trained here."""

import json
import time

import pytest
from keras_tuner.engine.trial import TrialStatus

from keras_mrisr.errors import MrisrError
from keras_mrisr.tuning.oracles import Rules, make_oracle
from keras_mrisr.tuning.space import SearchSpace

# What KerasTuner 1.4 does in every call.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)

SPACE = SearchSpace.from_dict(
    {
        "generator.name": {"type": "choice", "values": ["srresnet", "edsr"]},
        "generator.blocks": {"type": "int", "min": 1, "max": 8},
        "generator.scaling": {"type": "float", "min": 0.1, "max": 1, "when": {"generator.name": "edsr"}},
    }
)


@pytest.fixture
def oracle(tmp_path):
    """A function (tuner, max_trials, rules) -> an oracle in the same folder each time."""

    def make(tuner="random", max_trials=4, seed=0, **rules):
        rules = Rules(**{"space": SPACE, "epochs": 9, "allows": lambda values: True, **rules})
        found = make_oracle(tuner, rules, max_trials, seed)
        found._set_project_dir(str(tmp_path), "search")
        return found

    return make


def finish(oracle, trial, score, status=TrialStatus.COMPLETED):
    if status == TrialStatus.COMPLETED:
        oracle.update_trial(trial.trial_id, {"score": score})
    trial.status = status
    oracle.end_trial(trial)


def run(oracle, score=lambda values: values["generator.blocks"], worker="tuner0"):
    """Runs a search to its end with a score that costs nothing; the trials in their order."""
    trials = []
    while True:
        trial = oracle.create_trial(worker)
        if trial.status == TrialStatus.STOPPED:
            return trials
        assert trial.status == TrialStatus.RUNNING
        trials.append(trial)
        finish(oracle, trial, score(trial.hyperparameters.values))


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_only_what_is_allowed_is_drawn(oracle, tuner):
    def allows(values):
        return values["generator.blocks"] <= 2

    found = oracle(tuner, 6, allows=allows)
    if tuner == "bayesian":
        found.num_initial_points = 4
    trials = run(found)
    assert trials and all(allows(SPACE.decode(trial.hyperparameters.values)) for trial in trials)
    assert run(oracle(tuner, 4, allows=lambda values: False)) == []


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_the_recipe_as_it_stands_comes_first(oracle, tuner):
    trials = run(oracle(tuner, 3, first={"generator.name": "edsr", "generator.blocks": 7}))
    first = SPACE.decode(trials[0].hyperparameters.values)
    assert first["generator.name"] == "edsr" and first["generator.blocks"] == 7
    assert 0.1 <= first["generator.scaling"] <= 1, "the config has none, so it is left to chance"
    assert len({str(SPACE.decode(trial.hyperparameters.values)) for trial in trials[:2]}) == 2


def test_same_seed_same_trials(oracle):
    def drawn(seed):
        return [trial.hyperparameters.values for trial in run(oracle(seed=seed))]

    assert drawn(0) == drawn(0) != drawn(1)


def test_hyperband(oracle):
    found = oracle("hyperband", None)
    # Li et al. 2018: brackets of 9, 5 and 3 trials, a third of which goes on for three times as long.
    expected = [1] * 9 + [2] * 3 + [6] + [3] * 5 + [6] * 2 + [9] * 3
    assert found.sweep() == expected
    assert (found.max_trials, found.planned_epochs()) == (23, sum(expected))
    trials = run(found)
    assert [found.epochs_of(trial) for trial in trials] == expected
    best = max(trials[:9], key=lambda trial: trial.hyperparameters.values["generator.blocks"])
    assert trials[12].hyperparameters.values["tuner/trial_id"] in {trial.trial_id for trial in trials[9:12]}
    assert (
        trials[12].hyperparameters.values["generator.blocks"]
        == best.hyperparameters.values["generator.blocks"]
    )
    assert len(run(oracle("hyperband", 30))) == 30, "more than a sweep begins another"
    assert len(run(oracle("hyperband", 5))) == 5


def test_a_killed_search_goes_on(oracle):
    found = oracle("hyperband", None)
    for _ in range(10):
        trial = found.create_trial("tuner0")
        finish(found, trial, trial.hyperparameters.values["generator.blocks"])
    stopped = found.create_trial("tuner0")
    again = oracle("hyperband", None)
    again.reload()
    trials = run(again)
    assert trials[0].trial_id == stopped.trial_id
    assert trials[0].hyperparameters.values == stopped.hyperparameters.values
    assert len(trials) == 13 and len(again.trials) == len(again.ended) == 23
    more = oracle("hyperband", 30)
    more.reload()
    assert len(run(more)) == 7


def test_killed_between_two_files(oracle, tmp_path):
    found = oracle()
    for score in (1, 2):
        finish(found, found.create_trial("tuner0"), score)
    state = (tmp_path / "search/oracle.json").read_bytes()
    third = found.create_trial("tuner0")
    begun = (tmp_path / "search/oracle.json").read_bytes()
    # The trial's file is there, the oracle does not know of it.
    (tmp_path / "search/oracle.json").write_bytes(state)
    again = oracle()
    again.reload()
    assert sorted(again.trials) == ["0", "1"]
    assert again.create_trial("tuner0").trial_id == third.trial_id
    # The trial is complete, the oracle takes it for running.
    finish(found, third, 3)
    (tmp_path / "search/oracle.json").write_bytes(begun)
    again = oracle()
    again.reload()
    assert [trial.trial_id for trial in again.ended] == ["0", "1", "2"]
    assert again.create_trial("tuner0").trial_id == "3"


def test_a_broken_search(oracle, tmp_path):
    finish((found := oracle()), found.create_trial("tuner0"), 1)
    (tmp_path / "search/oracle.json").write_text("{")
    with pytest.raises(MrisrError, match=r"cannot be gone on with .* pass `overwrite=True`") as caught:
        oracle().reload()
    assert "\n" not in str(caught.value)


def test_files_are_whole_at_any_moment(oracle, tmp_path, monkeypatch):
    found = oracle()
    finish(found, found.create_trial("tuner0"), 1)
    before = (tmp_path / "search/oracle.json").read_bytes()

    def broken(*words, **more):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(MrisrError, match="Cannot write"):
        found.save()
    assert (tmp_path / "search/oracle.json").read_bytes() == before
    assert json.loads(before)["end_order"] == ["0"]


def test_failures(oracle):
    found = oracle(max_trials=9)
    first = found.create_trial("tuner0")
    finish(found, first, None, TrialStatus.INVALID)
    # An accident is tried again once, a failure of its own making is not.
    assert found.create_trial("tuner0").trial_id == first.trial_id
    finish(found, first, None, TrialStatus.INVALID)
    assert found.trials[first.trial_id].status == TrialStatus.FAILED
    finish(found, found.create_trial("tuner0"), 1)
    for _ in range(3):
        assert found.given_up is None
        finish(found, found.create_trial("tuner0"), None, TrialStatus.FAILED)
    assert found.given_up == "4"
    assert found.create_trial("tuner0").status == TrialStatus.STOPPED
    assert found.is_over


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_what_failed_is_run_again(oracle, tuner):
    found = oracle(tuner, 5)
    for status in (TrialStatus.COMPLETED, TrialStatus.FAILED, TrialStatus.FAILED):
        finish(found, found.create_trial("tuner0"), 1, status)
    stopped = found.create_trial("tuner0")
    again = oracle(tuner, 5)
    again.reload()
    assert [trial.trial_id for trial in run(again)] == [stopped.trial_id, "1", "2", "4"]
    assert [trial.status for trial in again.ended] == 5 * [TrialStatus.COMPLETED]
    again.reload()
    assert run(again) == [], "and only once"


def test_deadline(oracle):
    found = oracle(deadline=time.monotonic() - 1)
    assert run(found) == [] and found.is_over


# Workers.


@pytest.fixture
def clock(monkeypatch):
    """A list whose only item is the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_trial_of_a_dead_worker_goes_to_another(oracle, clock):
    found = oracle(max_trials=2, lease=60)
    lost, kept = found.create_trial("one"), found.create_trial("two")
    clock[0] += 50
    found.get_trial(kept.trial_id)  # Only the second shows that it lives.
    clock[0] += 20
    found.reclaim()
    finish(found, kept, 2)
    assert not found.is_over
    again = found.create_trial("two")
    assert (again.trial_id, again.hyperparameters.values) == (lost.trial_id, lost.hyperparameters.values)
    finish(found, again, 1)
    assert found.create_trial("two").status == TrialStatus.STOPPED
    assert found.is_over and [trial.score for trial in found.ended] == [2, 1]


def test_nobody_is_sent_home_too_early(oracle, clock):
    found = oracle(max_trials=2, lease=60)
    first, second = found.create_trial("one"), found.create_trial("two")
    finish(found, second, 2)
    assert found.create_trial("two").status == TrialStatus.IDLE
    clock[0] += 61
    assert found.create_trial("two").trial_id == first.trial_id


def test_a_worker_that_comes_back_gets_its_trial(oracle, clock):
    found = oracle(lease=60)
    trial = found.create_trial("one")
    clock[0] += 30
    assert found.create_trial("one").trial_id == trial.trial_id


def test_a_chief_that_comes_back_believes_its_workers(oracle, clock):
    found = oracle(max_trials=2, lease=60)
    trial = found.create_trial("one")
    again = oracle(max_trials=2, lease=60)
    again.reload()
    assert again.create_trial("two").trial_id != trial.trial_id
    clock[0] += 50
    again.get_trial(trial.trial_id)
    clock[0] += 50
    again.reclaim()
    assert "one" in again.ongoing_trials and "two" not in again.ongoing_trials


def test_a_trial_that_kills_its_workers(oracle, clock):
    found = oracle(max_trials=2, lease=60)
    for name in ("one", "two", "three"):
        assert found.create_trial(name).trial_id == "0"
        clock[0] += 61
        found.reclaim()
    assert found.trials["0"].status == TrialStatus.FAILED
    again = oracle(max_trials=2, lease=60)
    again.reload()
    assert again.create_trial("four").trial_id == "1", "it is not run again"
    assert found.create_trial("four").trial_id == "1"


def test_dead_without_a_trial(oracle, clock):
    found = oracle(max_trials=1, lease=60)
    trial = found.create_trial("one")
    assert found.create_trial("idle").status == TrialStatus.IDLE
    finish(found, trial, 1)
    assert found.create_trial("one").status == TrialStatus.STOPPED
    assert not found.is_over
    clock[0] += 61
    found.reclaim()
    assert found.is_over


def test_unknown_tuner(oracle):
    with pytest.raises(MrisrError, match=r"Unknown tuner 'grid'\. Known: random, bayesian, hyperband"):
        oracle("grid")
