import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _quick(without_pictures):
    pass


@pytest.fixture(scope="session")
def lesion_root(tmp_path_factory):
    """Folder of 8 patients with 4 grey slices of 32x32: dim noise, and a bright disc in two of the slices."""
    from keras_mrisr.data import write_image

    root = tmp_path_factory.mktemp("lesions") / "data"
    y, x = np.mgrid[:32, :32]
    for patient in range(8):
        rng = np.random.default_rng(patient)
        centre = rng.integers(9, 23, 2)
        brightness = rng.uniform(0.4, 1)
        for index in range(4):
            disc = (np.hypot(y - centre[0], x - centre[1]) < 6) & (index in (1, 2))
            image = brightness * (30 + 40 * rng.random((32, 32)) + 150 * disc)
            write_image(root / f"p{patient}" / f"{index}.png", image.astype("uint8"))
            write_image(root / f"p{patient}" / f"{index}_mask.png", np.where(disc, 255, 0).astype("uint8"))
    return root


@pytest.fixture(scope="session")
def tiny_config(lesion_root):
    """A function (overrides) -> the smallest `SegmentationConfig` that learns `lesion_root`."""
    from keras_mrisr.segmentation import SegmentationConfig

    base = SegmentationConfig().replace(
        {
            "unet": {"filters": 4, "depth": 1},
            "data.root": str(lesion_root),
            "training.patch_size": 32,
            "training.batch_size": 4,
            "training.steps_per_epoch": 25,
            "training.epochs": 2,
            "training.learning_rate": 0.02,
        }
    )
    return lambda overrides=None: base.replace(overrides or {})


@pytest.fixture(scope="session")
def unet_run(tmp_path_factory, tiny_config):
    """A run of `tiny_config()` from beginning to end; not to be changed."""
    from keras_mrisr.segmentation import train_segmenter

    return train_segmenter(tiny_config(), tmp_path_factory.mktemp("unet") / "run")


@pytest.fixture(scope="session")
def sr_run(tmp_path_factory, save_model, unet_run):
    """An untrained x2 model of one channel that knows the same split as `unet_run`."""
    import json

    from keras_mrisr.data import Split

    split = Split.from_dict(json.loads((unet_run / "split.json").read_text()))
    return save_model(tmp_path_factory.mktemp("sr") / "generator", split=split)
