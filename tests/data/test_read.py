import subprocess
import sys

import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.errors import MrisrError


@pytest.fixture
def lgg(tmp_path):
    folder = tmp_path / "kaggle_3m" / "TCGA_CS_4941_19960909"
    folder.mkdir(parents=True)
    (folder / "TCGA_CS_4941_19960909_1.tif").touch()
    return tmp_path


def test_auto_knows_the_lgg_tree(lgg):
    assert read_dataset(lgg).kind == "lgg"
    assert read_dataset(lgg, kind="images").kind == "images"
    assert read_dataset(lgg, patient_pattern="TCGA_.._([0-9]+)").patients == ("4941",)


def test_auto_falls_back_to_images(tmp_path):
    (tmp_path / "a.png").touch()
    assert read_dataset(tmp_path).kind == "images"


def test_bad_roots_and_kinds(tmp_path, lgg):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").touch()
    (tmp_path / "study").mkdir()
    (tmp_path / "study/IM0001").write_bytes(bytes(128) + b"DICM")
    for arguments, message in (
        ((tmp_path / "none",), "none does not exist"),
        ((tmp_path / "empty",), r"empty holds no images. Expected .*\.tif"),
        ((tmp_path / "file.png",), "is a file"),
        ((tmp_path / "study",), r"study holds DICOM\. Convert the series to NIfTI first"),
        ((tmp_path, "nifty"), "Unknown kind of data 'nifty'. Choose one of auto, lgg, images"),
        ((tmp_path / "empty", "lgg"), "holds no TCGA_"),
        ((lgg, "lgg", "(.)"), "pattern is for kind 'images'"),
    ):
        with pytest.raises(MrisrError, match=message):
            read_dataset(*arguments)


def test_readers_do_not_import_tensorflow():
    code = (
        "import sys, keras_mrisr.data; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
