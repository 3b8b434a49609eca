"""What many tests share. Fixtures only: test files don't import from each other."""

import os

# Before anything imports TensorFlow: the same numbers on machines with and without a GPU, and silence.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest


@pytest.fixture(scope="session")
def smooth_image():
    """A function (height, width, channels, dtype, seed) -> random image with structure at all sizes."""

    def make(height, width, channels=1, dtype="uint8", seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        image = np.zeros((height, width, channels))
        for _ in range(12):
            fy, fx = rng.uniform(-0.12, 0.12, 2)
            phases = rng.uniform(0, 2 * np.pi, channels)
            image += np.cos(2 * np.pi * (fy * y + fx * x)[..., np.newaxis] + phases)
        # Edges, as at a skull.
        radius = np.hypot(y - height / 2, x - width / 2)[..., np.newaxis]
        image += 3 * (radius < 0.35 * min(height, width))
        image = (image - image.min()) / (image.max() - image.min())
        if np.issubdtype(np.dtype(dtype), np.integer):
            image = np.rint(image * np.iinfo(dtype).max)
        return image.astype(dtype)

    return make


@pytest.fixture(scope="session")
def image_root(tmp_path_factory, smooth_image):
    """A folder of 8 patients with 3 grey 8-bit slices of 32x32 each."""
    from keras_mrisr.data import write_image

    root = tmp_path_factory.mktemp("images")
    for patient in range(8):
        (root / f"patient{patient}").mkdir()
        for index in range(3):
            image = smooth_image(32, 32, seed=10 * patient + index)
            write_image(root / f"patient{patient}" / f"{index}.png", image)
    return root


@pytest.fixture(scope="session")
def centroid():
    """A function (image (H, W), scale) -> (y, x) centre of mass in units of pixels `scale` times smaller."""

    def measure(image, scale=1.0):
        image = np.asarray(image, "float64")
        total = image.sum()
        places = [(np.arange(size) + 0.5) * scale - 0.5 for size in image.shape]
        return float((image.sum(axis=1) @ places[0]) / total), float((image.sum(axis=0) @ places[1]) / total)

    return measure
