"""Test patients that could not be scored are found before the training, whatever is trained."""

import shutil

import nibabel
import numpy as np
import pytest

from keras_mrisr.config import RunConfig
from keras_mrisr.data import Split, write_image
from keras_mrisr.errors import DataError
from keras_mrisr.finetune import FinetuneConfig, finetune_features
from keras_mrisr.segmentation import SegmentationConfig, train_segmenter
from keras_mrisr.through_plane_config import ThroughPlaneConfig
from keras_mrisr.training import train
from keras_mrisr.training.through_plane import train_through_plane

SPLIT = Split(("p0", "p1", "p2"), ("p3",), ("p4",))
SHORT = {"training.batch_size": 2, "training.steps_per_epoch": 1, "training.epochs": 1}
TRAININGS = {
    "slices": (
        train,
        RunConfig().replace(
            {**SHORT, "generator": {"name": "edsr", "blocks": 1, "filters": 4}, "training.patch_size": 8}
        ),
    ),
    "volumes": (
        train,
        RunConfig.from_dict(
            {
                "scale": [1, 1, 2],
                "degradation": {"name": "slice-profile"},
                "generator": {"name": "srresnet3d", "blocks": 1, "filters": 4},
                "training": {"patch_size": 8, "patch_slices": 4},
            }
        ).replace(SHORT),
    ),
    "through-plane": (
        train_through_plane,
        ThroughPlaneConfig().replace(
            {
                **SHORT,
                "generator": {"blocks": 1, "filters": 4, "tail": 4},
                "training.factor": [1.5, 2],
                "training.slices": 4,
                "training.width": 8,
            }
        ),
    ),
    "segmentation": (
        train_segmenter,
        SegmentationConfig().replace(
            {**SHORT, "unet": {"filters": 4, "depth": 1}, "training.patch_size": 16}
        ),
    ),
    "features": (
        finetune_features,
        FinetuneConfig().replace(
            {
                **SHORT,
                "network": "vgg16",
                "weights": None,
                "labels": ["tumour"],
                "training.image_size": 32,
            }
        ),
    ),
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory, smooth_image):
    """A folder of 5 patients with a grey volume of 24x24x8, in one file each."""
    root = tmp_path_factory.mktemp("scans")
    for patient in range(5):
        array = smooth_image(24, 24, 8, "int16", seed=patient)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), root / f"p{patient}.nii.gz")
    return root


@pytest.fixture(scope="module")
def slices(tmp_path_factory, smooth_image):
    """A folder of 5 patients with 2 grey slices of 24x24 and a mask of one of them."""
    root = tmp_path_factory.mktemp("slices")
    for patient in range(5):
        for index in range(2):
            write_image(root / f"p{patient}/{index}.png", smooth_image(24, 24, seed=2 * patient + index))
            mask = np.zeros((24, 24, 1), "uint8")
            mask[8:16, 8:16] = 255 * index
            write_image(root / f"p{patient}/{index}_mask.png", mask)
    return root


def refused(task, root, out, message):
    run, config = TRAININGS[task]
    with pytest.raises(DataError, match=message) as caught:
        run(config.replace({"data.root": str(root)}), out, split=SPLIT)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("task", ["slices", "volumes", "through-plane"])
def test_a_volume_of_another_kind(tmp_path, scans, smooth_image, task):
    root = shutil.copytree(scans, tmp_path / "scans")
    start = r"^In the test patient p4: .*p4\.nii\.gz "
    array = smooth_image(24, 24, 24, seed=9).reshape(24, 24, 8, 3)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), root / "p4.nii.gz")
    refused(task, root, tmp_path / "run", start + "is 4-D: it holds 3 volumes.* save it in a file of its own")
    array = array.view([(name, "u1") for name in "RGB"])[..., 0]
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), root / "p4.nii.gz")
    refused(
        task, root, tmp_path / "run", start + "has 3 channels where 1 were expected: train on images of one"
    )


@pytest.mark.parametrize("task", ["slices", "segmentation", "features"])
def test_a_slice_with_more_channels(tmp_path, slices, smooth_image, task):
    root = shutil.copytree(slices, tmp_path / "slices")
    write_image(root / "p4/1.png", smooth_image(24, 24, 3))
    message = r"^In the test patient p4: .*p4/1\.png has 3 channels where 1 were expected: train on images"
    refused(task, root, tmp_path / "run", message)


@pytest.mark.parametrize("task", ["slices", "volumes", "through-plane"])
def test_a_broken_volume(tmp_path, scans, task):
    root = shutil.copytree(scans, tmp_path / "scans")
    nibabel.save(nibabel.Nifti1Image(np.ones((24, 24, 8), "int16"), np.eye(4)), root / "p4.nii.gz")
    refused(task, root, tmp_path / "run", r"^In the test patient p4: .*p4\.nii\.gz is 1 in every voxel")
