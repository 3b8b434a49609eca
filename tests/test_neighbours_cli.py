"""Neighbouring slices and volumes from end to end, as a user types it."""

import json

import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_image

TINY = [
    "--epochs", 1, "--batch-size", 2, "--patch-size", 16, "--set", "generator.blocks=1",
    "--set", "generator.filters=4", "--set", "training.steps_per_epoch=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def volume_root(tmp_path_factory, smooth_image):
    root = tmp_path_factory.mktemp("volumes")
    for patient in range(4):
        slices = [smooth_image(20, 22, seed=8 * patient + z)[..., 0] for z in range(10)]
        volume = np.stack(slices, axis=2).astype("int16") * 7
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 3, 1])), root / f"sub-0{patient}_T1w.nii.gz")
    return root


def test_neighbouring_slices(mrisr, lgg_root, tmp_path):
    run = tmp_path / "run"
    words = ["--generator", "edsr", "--neighbours", 1, *TINY]
    code, out, err = mrisr("train", "--data", lgg_root, "--out", run, *words)
    assert (code, err) == (0, "")
    info = json.loads((run / "model.json").read_text())
    assert (info["neighbours"], info["channels"]) == (1, 3)
    code, out, err = mrisr("evaluate", "--model", run, "--data", lgg_root)
    assert (code, err) == (0, "")
    assert "FLAIR, tissue" in out
    patient = next(lgg_root.iterdir())
    code, out, err = mrisr("upscale", patient, tmp_path / "sr", "--model", run)
    assert (code, err) == (0, "")
    assert {read_image(path).shape for path in (tmp_path / "sr").iterdir()} == {(64, 64, 3)}


def test_volumes(mrisr, volume_root, tmp_path):
    run = tmp_path / "run"
    task = ["--generator", "srresnet3d", "--scale", "1,1,2", "--degradation", "slice-profile"]
    words = [*task, *TINY, "--set", "training.patch_slices=4"]
    code, out, err = mrisr("train", "--data", volume_root, "--out", run, *words)
    assert (code, err) == (0, "")
    assert "4 volumes of 4 patients" in out and "Cubic interpolation: PSNR" in out
    assert f"Next:\n  mrisr evaluate --model {run} --data {volume_root}\n" in out
    info = json.loads((run / "model.json").read_text())
    assert (info["scale"], info["factors"], info["data"]["kind"]) == (2, [1, 1, 2], "volumes")
    code, out, err = mrisr("evaluate", "--model", run, "--data", volume_root)
    assert (code, err) == (0, "")
    assert "cubic" in out and "grey, whole" in out
    source = next(volume_root.iterdir())
    code, out, err = mrisr("upscale", source, tmp_path / "sr.nii.gz", "--model", run)
    assert (code, err) == (0, "")
    sr, lr = nibabel.load(tmp_path / "sr.nii.gz"), nibabel.load(source)
    assert sr.shape == (20, 22, 20)
    np.testing.assert_allclose(sr.header.get_zooms(), (1, 1, 1.5))
    difference = np.asarray(sr.dataobj).reshape(20, 22, 10, 2).mean(axis=3) - np.asarray(lr.dataobj)
    assert np.abs(difference).mean() < 0.25 * np.asarray(lr.dataobj).std()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--neighbours", "one"], "argument --neighbours: invalid int value: 'one'"),
        (["--neighbours", "-1"], "data.neighbours must be 0 or more. Received: -1"),
        (["--scale", "1,1"], "scale must be one of 2, 3, 4, 8"),
        (["--scale", "1,1,2"], "The generator 'edsr' takes a scale of one number, such as 2"),
        (["--generator", "srresnet3d"], "The generator 'srresnet3d' takes a scale of three factors"),
        (["--scale", "1,1,2", "--generator", "srresnet3d"], "choose slice-profile for volumes"),
        (["--kind", "volumes"], "holds no volumes. Expected .nii or .nii.gz files"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_bad_input(mrisr, image_root, tmp_path, words, message):
    code, _, err = mrisr("train", "--data", image_root, "--out", tmp_path / "run", *words)
    assert code == 2
    assert message in err and len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_volumes_are_inspected_slice_by_slice(mrisr, volume_root, tmp_path):
    code, out, err = mrisr("data", "inspect", volume_root, "--sheet", tmp_path / "sheet.png")
    assert code == 0, err
    assert "Patients: 4, by BIDS subject" in out
    assert (tmp_path / "sheet.png").exists()
