"""Small volumes and a tiny network for the evaluation of thick slices."""

import nibabel
import numpy as np
import pytest

AFFINE = np.array([[-1.0, 0, 0, 12], [0, 1.0, 0, -11], [0, 0, 1.0, -12], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def head():
    """A function (shape, seed) -> float32 volume: a textured ball in air, 0 to about 1000."""

    def make(shape=(22, 24, 26), seed=0):
        rng = np.random.default_rng(seed)
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        waves = sum(np.cos(grid @ rng.uniform(-1.2, 1.2, 3) + rng.uniform(0, 6)) for _ in range(8))
        ball = np.linalg.norm((grid - (np.array(shape) - 1) / 2) / np.array(shape), axis=-1) < 0.42
        return (ball * (600 + 50 * waves) + rng.uniform(0, 20, shape)).astype("float32")

    return make


@pytest.fixture(scope="session")
def write(head):
    """A function (path, array, affine) that writes NIfTI."""

    def to(path, array=None, affine=AFFINE):
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(head() if array is None else array, affine), path)
        return path

    return to


@pytest.fixture(scope="session")
def scans(tmp_path_factory, head, write):
    """A folder of four subjects' volumes, and a lesion mask that is no volume."""
    root = tmp_path_factory.mktemp("thin") / "scans"
    for number in range(4):
        name = f"sub-0{number}"
        write(root / name / "anat" / f"{name}_T1w.nii.gz", head(seed=number))
    write(root / "sub-00/anat/sub-00_mask.nii.gz", np.ones((22, 24, 26), "uint8"))
    return root


@pytest.fixture(scope="session")
def resolver():
    """A tiny through-plane network, untrained but for a little noise; it trained on sub-00."""
    import keras

    from keras_mrisr.data import Split
    from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
    from keras_mrisr.model_info import ThroughPlaneInfo
    from keras_mrisr.models.through_plane import through_plane

    keras.utils.set_random_seed(0)
    network = through_plane(1, 8, 8)
    kernel = network.get_layer("output_conv").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.005, kernel.shape))
    split = Split(train=("sub-00",), val=(), test=("sub-01", "sub-02", "sub-03")).to_dict()
    info = ThroughPlaneInfo("through-plane", {}, [1.2, 6], [0.5, 1.5], data={"split": split})
    return ThroughPlaneResolver(network, info, "tiny")
