import errno
import pathlib

import pytest

from keras_mrisr.errors import DataError, IncompleteError
from keras_mrisr.folders import Choice, Failure, check_results, no_place_left, refuse_incomplete

NAMES = ["a/x_T1w.nii.gz", "a/x_T2w.nii.gz", "b/deep/y_T1w.nii.gz", "T1w.txt"]


@pytest.mark.parametrize(
    ("include", "exclude", "places"),
    [
        ([], [], [0, 1, 2, 3]),
        (["*_T1w.nii.gz"], [], [0, 2]),
        (["*_T1w.nii.gz", "T1w.*"], ["b/*"], [0, 3]),
        (["a/*"], ["x_T1?.nii.gz"], [1]),
        ([], ["*.txt", "*/deep/*"], [0, 1]),
        (["[ab]/*T1w*"], [], [0, 2]),
        (["*_t1w.nii.gz", "T1w.txt"], [], [3]),  # Capitals count, on every system.
    ],
)
def test_choice(include, exclude, places):
    choice = Choice(include, exclude)
    assert bool(choice) == bool(include or exclude)
    assert choice.of(NAMES, pathlib.Path("data")) == [NAMES[place] for place in places]


def test_a_choice_of_nothing():
    with pytest.raises(DataError, match=r"None of the 4 files in data is left by `include` and `exclude`"):
        Choice(["*.png"]).of(NAMES, pathlib.Path("data"))
    assert Choice(["*.png"]).of([], pathlib.Path("data")) == []


def test_where_results_may_go(tmp_path):
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    check_results(source, tmp_path / "new")
    for target, part in (
        ("in", "is the source"),
        (".", "holds the source"),
        ("in/deep", "lies in the source"),
    ):
        with pytest.raises(DataError, match=part):
            check_results(source, tmp_path / target, overwrite=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/own.txt").write_text("mine")
    with pytest.raises(DataError, match=r"is not empty.* `skip_existing=True`"):
        check_results(source, tmp_path / "full")
    check_results(source, tmp_path / "full", skip_existing=True)
    check_results(source, tmp_path / "full", overwrite=True)
    with pytest.raises(DataError, match="is a file"):
        check_results(source, tmp_path / "full/own.txt", overwrite=True)


def test_failures():
    path = pathlib.Path("a.nii")
    assert Failure.of(DataError("a.nii is broken."), path).reason == "a.nii is broken."
    assert Failure.of(MemoryError(), path).reason == "a.nii: Out of memory."
    full = OSError(errno.ENOSPC, "No space left on device")
    assert Failure.of(full, path).reason == "a.nii: No space left on device."
    wrapped = DataError("x")
    wrapped.__cause__ = full
    assert no_place_left(wrapped) and not no_place_left(OSError(errno.EACCES, "no"))
    refuse_incomplete([])
    with pytest.raises(IncompleteError, match=r"^1 file could not be read; all others are done\. a broke$"):
        refuse_incomplete([Failure(path, "a broke")], "read")
    with pytest.raises(IncompleteError, match=r"^2 files could not .* a broke The other 1 are named above"):
        refuse_incomplete([Failure(path, "a broke"), Failure(path, "b broke")])
