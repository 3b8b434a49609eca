"""`mrisr evaluate` with several models and with predictions of another program, from end to end."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_mrisr.data import Split, read_image, write_image

SPLIT = Split(train=("p0",), val=("p1",), test=("p2", "p3", "p4", "p5"))


@pytest.fixture(scope="module")
def root(tmp_path_factory, smooth_image):
    """A folder with `data` (6 patients of 2 grey slices) and `tool` (images of all of them)."""
    root = tmp_path_factory.mktemp("place")
    for patient in range(6):
        for index in range(2):
            image = smooth_image(32, 32, seed=10 * patient + index)
            write_image(root / f"data/p{patient}/{index}.png", image)
            write_image(root / f"tool/p{patient}/{index}.tif", 255 - image)
    return root


@pytest.fixture(scope="module")
def place(root, save_model):
    for name, scale in (("one", 2), ("two", 2), ("four", 4)):
        save_model(root / name, scale, 1, SPLIT)
    write = (root / "two/history.csv").write_text
    write("epoch,loss,val_psnr\n1,0.5,30\n2,0.4,31\n")
    return root


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def test_models_and_predictions_in_one_report(mrisr, here, tmp_path):
    words = [
        "evaluate",
        "--data",
        "data",
        "--model",
        "one",
        "--model",
        "second=two",
        "--predictions",
        "tool=tool",
    ]
    words += ["--out", tmp_path / "scores", "--report", tmp_path / "page.html", "--metrics", "psnr,ssim,hfen"]
    words += ["--methods", "bicubic", "--cases", 2]
    code, out, err = mrisr(*words)
    assert (code, err) == (0, "")
    for text in ("method one: one\n", "method second: two\n", "method tool: predictions in tool\n"):
        assert text in out
    assert "second - one" in out and "HFEN" in out
    assert f"Wrote {tmp_path / 'scores'}\n" in out and f"Wrote {tmp_path / 'page.html'}\n" in out
    stored = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert list(stored["protocol"]["methods"]) == ["bicubic", "one", "second", "tool"]
    assert stored["protocol"]["patients"] == list(SPLIT.test)
    page = (tmp_path / "page.html").read_text()
    assert 'id="training"' in page and page.count("<article") == 2
    # The same again needs --overwrite, for either.
    code, _, err = mrisr(*words)
    assert code == 2 and "page.html exists" in err
    assert mrisr(*words, "--overwrite")[::2] == (0, "")


def test_several_models_write_nothing_unless_told_where(mrisr, here, listing):
    before = listing(here)
    code, out, err = mrisr(
        "evaluate", "--data", "data", "--model", "one", "--model", "two", "--metrics", "psnr", "--limit", 2
    )
    assert (code, err) == (0, "")
    assert "Wrote" not in out and listing(here) == before


def test_predictions_alone(mrisr, here):
    code, out, err = mrisr(
        "evaluate", "--data", "data", "--predictions", "tool=tool", "--scale", 2, "--degradation", "bicubic",
        "--metrics", "nrmse",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "12 slices of 6 patients" in out and "made elsewhere" in out


def test_torchvision_is_loaded_before_tensorflow(here, tmp_path):
    """Builds of it for GPUs crash where TensorFlow was loaded before. Here a module of its name looks."""
    script = "import pathlib, sys; pathlib.Path('seen').write_text(str('tensorflow' in sys.modules))"
    (tmp_path / "torchvision.py").write_text(script)
    words = ["evaluate", "--model", str(here / "one"), "--data", str(here / "data"), "--metrics", "dists"]
    words += ["--out", str(tmp_path / "out")]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "keras_mrisr", *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "'dists' needs the weights of VGG16" in done.stderr
    assert (tmp_path / "seen").read_text() == "False"


def test_options_of_a_degradation(mrisr, here):
    words = ["evaluate", "--data", "data", "--model", "one", "--limit", 1, "--metrics", "psnr"]
    degradations = []
    for options in ("", ":window=tukey,alpha=0.5", ":window=hamming"):
        out = here / f"out{options}"
        code, _, err = mrisr(*words, "--degradation", f"kspace{options}", "--out", out)
        assert code == 0, err
        degradations.append(json.loads((out / "metrics.json").read_text())["protocol"]["degradation"])
    assert [(d["window"], d["alpha"]) for d in degradations] == [
        ("none", None),
        ("tukey", 0.5),
        ("hamming", None),
    ]


def test_features_are_named_in_the_protocol(mrisr, here, tmp_path):
    from keras_mrisr.models.vgg import vgg, write_weights

    write_weights(vgg("vgg16", "block1_conv2"), tmp_path / "vgg.h5")
    code, out, err = mrisr(
        "evaluate", "--data", "data", "--model", "A=one", "--model", "two", "--limit", 1, "--metrics",
        "psnr,features", "--features", f"vgg16:{tmp_path / 'vgg.h5'}:block1_conv2",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "VGG16 distance: mean squared difference of features / 12.75 of vgg16 block1_conv2" in out


def lose(tool):
    (tool / "p3/1.tif").unlink()


def add(tool):
    write_image(tool / "p9/0.tif", np.zeros((32, 32), "uint8"))


def shrink(tool):
    write_image(tool / "p3/1.tif", read_image(tool / "p3/1.tif")[:16, :16])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing to evaluate: give --model RUN"),
        (["--model", "one", "--model", "four"], "one and four differ in scale (x2 and x4)"),
        (["--model", "one", "--model", "x=one", "--model", "x=two"], "Two are called 'x'"),
        (["--model", "one", "--model", "bicubic=two"], "Two methods are called 'bicubic'"),
        (["--model", "=one"], "Expected NAME=PATH"),
        (["--model", "one", "--metrics", "psnr,beauty"], "Unknown metric 'beauty'"),
        (["--model", "one", "--features", "vgg16"], "Expected NETWORK:WEIGHTS"),
        (["--model", "one", "--features", "vgg16:no.h5"], "No feature weights at no.h5"),
        (["--model", "one", "--report", "page.pdf"], "page.pdf does not end in .html"),
        (["--model", "one", "--report", "data/p0/0.png/p.html"], "Cannot write"),
        (["--model", "one", "--methods", "linear"], "Unknown interpolation 'linear'"),
        (["--model", "one", "--degradation", "fog"], "Unknown degradation 'fog'"),
        (["--model", "one", "--degradation", "kspace:window"], "Expected KEY=VALUE"),
        (["--model", "one", "--degradation", "kspace:window=hat"], "window must be one of"),
        (["--model", "one", "--degradation", "kspace:width=2"], "Unknown option 'width'"),
        (["--model", "one", "--degradation", "kspace:scale=4"], "'scale' is no option"),
        (["--predictions", "tool=tool"], "give the scale and the degradation"),
        (["--model", "one", "--predictions", "tool=nothing"], "nothing does not exist"),
        (["--model", "one", "--predictions", "one=tool"], "Two methods are called 'one'"),
        (["--model", "one", "--predictions", "tool=data/p0/0.png"], "is not a folder"),
        (
            [lose, "--model", "one", "--predictions", "tool=tool"],
            "tool lacks 1 of 8 predictions, such as p3/1",
        ),
        ([add, "--model", "one", "--predictions", "tool=tool"], "p9/0.tif belongs to no slice of data"),
        ([shrink, "--model", "one", "--predictions", "tool=tool"], "p3/1.tif is 16x16x1, its original"),
    ],
)
def test_bad_input(mrisr, here, tmp_path, monkeypatch, listing, words, message):
    import shutil

    if words and callable(words[0]):
        spoil, *words = words
        for name in ("data", "one", "tool"):
            shutil.copytree(here / name, tmp_path / name)
        spoil(tmp_path / "tool")
        monkeypatch.chdir(tmp_path)
    place = tmp_path if (tmp_path / "tool").exists() else here
    before = listing(place)
    if "--report" not in words:
        words = [*words, "--report", "page.html"]
    code, _, err = mrisr("evaluate", "--data", "data", "--out", "scores", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
    assert listing(place) == before
