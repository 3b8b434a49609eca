import csv
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import h5py
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.files import (
    check_new_directory,
    check_new_file,
    check_not_source,
    held,
    visible_files,
    whole_directory,
    whole_file,
    write_csv,
    write_json,
    write_text,
)


def names(folder):
    return sorted(os.listdir(folder))


def test_whole_file_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.png"
    with whole_file(target) as temporary:
        assert temporary.parent.parent == target.parent
        assert temporary.suffix == ".png"
        temporary.write_text("x")
        assert not target.exists()
    assert target.read_text() == "x"
    assert names(target.parent) == ["a.png"]


def test_a_writer_may_lock_the_file(tmp_path):
    with whole_file(tmp_path / "a.h5") as temporary, h5py.File(temporary, "w", locking=True) as file:
        file["x"] = [1, 2]
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["x"]) == [1, 2]


def test_whole_file_has_usual_permissions(tmp_path):
    write_text(tmp_path / "whole", "x")
    (tmp_path / "usual").write_text("x")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_whole_file_that_fails_changes_nothing(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_whole_file_in_a_bad_place(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(MrisrError, match=f"Cannot write {target}"):
            write_text(target, "x")
    assert names(tmp_path) == ["file", "folder"]


def test_whole_file_passes_on_errors_about_other_files(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MrisrError, match="Permission denied"):
            write_text(tmp_path / "a.txt", "x")
        with pytest.raises(MrisrError, match="not a writable folder"):
            check_new_directory(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_write_json(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None], "b": "µ"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": [1, 2.5, None], "b": "µ"}


def test_cells_that_a_spreadsheet_would_run(tmp_path):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "plain", "a=b", ""]
    rows = [{"name": text, "value": -0.25, "count": -3, "none": None} for text in texts]
    write_csv(tmp_path / "a.csv", ["name", "value", "count", "none", "missing"], rows, ".3f")
    with (tmp_path / "a.csv").open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table[0] == ["name", "value", "count", "none", "missing"]
    assert [row[0] for row in table[1:]] == [f"'{text}" for text in texts[:5]] + texts[5:]
    assert {tuple(row[1:]) for row in table[1:]} == {("-0.250", "-3", "", "")}


def test_whole_directory_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "run"
    with whole_directory(target) as temporary:
        (temporary / "a").write_text("x")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["run"]


def test_whole_directory_that_fails_changes_nothing(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    (target / "old").write_text("x")
    with pytest.raises(RuntimeError), whole_directory(target, overwrite=True) as temporary:
        (temporary / "new").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == ["run"]
    assert names(target) == ["old"]


def test_whole_directory_replaces_when_told(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    with whole_directory(target) as temporary:  # An empty folder may be filled.
        (temporary / "old").write_text("x")
    with (
        pytest.raises(MrisrError, match=r"exists and is not empty\. .*overwrite=True"),
        whole_directory(target),
    ):
        pass
    with whole_directory(target, overwrite=True) as temporary:
        (temporary / "new").write_text("x")
    assert names(tmp_path) == ["run"]
    assert names(target) == ["new"]


def test_errors_name_the_target_and_not_the_temporary_folder(tmp_path):
    with pytest.raises(MrisrError) as caught, whole_directory(tmp_path / "run") as temporary:
        (temporary / "folder").mkdir()
        write_text(temporary / "folder", "x")
    assert (
        str(caught.value) == f"Cannot write {tmp_path / 'run/folder'}: Is a directory. Nothing was changed."
    )


def test_visible_files(tmp_path, monkeypatch):
    for name in ("a.png", "b/c/d.png", "b/.hidden.png", ".cache/e.png"):
        write_text(tmp_path / name, "x")
    assert sorted(visible_files(tmp_path)) == [tmp_path / "a.png", tmp_path / "b/c/d.png"]
    scandir = os.scandir

    def refusing(folder):  # Root may read everything.
        if str(folder).endswith("c"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(MrisrError, match=r"Cannot read the folder .*b/c: Permission denied\."):
        list(visible_files(tmp_path))


def test_old_directory_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "run"
    target.mkdir()
    (target / "old").write_text("x")
    replace = os.replace

    def fail_on_new(source, destination):
        if destination == target and not str(source).endswith("-old"):
            raise OSError(28, "No space left on device")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", fail_on_new)
    with pytest.raises(MrisrError, match="No space left"), whole_directory(target, overwrite=True):
        pass
    assert names(tmp_path) == ["run"]
    assert names(target) == ["old"]


def test_check_new_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MrisrError, match="is a file"):
        check_new_directory(tmp_path / "file")
    with pytest.raises(MrisrError, match="not a writable folder"):
        check_new_directory(tmp_path / "file" / "run")
    with pytest.raises(MrisrError, match="not empty"):
        check_new_directory(tmp_path)
    check_new_directory(tmp_path, overwrite=True)
    check_new_directory(tmp_path / "new" / "run")
    assert names(tmp_path) == ["file"]


def test_check_new_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MrisrError, match=r"file exists\. Choose another name or pass `overwrite=True`"):
        check_new_file(tmp_path / "file")
    with pytest.raises(MrisrError, match=r"Cannot write .*file/a\.png: .*file is not a writable folder"):
        check_new_file(tmp_path / "file" / "a.png")
    with pytest.raises(MrisrError, match="is a folder; a file is needed"):
        check_new_file(tmp_path, overwrite=True)
    check_new_file(tmp_path / "file", overwrite=True)
    check_new_file(tmp_path / "new" / "a.png")
    assert names(tmp_path) == ["file"]


def test_names_that_leave_no_room_while_they_are_written(tmp_path):
    """A folder's names have up to 255 bytes, and a file has a longer one before it is whole."""
    longest = tmp_path / ("ä" * 114 + ".png")
    check_new_file(longest)
    with whole_file(longest) as path:
        path.write_text("x")
    with whole_directory(longest.with_suffix(".dir")):
        pass
    for name in ("ä" * 115 + ".png", "a" * 247 + ".png"):
        with pytest.raises(MrisrError, match="is too long: it may have 233 bytes"):
            check_new_file(tmp_path / name)
        with pytest.raises(MrisrError, match="is too long"), held(tmp_path / name):
            pass


def test_check_not_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_not_source("a.png", tmp_path / "b.png")
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    for name in ("a.png", "link.png", tmp_path / "x/../a.png"):
        with pytest.raises(MrisrError, match="is the source itself"):
            check_not_source(name, tmp_path / "b.png", tmp_path / "a.png")


_KILLED = """
import os, pathlib, signal, sys
from keras_mrisr import files

target = pathlib.Path(sys.argv[1])
if sys.argv[2] == "between":
    files.shutil.rmtree = lambda *_, **__: None
    replace = os.replace
    def replace_then_die(source, goal):
        replace(source, goal)
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace_then_die
with files.held(target):
    writer = files.whole_file if sys.argv[2] == "file" else files.whole_directory
    with writer(target, *([True] if sys.argv[2] == "between" else [])) as temporary:
        (temporary if temporary.is_file() else temporary / "new.txt").write_text("half")
        if sys.argv[2] != "between":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(target, how):
    """Runs a process that is killed while it writes to `target`."""
    done = subprocess.run([sys.executable, "-c", _KILLED, target, how], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


_HOLDER = """
import sys
from keras_mrisr.files import held

with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_of_two_processes_one_holds_an_output(tmp_path):
    out = tmp_path / "new" / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        (tmp_path / "link").symlink_to(tmp_path / "new")
        for name in (out, tmp_path / "link" / "out"):
            expected = rf"{name} is being written by process {process.pid} on .*Wait for its end"
            with pytest.raises(MrisrError, match=expected), held(tmp_path / "other", name):
                pytest.fail("both hold it")
        with held(tmp_path / "new" / "another"):
            pass
    finally:
        process.communicate("")
    assert process.returncode == 0
    with held(out):
        pass
    assert names(tmp_path) == ["link"]


def test_an_output_is_held_in_one_process_too(tmp_path):
    with held(tmp_path / "out.png"):
        with pytest.raises(MrisrError, match="is being written"), held(tmp_path / "out.png"):
            pytest.fail("both hold it")
        write_text(tmp_path / "out.png", "x")
    assert names(tmp_path) == ["out.png"]


def test_a_dead_holder_is_no_holder_and_what_it_left_is_removed(tmp_path):
    for target, how in (("out", "folder"), ("out.nii.gz", "file")):
        killed(tmp_path / target, how)
        assert [name for name in names(tmp_path) if name.startswith(".writing-")]
        with whole_file(tmp_path / f"2{target}") as writing:  # Not of the same output.
            with held(tmp_path / target):
                assert writing.exists()
            write_text(writing, "x")
    assert names(tmp_path) == ["2out", "2out.nii.gz"]


def test_what_another_writes_just_now_is_no_leftover(tmp_path):
    with whole_directory(tmp_path / "out") as temporary:
        with held(tmp_path / "out"):
            assert temporary.is_dir()
        (temporary / "a.txt").write_text("a")
    assert names(tmp_path) == ["out"]


def test_an_output_comes_back_after_a_kill_between_two_renames(tmp_path):
    write_text(tmp_path / "out" / "old.txt", "old")
    killed(tmp_path / "out", "between")
    assert "out" not in names(tmp_path)
    with held(tmp_path / "out"):
        assert names(tmp_path / "out") == ["old.txt"]
    assert names(tmp_path) == ["out"]


def test_a_place_that_takes_no_files(tmp_path, monkeypatch):
    """As /proc: each try ends as if the folder were missing."""

    def missing(*arguments, **options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(pathlib.Path, "open", missing)
    with pytest.raises(MrisrError, match=r"Cannot write .*: No such file"), held(tmp_path / "out"):
        pytest.fail("it is not held")


def test_held_in_a_bad_place(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(MrisrError, match="is not a writable folder"), held(tmp_path / "file" / "out"):
        pytest.fail("a file holds no files")
    assert names(tmp_path) == ["file"]


def test_a_folder_beside_which_nothing_can_be_written_is_held_in_itself(tmp_path, monkeypatch):
    out = tmp_path / "mounted"
    out.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    with held(out):
        assert names(out) == [".lock-mounted"]
        check_new_directory(out)
        with pytest.raises(MrisrError, match="is being written"), held(out):
            pytest.fail("both hold it")
    assert names(out) == []
