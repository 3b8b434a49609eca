import keras
import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny(image_root):
    """A function (overrides) -> the smallest `RunConfig` that trains on `image_root`."""
    from keras_mrisr.config import RunConfig

    base = RunConfig().replace(
        {
            "generator": {"name": "edsr", "blocks": 1, "filters": 4},
            "degradation": {"name": "bicubic"},
            "data.root": str(image_root),
            "training.patch_size": 16,
            "training.batch_size": 4,
            "training.steps_per_epoch": 4,
            "training.epochs": 3,
        }
    )

    def make(overrides=None):
        return base.replace(overrides or {})

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, tiny):
    """A run of `tiny()` from beginning to end; not to be changed."""
    from keras_mrisr.training import train

    return train(tiny(), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def weights():
    """A function (path of a .keras file) -> all its weights as one vector."""

    def load(path):
        model = keras.saving.load_model(path, compile=False)
        return np.concatenate([np.ravel(value) for value in model.get_weights()])

    return load
