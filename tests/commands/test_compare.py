import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import write_image


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
