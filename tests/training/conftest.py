import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _quick(without_pictures):
    pass


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


@pytest.fixture(scope="session")
def make_gan():
    """A function (discriminator options, optimizer, eager, options of SRGAN) -> a small compiled `SRGAN`."""

    def make(discriminator=None, optimizer=None, eager=True, **options):
        from keras_mrisr.models import build_generator
        from keras_mrisr.models.discriminators import build_discriminator
        from keras_mrisr.training.srgan import SRGAN, gan_optimizer

        keras.utils.set_random_seed(0)
        discriminator = {"name": "srgan", "filters": 2, **(discriminator or {})}
        if discriminator["name"] == "srgan":
            discriminator["dense"] = 4
        model = SRGAN(
            build_generator("edsr", 2, 1, blocks=1, filters=4),
            build_discriminator(channels=1, patch_size=16, **discriminator),
            **options,
        )
        networks = model.generator, model.discriminator
        # Without tracing a graph: these models are small, and a trace takes seconds.
        model.compile(optimizer or gan_optimizer(*networks, 1e-3, 2e-3), run_eagerly=eager)
        return model

    return make


@pytest.fixture(scope="session")
def batch(smooth_image):
    """Arrays (lr, hr) of 4 patches, 8x8 and 16x16, in [0, 1]."""
    hr = np.stack([smooth_image(16, 16, 1, "float32", seed) for seed in range(4)])
    return hr.reshape(4, 8, 2, 8, 2, 1).mean((2, 4)), hr


@pytest.fixture(scope="session")
def cheap_perceptual():
    """A function that makes a `PerceptualLoss` of one layer, with random weights."""

    def make():
        from keras_mrisr.losses import PerceptualLoss

        return PerceptualLoss("vgg16", "block1_conv1", weights=None)

    return make


@pytest.fixture(scope="session")
def tiny_gan(tiny):
    """A function (overrides) -> the smallest adversarial `RunConfig`, of two stages and every loss."""

    def make(overrides=None):
        base = tiny(
            {
                "training.steps_per_epoch": 3,
                "training.epochs": 2,
                "training.learning_rate": 1e-4,
                "adversarial.on": True,
                "adversarial.pretraining": {"epochs": 1, "learning_rate": 1e-3},
                # Half the layers of "srgan": most of the time goes into tracing the graph.
                "adversarial.discriminator": {
                    "name": "patchgan",
                    "filters": 2,
                    "normalization": "spectral",
                },
                "adversarial.perceptual_weight": 0.1,
                "adversarial.consistency_weight": 0.5,
                "adversarial.r1_weight": 0.1,
                "adversarial.r1_every": 2,
                "adversarial.instance_noise": 0.05,
                "adversarial.noise_steps": 20,
                "adversarial.features": {
                    "network": "vgg16",
                    "layers": "block1_conv1",
                    "weights": None,
                },
            }
        )
        return base.replace(overrides or {})

    return make


@pytest.fixture(scope="session")
def gan_run(tmp_path_factory, tiny_gan):
    """A run of `tiny_gan()` from beginning to end; not to be changed."""
    from keras_mrisr.training import train

    return train(tiny_gan(), tmp_path_factory.mktemp("gan") / "run")
