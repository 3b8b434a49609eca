import pytest

from keras_mrisr.data import Split
from keras_mrisr.errors import InputError
from keras_mrisr.evaluation import choose_patients

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
    "part,expected", [("test", ("e", "f")), ("val", ("d",)), ("all-unseen", ("e", "f", "x"))]
)
def test_no_part_holds_a_training_patient(part, expected):
    patients, _, notes = choose_patients((*ALL, "x"), SPLIT, part)
    assert patients == expected
    assert notes[0] == "3 patients of the data trained the model and are left out."


def test_data_that_the_split_does_not_know_is_taken_whole():
    patients, part, notes = choose_patients(("y", "x"), SPLIT, "test")
    assert (patients, part) == (("x", "y"), "all-unseen")
    assert len(notes) == 1 and "all are unseen" in notes[0] and "same root" not in notes[0]


def test_the_training_data_read_from_another_level_is_suspected():
    assert "same root" in choose_patients(("set/a", "set/e"), SPLIT)[2][0]


def test_model_without_a_split():
    patients, part, notes = choose_patients(("y", "x"), None)
    assert (patients, part) == (("x", "y"), "unknown")
    assert "seen or not" in notes[0]


def test_nobody_left():
    with pytest.raises(InputError, match=r"no patient of the part 'test' \(train: 2, val: 1, test: 0"):
        choose_patients(("a", "b", "d"), SPLIT)


def test_unknown_part():
    with pytest.raises(InputError, match="all-unseen"):
        choose_patients(ALL, SPLIT, "train")
