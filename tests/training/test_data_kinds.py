"""Training of a 2-D generator on other data than HR slices alone."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import write_image
from keras_mrisr.models.storage import load_trained
from keras_mrisr.training import train


def test_slices_of_volumes(tmp_path, tiny, smooth_image):
    """Of each volume the three slices across the thick axis that show something; never the blank one."""
    for patient in range(4):
        slices = [
            smooth_image(32, 36, seed=4 * patient + place)[..., 0].astype("int16") for place in range(3)
        ]
        array = np.stack([np.zeros((32, 36), "int16"), *slices], axis=0)
        path = tmp_path / "scans" / f"sub-{patient}" / "T1.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([4, 1, 1, 1.0])), path)
    config = tiny({"data.root": str(tmp_path / "scans"), "training.epochs": 1, "training.steps_per_epoch": 1})
    generator, info = load_trained(train(config, tmp_path / "run"))
    assert (info.data["kind"], info.channels) == ("volumes", 1)
    assert info.training["train_slices"] == 3 * len(info.data["split"]["train"])
    assert info.metrics["slices"] == 3 * len(info.data["split"]["val"])
    assert generator(np.zeros((1, 5, 4, 1), "float32")).shape == (1, 10, 8, 1)


@pytest.fixture
def pairs(tmp_path, smooth_image):
    """Folders of four HR slices and of LR slices that nearest-neighbour sampling made."""
    for patient in range(4):
        image = smooth_image(32, 36, seed=patient)
        write_image(tmp_path / "hr" / f"p{patient}" / "1.png", image)
        write_image(tmp_path / "lr" / f"p{patient}" / "1.png", image[::2, ::2])
    return tmp_path / "hr", tmp_path / "lr"


def test_pairs_and_a_degradation_are_one_too_many(mrisr, pairs, tmp_path):
    hr, lr = pairs
    words = ["train", "--data", hr, "--out", tmp_path / "run", "--preset", "compact", "--lr-data"]
    code, _, err = mrisr(*words, lr, "--degradation", "bicubic")
    assert code == 2 and "--lr-data is of measured pairs, and bicubic makes LR itself" in err
    code, _, err = mrisr(*words, tmp_path / "nothing")
    assert code == 2 and "nothing does not exist" in err
    assert not (tmp_path / "run").exists()


def test_pairs_of_folders(mrisr, pairs, tmp_path):
    hr, lr = pairs
    keys = {"training.epochs": 1, "training.steps_per_epoch": 1, "training.patch_size": 16}
    keys |= {"training.batch_size": 2, "generator.blocks": 1, "generator.filters": 4}
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    run = tmp_path / "run"
    code, _, err = mrisr("train", "--data", hr, "--lr-data", lr, "--out", run, "--preset", "compact", *sets)
    assert code == 0, err
    info = load_trained(run)[1]
    assert info.degradation == {"name": "paired", "scale": 2}
    code, _, err = mrisr("evaluate", "--model", run, "--data", hr)
    assert code == 2
    assert "evaluate with the degradation paired:lr_root=FOLDER" in err
    words = ["--degradation", f"paired:lr_root={lr}", "--methods", "nearest", "--metrics", "psnr"]
    code, out, err = mrisr("evaluate", "--model", run, "--data", hr, *words)
    assert code == 0, err
    # Repeating pixels shows which LR images were taken: no other degradation gives this score.
    [patient] = info.data["split"]["test"]
    image = np.asarray(Image.open(hr / patient / "1.png")).astype(float)
    error = image - image[::2, ::2].repeat(2, 0).repeat(2, 1)
    assert f"{10 * np.log10(255**2 / np.mean(error**2)):.2f}" in out
