"""Run by test_adversarial.py under each backend: three steps of the same SRGANs, from the same weights."""

import json
import pathlib
import sys

import keras
import numpy as np

from keras_mrisr.losses import PerceptualLoss
from keras_mrisr.models import build_generator
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.features import build_features
from keras_mrisr.training.srgan import SRGAN, gan_optimizer

file = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)
lr, hr = rng.random((4, 8, 8, 1), "float32"), rng.random((4, 16, 16, 1), "float32")


def usual():
    return SRGAN(
        build_generator("edsr", 2, 1, blocks=1, filters=4),
        build_discriminator("srgan", 1, 16, filters=2, dense=4, normalization="spectral"),
        weights={"perceptual": 0.1, "adversarial": 0.1, "consistency": 0.5, "r1": 0.5},
        perceptual=PerceptualLoss("vgg16", "block1_conv1", weights=None),
        degradation={"name": "bicubic", "scale": 2},
        adversarial_kind="relativistic_average",
        discriminator_steps=2,
        r1_every=2,
        ramp=2,
    )


def projected():
    features = build_features("vgg16", "block1_conv1", weights=None)
    return SRGAN(
        build_generator("edsr", 2, 1, blocks=1, filters=4, thin_layers=1, thin_filters=2),
        build_discriminator(
            "projected", 1, 16, features=features, layers=features.layers, filters=2, conditional=True
        ),
        weights={"perceptual": 0.1},
        perceptual=PerceptualLoss(features),
        degradation={"name": "bicubic", "scale": 2},
        adversarial_kind="hinge",
        consistency=True,
        balance=0.1,
    )


def three_steps(model, name):
    networks = (model.generator, model.discriminator)
    stored = file.with_name(f"{name}-{file.name}")
    if stored.exists():
        with np.load(stored) as weights:
            for number, network in enumerate(networks):
                network.set_weights([weights[f"{number}-{i}"] for i in range(len(network.weights))])
    else:
        arrays = {
            f"{number}-{i}": value
            for number, network in enumerate(networks)
            for i, value in enumerate(network.get_weights())
        }
        np.savez(stored, **arrays)
    model.average_generator.set_weights(model.generator.get_weights())
    model.compile(gan_optimizer(*networks, 1e-3, 2e-3), run_eagerly=True)
    for _ in range(3):
        history = model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0).history
        yield {name: float(values[0]) for name, values in history.items()}
    scores = model.evaluate(lr, hr, verbose=0, return_dict=True)
    yield {name: float(value) for name, value in scores.items()}


rows = []
for make in (usual, projected):
    keras.utils.set_random_seed(0)
    rows.extend(three_steps(make(), make.__name__))
print(json.dumps({"backend": keras.backend.backend(), "rows": rows}))
