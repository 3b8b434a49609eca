import json
import os

import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.files import (
    check_new_directory,
    check_new_file,
    visible_files,
    whole_directory,
    whole_file,
    write_json,
    write_text,
)


def names(folder):
    return sorted(os.listdir(folder))


def test_whole_file_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.png"
    with whole_file(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
        temporary.write_text("x")
        assert not target.exists()
    assert target.read_text() == "x"
    assert names(target.parent) == ["a.png"]


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
    with pytest.raises(MrisrError, match=r"exists and is not empty\. .*--overwrite"), whole_directory(target):
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
    with pytest.raises(MrisrError, match=r"file exists\. Choose another name or pass --overwrite"):
        check_new_file(tmp_path / "file")
    with pytest.raises(MrisrError, match=r"Cannot write .*file/a\.png: .*file is not a writable folder"):
        check_new_file(tmp_path / "file" / "a.png")
    with pytest.raises(MrisrError, match="is a folder; a file is needed"):
        check_new_file(tmp_path, overwrite=True)
    check_new_file(tmp_path / "file", overwrite=True)
    check_new_file(tmp_path / "new" / "a.png")
    assert names(tmp_path) == ["file"]
