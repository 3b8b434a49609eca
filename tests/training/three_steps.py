"""Run by test_adversarial.py under each backend: three steps of the same SRGAN, from the same weights."""

import json
import pathlib
import sys

import keras
import numpy as np

from keras_mrisr.losses import PerceptualLoss
from keras_mrisr.models import build_generator
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.training.srgan import SRGAN, gan_optimizer

file = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)
lr, hr = rng.random((4, 8, 8, 1), "float32"), rng.random((4, 16, 16, 1), "float32")
keras.utils.set_random_seed(0)
model = SRGAN(
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
networks = (model.generator, model.discriminator)
if file.exists():
    with np.load(file) as stored:
        for number, network in enumerate(networks):
            network.set_weights([stored[f"{number}-{i}"] for i in range(len(network.weights))])
else:
    arrays = {
        f"{number}-{i}": value
        for number, network in enumerate(networks)
        for i, value in enumerate(network.get_weights())
    }
    np.savez(file, **arrays)
model.average_generator.set_weights(model.generator.get_weights())
model.compile(gan_optimizer(*networks, 1e-3, 2e-3), run_eagerly=True)
rows = []
for _ in range(3):
    history = model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0).history
    rows.append({name: float(values[0]) for name, values in history.items()})
scores = model.evaluate(lr, hr, verbose=0, return_dict=True)
rows.append({name: float(value) for name, value in scores.items()})
print(json.dumps({"backend": keras.backend.backend(), "rows": rows}))
