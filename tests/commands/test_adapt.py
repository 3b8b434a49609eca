import json

import nibabel
import numpy as np

from keras_mrisr.data import write_image
from keras_mrisr.model_info import ThroughPlaneInfo
from keras_mrisr.models.storage import save_trained
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.training import adapt as module

SIZE = {"blocks": 1, "filters": 8, "tail": 4}


def test_a_scan_adapts_the_model(mrisr, tmp_path, smooth_image, monkeypatch):
    info = ThroughPlaneInfo("through-plane", SIZE, [1.2, 8.0], [0.6, 1.4])
    save_trained(tmp_path / "thin", through_plane(**SIZE), info, "card")
    monkeypatch.setattr(module, "through_plane_card", lambda info: "card")
    array = np.concatenate([smooth_image(24, 24, seed=seed) for seed in range(8)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1])), tmp_path / "scan.nii.gz")
    words = ["upscale", tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz", "--model", tmp_path / "thin"]
    code, text, err = mrisr(*words, "--adapt", "steps=40", "--save-model", tmp_path / "session")
    assert (code, err) == (0, "")
    assert "Adapted by 40 steps on 6 slices of scan.nii.gz" in text
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (24, 24, 24)
    if "The adapted weights are used" in text:
        about = json.loads((tmp_path / "session/model.json").read_text())["training"]["adapted"]
        assert (about["on"], about["factor"]) == ("scan.nii.gz", 3.0)
    else:
        assert not (tmp_path / "session").exists() and "is not written" in text


def test_bad_places_of_the_model_are_refused_before_the_training(mrisr, tmp_path, smooth_image, listing):
    array = np.concatenate([smooth_image(24, 24, seed=seed) for seed in range(8)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1])), tmp_path / "scan.nii.gz")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    words = [
        "upscale",
        tmp_path / "scan.nii.gz",
        tmp_path / "out.nii.gz",
        "--adapt",
        "steps=1",
        "--overwrite",
    ]
    before = listing(tmp_path)
    for name, message in (
        ("out.nii.gz", "lie in each other"),
        ("scan.nii.gz", "lie in each other"),
        ("mine", "holds thesis.txt"),
        ("file", "is a file"),
        ("file/model", "is not a writable folder"),
    ):
        code, _, err = mrisr(*words, "--save-model", tmp_path / name)
        assert code == 2 and message in err and err.count("\n") == 1, err
        assert listing(tmp_path) == before


def test_images_are_not_adapted_to(mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "in.png", smooth_image(64, 64))
    code, _, err = mrisr("upscale", tmp_path / "in.png", tmp_path / "out.png", "--adapt", "steps=2")
    assert code == 2 and "is no NIfTI or DICOM: leave out --adapt" in err


def test_the_layout_of_no_archive(mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "in.png", smooth_image(64, 64))
    code, _, err = mrisr("upscale", tmp_path / "in.png", tmp_path / "out.png", "--layout", "uid")
    assert code == 2 and "--layout is for archives" in err


def test_bad_budgets(mrisr, tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    words = ["upscale", tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz"]
    for budget in ("0", "-1", "nan", "soon", "steps=0", "steps=1.5", "minutes=5"):
        code, _, err = mrisr(*words, f"--adapt={budget}")
        assert code == 2 and err.count("\n") == 1 and "--adapt takes minutes over 0" in err
    code, _, err = mrisr(*words, "--save-model", tmp_path / "session")
    assert code == 2 and "--save-model keeps what --adapt trains" in err
