import os
import shutil
import sys
import types

import pytest

from keras_mrisr.data.download import LGG_HANDLE, download_lgg
from keras_mrisr.errors import MrisrError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A kagglehub that finds a tiny tree in its cache; tests may change what it does."""
    folder = tmp_path / "cache" / "kaggle_3m" / "TCGA_CS_4941_19960909"
    folder.mkdir(parents=True)
    (folder / "TCGA_CS_4941_19960909_1.tif").touch()

    def dataset_download(handle):
        assert handle == LGG_HANDLE
        return str(tmp_path / "cache")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=dataset_download))
    return tmp_path / "cache"


def test_the_tree_arrives_whole(cache, tmp_path):
    dataset = download_lgg(tmp_path / "lgg")
    assert dataset.patients == ("TCGA_CS_4941_19960909",)
    assert os.listdir(tmp_path / "lgg") == ["kaggle_3m"]
    with pytest.raises(MrisrError, match="exists"):
        download_lgg(tmp_path / "lgg")
    assert len(download_lgg(tmp_path / "lgg", overwrite=True)) == 1


def test_without_kagglehub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MrisrError, match=r"pip install kagglehub.*by hand"):
        download_lgg(tmp_path / "lgg")


def test_network_failure_is_one_line(cache, tmp_path, monkeypatch):
    def fail(handle):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(sys.modules["kagglehub"], "dataset_download", fail)
    with pytest.raises(MrisrError, match=r"failed \(no route to host\)") as caught:
        download_lgg(tmp_path / "lgg")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["cache"]


def test_something_else_came(cache, tmp_path):
    shutil.rmtree(cache / "kaggle_3m")
    with pytest.raises(MrisrError, match="holds no TCGA_"):
        download_lgg(tmp_path / "lgg")


def test_a_failed_copy_leaves_nothing(cache, tmp_path, monkeypatch):
    def fail(source, target):
        os.mkdir(target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", fail)
    with pytest.raises(MrisrError, match="No space left on device"):
        download_lgg(tmp_path / "lgg")
    assert os.listdir(tmp_path) == ["cache"]
