"""A user's keras.json may say `channels_first`; this file is also run as a script under one that does."""

import json
import os
import subprocess
import sys

import keras
import numpy as np

from keras_mrisr.degrade import get_degradation
from keras_mrisr.losses import dice_loss
from keras_mrisr.metrics import gmsd, hfen, psnr, ssim
from keras_mrisr.models import build_generator
from keras_mrisr.models.discriminators import DISCRIMINATORS, build_discriminator
from keras_mrisr.models.features import build_features
from keras_mrisr.models.unet import segmentation_unet

GENERATORS = {
    "edsr": {"scale": 2, "smooth_upsampling": True, "residual_scaling": 0.5},
    "srresnet": {"scale": 2, "batch_norm": True},
    "srresnet3d": {"scale": (1, 1, 2)},
}


def results():
    """What every network, degradation and metric makes of images that are neither square nor grey."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    image, volume = rng.random((2, 16, 24, 2), "float32"), rng.random((1, 6, 8, 10, 2), "float32")
    square = rng.random((2, 16, 16, 2), "float32")
    found = {}
    for name, options in GENERATORS.items():
        model = build_generator(name, channels=2, blocks=1, filters=8, global_skip=True, **options)
        # The layers before the global skip begin at zero.
        model.get_layer("output_conv").set_weights(
            [rng.normal(size=weight.shape) for weight in model.get_layer("output_conv").get_weights()]
        )
        found[name] = model(volume if name.endswith("3d") else image)
    eyes = {"network": "vgg16", "weights": None, "layers": ["block1_conv2", "block2_conv2"]}
    for name in DISCRIMINATORS:
        options = {"features": eyes, "layers": eyes["layers"]} if name == "projected" else {}
        found[f"d_{name}"] = build_discriminator(name, 2, 16, filters=4, **options)(square)
    found["unet"] = segmentation_unet(channels=2, filters=4, depth=2)(image)
    found["features"] = build_features("vgg16", weights=None, layers=["block2_conv1"])(image[..., :1])[0]
    for name in ("paper", "kspace"):
        found[name] = get_degradation(name, 2)(image)
    for metric in (psnr, ssim, gmsd):
        found[metric.__name__] = metric(image, image[::-1], 1.0)
    found["hfen"] = hfen(image, image[::-1])
    found["dice_loss"] = dice_loss(image[..., :1] > 0.5, image[..., :1])
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


def test_every_layer_says_channels_last(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first"}))
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    command = [sys.executable, __file__, tmp_path / "found.npz"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for name, expected in results().items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    assert keras.config.image_data_format() == "channels_first"
    np.savez(sys.argv[1], **results())
