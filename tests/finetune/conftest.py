import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _quick(without_pictures):
    pass


@pytest.fixture(scope="module", autouse=True)
def small_vgg():
    """VGG with few filters: 15 million weights would make every backup of a run 160 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_mrisr.models.vgg._FILTERS", (8, 8, 16, 16, 32))
        yield


@pytest.fixture(scope="session")
def toy_slice():
    """A function (rng, tumour) -> RGB slice (32, 32, 3) and mask: each channel has a texture of its own."""

    def make(rng, tumour):
        y, x = np.mgrid[:32, :32]
        waves = np.sin(0.5 * y + rng.uniform(0, 6)) * np.sin(0.5 * x + rng.uniform(0, 6))
        checks = (y // 2 + x // 2) % 2 - 0.5
        image = 90 + np.stack([0 * waves, 60 * waves, 90 * checks], axis=-1) + rng.normal(0, 3, (32, 32, 3))
        mask = np.zeros((32, 32, 1), "uint8")
        if tumour:
            top, left = rng.integers(4, 16, 2)
            mask[top : top + 12, left : left + 12] = 255
            image = np.where(mask > 0, 250 - 0.2 * image, image)
        return np.clip(image, 0, 255).astype("uint8"), mask

    return make


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory, toy_slice):
    """A folder of 14 patients with 4 slices and masks each; half of the slices show a tumour."""
    from keras_mrisr.data import write_image

    root = tmp_path_factory.mktemp("toy") / "slices"
    rng = np.random.default_rng(0)
    for patient in range(14):
        for index in range(4):
            image, mask = toy_slice(rng, index % 2)
            write_image(root / f"p{patient}" / f"{index}.png", image)
            write_image(root / f"p{patient}" / f"{index}_mask.png", mask)
    return root


@pytest.fixture(scope="session")
def toy_dataset(toy_root):
    from keras_mrisr.data import read_dataset

    return read_dataset(toy_root)


@pytest.fixture(scope="session")
def toy_config(toy_root):
    """A function (overrides) -> the smallest `FinetuneConfig` that learns on `toy_root`."""
    from keras_mrisr.finetune import FinetuneConfig

    base = FinetuneConfig().replace(
        {
            "network": "vgg16",
            "weights": None,
            "data.root": str(toy_root),
            "trainable": ["block3", "block4", "block5"],
            "data.validation_fraction": 0.2,
            "data.test_fraction": 0.25,
            "data.split_seed": 1,  # 6 patients train, 4 validate, 4 test.
            "training.epochs": 3,
            "training.steps_per_epoch": 20,
            "training.smallest_crop": 0.75,
            "training.image_size": 32,
            "training.learning_rate": 2e-3,
        }
    )

    def make(overrides=None):
        return base.replace(overrides or {})

    return make
