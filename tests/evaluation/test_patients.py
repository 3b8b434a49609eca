import pathlib

import pytest

from keras_mrisr.data import Split
from keras_mrisr.data.slices import SliceDataset, SliceRecord
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import choose_common_patients, choose_patients
from keras_mrisr.evaluation.patients import PARTS, check_renamed, seen_by

SPLIT = Split(train=("a", "b", "c"), val=("d",), test=("e", "f"))
ALL = ("a", "b", "c", "d", "e", "f")


def test_part_of_the_split_that_is_present():
    patients, part, notes = choose_patients(("f", "e", "a", "x"), SPLIT)
    assert (patients, part) == (("e", "f"), "test")
    assert notes == (
        "1 patient of the data trained the model and is left out.",
        "1 patient outside the model's split is left out: part all-unseen takes them.",
    )


@pytest.mark.parametrize(
    "part,expected",
    [
        ("test", ("e", "f")),
        ("val", ("d",)),
        ("all-unseen", ("e", "f", "x")),
        ("held-out", ("d", "e", "f", "x")),
    ],
)
def test_no_part_holds_a_training_patient(part, expected):
    patients, _, notes = choose_patients((*ALL, "x"), SPLIT, part)
    assert patients == expected
    assert notes[0] == "3 patients of the data trained the model and are left out."


def test_data_that_the_split_does_not_know_is_taken_whole():
    patients, part, notes = choose_patients(("y", "x"), SPLIT, "test")
    assert (patients, part) == (("x", "y"), "all-unseen")
    assert len(notes) == 1 and "all are unseen" in notes[0] and "same root" not in notes[0]


@pytest.mark.parametrize("split", [SPLIT, SPLIT.anonymised()])
def test_the_training_data_read_from_another_level_is_suspected(split):
    assert "2 names end alike ('a')" in choose_patients(("set/a", "set/e"), split)[2][0]


def test_digests_choose_the_same_patients():
    hidden, other = SPLIT.anonymised(), SPLIT.anonymised()
    assert not set(hidden.patients) & {*ALL, *other.patients}
    for part in PARTS:
        expected = choose_patients((*ALL, "x"), SPLIT, part)
        assert choose_patients((*ALL, "x"), hidden, part) == expected
        splits = {"A": SPLIT, "B": hidden, "C": other}
        assert choose_common_patients((*ALL, "x"), splits, part) == expected
    assert seen_by("data/a/x_1.png", {"A": hidden}) == ["Patient a trained A."]


@pytest.mark.parametrize(
    ("path", "patient", "seen"),
    [
        (
            "TCGA_CS_4941_19960909/1.png",
            "TCGA_CS_4941_19960909",
            False,
        ),  # `choose_patients` sees to it.
        ("TCGA_CS_4941_19960909/1.png", "4941", True),
        ("lgg/TCGA_CS_4941_19960909/1.png", "lgg/TCGA_CS_4941_19960909", True),
        ("TCGA_CS_4941_19960909_1.png", "all", True),
        ("TCGA_CS_4941_199609091/1.png", "TCGA_CS_4941_199609091", False),
        ("TCGA_CS_4944_20010208/1.png", "4944", False),  # Of the test part.
        ("sub-01/1.png", "1", False),  # As in any other data set.
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_training_patients_by_another_name(path, patient, seen, hidden):
    split = Split(("TCGA_CS_4941_19960909", "sub-01"), ("b",), ("TCGA_CS_4944_20010208",))
    split = split.anonymised() if hidden else split
    root = pathlib.Path("/data")
    dataset = SliceDataset(root, "images", (SliceRecord(root / path, patient, 0),))
    if seen:
        with pytest.raises(MrisrError, match=r"but TCGA_CS_4941_19960909 trained the model"):
            check_renamed(dataset, {"A": None, "B": split})
    else:
        check_renamed(dataset, {"A": None, "B": split})


def test_model_without_a_split():
    patients, part, notes = choose_patients(("y", "x"), None)
    assert (patients, part) == (("x", "y"), "unknown")
    assert "seen or not" in notes[0]


def test_nobody_left():
    with pytest.raises(MrisrError, match=r"no patient of the part 'test' \(train: 2, val: 1, test: 0"):
        choose_patients(("a", "b", "d"), SPLIT)


def test_unknown_part():
    with pytest.raises(MrisrError, match="all-unseen"):
        choose_patients(ALL, SPLIT, "train")


OTHER = Split(train=("a", "e"), val=("b",), test=("c", "f"))


def test_models_of_one_split_are_as_one():
    assert choose_common_patients(ALL, {"A": SPLIT, "B": SPLIT}) == choose_patients(ALL, SPLIT)
    assert choose_common_patients(ALL, {"A": None}) == choose_patients(ALL, None)


def test_only_what_no_model_saw():
    patients, part, notes = choose_common_patients((*ALL, "x"), {"A": SPLIT, "B": OTHER})
    assert (patients, part) == (("f",), "test")
    assert "A: 3 patients of the data trained the model and are left out." in notes
    assert notes[-1] == "2 patients in the part of one model but not of all are left out: c, e."
    assert choose_common_patients((*ALL, "x"), {"A": SPLIT, "B": OTHER}, "all-unseen")[0] == ("f", "x")


def test_a_model_of_other_data_agrees_with_any_part():
    stranger = Split(train=("u",), val=("v",), test=("w",))
    patients, part, _ = choose_common_patients(ALL, {"A": SPLIT, "B": stranger})
    assert (patients, part) == (("e", "f"), "test / all-unseen")


def test_nobody_in_common():
    apart = Split(train=("e", "f"), val=("a",), test=("b",))
    with pytest.raises(MrisrError, match=r"every model \(A: 2, B: 1\)"):
        choose_common_patients(ALL, {"A": SPLIT, "B": apart})
    with pytest.raises(MrisrError, match="B: The data holds no patient of the part 'val'"):
        choose_common_patients(("a", "d", "f"), {"A": SPLIT, "B": OTHER}, "val")


def test_without_models():
    patients, part, notes = choose_common_patients(("b", "a"), {})
    assert (patients, part) == (("a", "b"), "unknown") and "all 2 patients" in notes[0]
