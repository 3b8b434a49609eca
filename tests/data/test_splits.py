import hashlib
import json
import random

import pytest

from keras_mrisr.data.splits import Split, check_disjoint, check_unseen, continued_split, split_patients
from keras_mrisr.errors import MrisrError

_RANK = {"train": 0, "val": 1, "test": 2}


def _patients(count, sites=("A", "B", "C")):
    return {f"patient{number}": sites[number % len(sites)] for number in range(count)}


def test_split_is_complete_disjoint_and_repeatable():
    sites = _patients(60)
    split = split_patients(sites, seed=3)
    assert split.patients == tuple(sorted(sites))
    assert split == split_patients(dict(reversed(sites.items())), seed=3)
    assert split != split_patients(sites, seed=4)
    assert split.fractions == (0.1, 0.1)


def test_split_is_fixed_for_ever():
    # Trained models store patients by name: another hash would mix test patients into training.
    split = split_patients(_patients(12), seed=0)
    assert split.test == ("patient10", "patient6", "patient8")
    assert split.val == ("patient1", "patient5", "patient9")


def test_fractions_are_met_on_average():
    split = split_patients(_patients(6000), val_fraction=0.2, test_fraction=0.3)
    assert len(split.val) / 6000 == pytest.approx(0.2, abs=0.02)
    assert len(split.test) / 6000 == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_every_site_of_four_is_in_every_part(seed):
    sites = _patients(12)
    split = split_patients(sites, seed=seed, val_fraction=0.01, test_fraction=0.01)
    for part in (split.train, split.val, split.test):
        assert {sites[patient] for patient in part} == {"A", "B", "C"}


@pytest.mark.parametrize("seed", range(60))
def test_added_patients_move_nobody_out_of_training(seed):
    random_ = random.Random(seed)
    names = [f"p{number}" for number in random_.sample(range(10_000), 80)]
    # Sites start with four patients each (the exception of tiny sites is documented) or later at any size.
    kinds = [None, "X", "Y"][: random_.randint(1, 3)]
    sites = {name: kinds[place % len(kinds)] for place, name in enumerate(names[:12])}
    fractions = {"val_fraction": random_.choice([0.05, 0.15]), "test_fraction": random_.choice([0.05, 0.15])}
    before = split_patients(sites, seed=seed, **fractions)
    for name in names[12:]:
        sites[name] = random_.choice(kinds)
        after = split_patients(sites, seed=seed, **fractions)
        for patient in before.patients:
            assert _RANK[after.part_of(patient)] <= _RANK[before.part_of(patient)]
        before = after


@pytest.mark.parametrize("seed", range(20))
def test_three_patients_go_one_to_each_part(seed):
    split = split_patients({"a": None, "b": None, "c": None}, seed=seed)
    assert [len(part) for part in (split.train, split.val, split.test)] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(10))
def test_training_is_never_empty(seed):
    split = split_patients(_patients(5), seed=seed, val_fraction=0.49, test_fraction=0.5)
    assert split.train
    assert split.val
    assert split.test


def test_a_fraction_of_zero_makes_an_empty_part():
    split = split_patients(_patients(30), val_fraction=0, test_fraction=0)
    assert len(split.train) == 30
    assert split_patients({"a": None}, val_fraction=0, test_fraction=0).train == ("a",)
    assert split_patients({"a": None, "b": None}, val_fraction=0).val == ()


def test_what_two_patients_allow():
    patients = {"a": None, "b": None}
    with pytest.raises(MrisrError, match="give more patients, set `test_fraction` to 0, or say"):
        split_patients(patients)
    split = split_patients(patients, test_fraction=0)
    assert (len(split.train), len(split.val), split.test) == (1, 1, ())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_patients(count):
    with pytest.raises(MrisrError, match="too few to split"):
        split_patients(_patients(count))


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.1, 1.0), (0.5, 0.5), (float("nan"), 0.1)])
def test_bad_fractions(val, test):
    with pytest.raises(MrisrError, match="fraction"):
        split_patients(_patients(10), val_fraction=val, test_fraction=test)


def test_a_patient_in_two_parts_is_refused():
    with pytest.raises(MrisrError, match="'b' is in both train and test"):
        Split(("a", "b"), ("c",), ("b",))
    with pytest.raises(MrisrError, match="'b' is in train twice"):
        Split(("b", "b"), (), ())
    with pytest.raises(MrisrError, match="both train and held_out"):
        check_disjoint(train=["a"], held_out=["a"])


def test_split_survives_json():
    split = split_patients(_patients(20), seed=7, val_fraction=0.2)
    assert Split.from_dict(json.loads(json.dumps(split.to_dict()))) == split


@pytest.mark.parametrize(
    "change", [{"train": "abc"}, {"val": [1]}, {"seed": "x"}, {"fractions": None}, {"test": None}]
)
def test_a_broken_stored_split_is_refused(change):
    with pytest.raises(MrisrError, match="split"):
        Split.from_dict({**split_patients(_patients(9)).to_dict(), **change})


def test_digests_know_their_patients_and_nobody_else():
    split = Split(("a", "b"), ("c",), ("d",), seed=3)
    hidden = split.anonymised()
    assert [hidden.part_of(name) for name in "abcdex"] == ["train", "train", "val", "test", None, None]
    assert not set(hidden.patients) & set("abcd") and len(set(hidden.patients)) == 4
    assert hidden.anonymised() is hidden and Split.from_dict(hidden.to_dict()) == hidden
    assert "salt" not in split.to_dict()
    # The digest stands in files for ever: it must not change with a version.
    one = Split((), (), (), salt="00ff")
    assert one.stored_name("a") == hashlib.sha256(b"00ff:a").hexdigest()[:16]


def test_digests_of_a_model_that_a_run_begins_with():
    run = Split(("a",), ("b",), ("c",))
    check_unseen("init", "model", Split(("a",), ("b",), ()).anonymised().to_dict(), run)
    for taught in (Split(("b",), (), ()), Split((), ("c",), ())):
        with pytest.raises(MrisrError, match="init: model was trained with 1 patient"):
            check_unseen("init", "model", taught.anonymised().to_dict(), run)


@pytest.mark.parametrize("hidden", [False, True])
def test_who_starts_from_a_model_keeps_whom_it_held_out(hidden):
    split = Split(("a", "b", "new"), ("c",), ("d", "e"), seed=3)
    model = Split(("c", "d"), ("e",), ("a", "gone"))
    taught = (model.anonymised() if hidden else model).to_dict()
    assert continued_split(split, "model", taught) == Split(("b", "c", "d", "new"), ("e",), ("a",), seed=3)
    assert continued_split(split, "model", {}) is split


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Split((), (), ("a", "b")), "model holds out all of these patients"),
        (Split(("c",), (), ()), "no patient is left for val: .* set data.validation_fraction to 0"),
        (Split((), ("d",), ()), "no patient is left for test: .* set data.test_fraction to 0"),
    ],
)
def test_a_model_that_leaves_a_part_empty(model, message):
    with pytest.raises(MrisrError, match=message):
        continued_split(Split(("a", "b"), ("c",), ("d",)), "model", model.to_dict())
