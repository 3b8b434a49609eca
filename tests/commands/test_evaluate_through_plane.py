"""`mrisr evaluate --task through-plane` from end to end, and what it refuses in one line."""

import json

import nibabel
import numpy as np
import pytest

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model `run`, a volume `thin.nii.gz`, a thick one, and an empty folder."""
    import keras

    from keras_mrisr.models.through_plane import through_plane

    root = tmp_path_factory.mktemp("place")
    keras.utils.set_random_seed(0)
    (root / "run").mkdir()
    through_plane(1, 8, 8).save(root / "run/generator.keras")
    info = {"task": "through-plane", "generator": {}, "factors": [1.2, 6], "thickness": [0.5, 1.5]}
    (root / "run/model.json").write_text(json.dumps(info))
    x, y, z = np.mgrid[:20, :20, :24]
    ball = (x - 9.5) ** 2 + (y - 9.5) ** 2 + (z - 11.5) ** 2 < 80
    array = (ball * (500 + 90 * np.cos(x) * np.cos(0.7 * z + 0.2 * y))).astype("float32")
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), root / "thin.nii.gz")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 4, 1])), root / "thick.nii.gz")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


START = ("evaluate", "--task", "through-plane")


def test_a_report_of_thick_slices(mrisr, here, tmp_path):
    words = ["--data", "thin.nii.gz", "--model", "run", "--factor", 4, 2.5, "--gap", 0.2, "--noise-snr", 60]
    words += ["--out", tmp_path / "scores", "--report", tmp_path / "scores/page.html"]
    code, out, err = mrisr(*START, *words)
    assert (code, err) == (0, "")
    for text in ("thick slices x4, x2.5, gaussian profile, slices of 0.8 of their spacing", "x4, volume",
                 "x2.5, sagittal", "cubic", "SNR 60", f"Wrote {tmp_path / 'scores'}\n"):  # fmt: skip
        assert text in " ".join(out.split("\n")) or text in out
    stored = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert stored["protocol"]["degradation"]["gap"] == 0.2
    assert (tmp_path / "scores/figure.png").is_file() and (tmp_path / "scores/page.html").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "thin.nii.gz", "--model", "kspace-x2"), "is no model that makes thick slices thin"),
        (("--data", "thin.nii.gz", "--include", "*.nii"), "--include and --exclude are for a folder"),
        (("--data", "thin.nii.gz", "--model", "run", "--factor", "9"), "--factor must be 1.2 to 8"),
        (("--data", "thin.nii.gz", "--model", "run", "--factor", "7"), "factors of 1.2 to 6, not 7"),
        (("--data", "thick.nii.gz", "--model", "run"), "is itself thick: 4 mm"),
        (("--data", "empty", "--model", "run"), "holds no volumes"),
        (("--data", "none", "--model", "run"), "none does not exist"),
        (("--data", "thin.nii.gz", "--model", "run", "--mask", "no.nii"), "no.nii does not exist"),
        (("--data", "thin.nii.gz", "--model", "run", "--metrics", "psnr"), "--metrics is no option"),
        (("--data", "thin.nii.gz", "--gap", "0.2", "--slice-thickness", "3", "--model", "run"), "--gap must"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(mrisr, here, tmp_path, words, message):
    code, _, err = mrisr(*START, *words, "--out", tmp_path / "out")
    assert code == 2 and err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_options_of_thick_slices_need_their_task(mrisr, here):
    code, _, err = mrisr("evaluate", "--data", "thin.nii.gz", "--model", "run", "--factor", "4")
    assert code == 2
    assert "--factor is no option of --task slices. Give --task through-plane, too." in err
