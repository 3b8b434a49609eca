import dataclasses

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import write_image
from keras_mrisr.volumes import Volume, read_volume, write_volume


@pytest.fixture
def place(tmp_path, monkeypatch, smooth_image):
    write_image(tmp_path / "slice.png", smooth_image(32, 32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_compare(mrisr, place, models):
    words = ["compare", "slice.png", "--model", f"A={models['grey']}", "--model", models["grey"], "--dpi", 60]
    code, out, err = mrisr(*words, "--out", "new/figure.png", "--region", "4,6,12,12", "--ensemble")
    assert (code, err) == (0, "")
    assert "bicubic: PSNR" in out and "A: PSNR" in out and "grey: PSNR" in out
    assert out.endswith("Wrote new/figure.png\n")
    assert np.asarray(Image.open("new/figure.png")).shape[1] > 400
    code, out, err = mrisr(*words, "--out", "lr.pdf", "--lr", "--methods", "lanczos,nearest")
    assert (code, out, err) == (0, "Wrote lr.pdf\n", "")
    scores = set()
    for degradation in ("kspace", "kspace:window=hamming"):
        code, out, _ = mrisr(*words, "--out", "figure.png", "--degradation", degradation, "--overwrite")
        assert code == 0
        scores.add(out.split("A: PSNR")[0])
    assert len(scores) == 2, "the window changes LR"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "figure.png"], "--model"),
        (["--model", "nothing", "--out", "figure.png"], "No model at nothing"),
        (["--model", "A=grey", "--model", "B=x4", "--out", "figure.png"], "A and B differ in scale"),
        (["--model", "grey", "--out", "figure.png", "--region", "1,2,3"], "four whole numbers X,Y,W,H"),
        (["--model", "grey", "--out", "figure.png", "--region", "20,20,20,20"], "must lie inside"),
        (["--model", "grey", "--out", "slice.png"], "slice.png exists"),
        (["--model", "rgb", "--out", "figure.png"], "slice.png has 1 channels, but"),
    ],
)
def test_bad_input(mrisr, place, models, listing, words, message):
    for name, folder in models.items():
        (place / name).symlink_to(folder)
    before = listing(place)
    code, _, err = mrisr("compare", "slice.png", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err and listing(place) == before


@pytest.fixture
def scan(place, smooth_image):
    """A stack of 16 slices of 24 x 20 pixels, 1.2 mm apart."""
    array = np.stack([smooth_image(24, 20, seed=z)[..., 0] for z in range(16)], axis=-1).astype("int16")
    write_volume(Volume(array, np.diag([1.0, 1.0, 1.2, 1.0])), place / "scan.nii.gz")
    return place / "scan.nii.gz"


def test_volume(mrisr, scan, models):
    """All planes of nearly cubic voxels, one with --plane; beside the file's name in the current folder."""
    code, out, err = mrisr("compare", "scan.nii.gz", "--model", f"mine={models['grey']}")
    assert (code, err) == (0, "") and out.endswith("Wrote scan-compare.png\n")
    words = ["--model", models["grey"], "--out", "axial.png", "--plane", "axial"]
    assert mrisr("compare", "scan.nii.gz", *words)[0] == 0
    three, one = (np.asarray(Image.open(name)) for name in ("scan-compare.png", "axial.png"))
    assert three.shape[1] == one.shape[1] and three.shape[0] > 2 * one.shape[0]
    assert one[..., :3].std() > 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "A=grey", "--model", "B=x4"],
            "shown before and after one --model. Received: A, B",
        ),
        (["--model", "grey", "--lr"], "--lr is for slices, and scan.nii.gz is a volume"),
        (["--model", "grey", "--dpi", "90"], "--dpi is for slices"),
        (["--model", "grey", "--out", "x.txt"], "x.txt is no picture that can be written"),
        (["--model", "rgb"], "1 channel"),
    ],
)
def test_bad_volumes(mrisr, scan, models, listing, words, message):
    for name, folder in models.items():
        scan.with_name(name).symlink_to(folder)
    before = listing(scan.parent)
    code, _, err = mrisr("compare", "scan.nii.gz", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err and listing(scan.parent) == before


def test_a_plane_of_a_slice(mrisr, place, models):
    code, _, err = mrisr("compare", "slice.png", "--model", models["grey"], "--plane", "axial")
    assert (code, err) == (2, "mrisr: error: --plane is for volumes, and slice.png is no volume.\n")


def test_a_volume_with_holes(mrisr, scan, models):
    volume = read_volume(scan)
    array = volume.array.astype("float32")
    array[:2] = np.nan
    write_volume(dataclasses.replace(volume, array=array), scan.with_name("holes.nii.gz"))
    words = ["compare", "holes.nii.gz", "--model", models["grey"], "--out", "figure.png"]
    code, _, err = mrisr(*words)
    assert code == 2 and "NaN" in err
    assert mrisr(*words, "--nan", "zero")[::2] == (0, "")
