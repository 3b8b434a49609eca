import keras
import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.models.unet import PadToMultiple, segmentation_unet


@pytest.fixture(scope="module")
def small():
    """One more pooling than usual in tests, so that padding matters."""
    keras.utils.set_random_seed(0)
    return segmentation_unet(channels=2, filters=2, depth=3)


def images(height, width, channels=2):
    return np.random.default_rng(0).random((2, height, width, channels), dtype="float32")


def test_the_size_of_buda_et_al():
    """The authors' code has 7,763,041 parameters at the same widths; bias, scale and shift counted alike."""
    unet = segmentation_unet()
    trainable = sum(int(np.prod(weight.shape)) for weight in unet.trainable_weights)
    assert trainable == 7_763_041
    widths = [unet.get_layer(f"down{i}_conv1").filters for i in (1, 2, 3, 4)]
    assert [*widths, unet.get_layer("bottom_conv2").filters] == [32, 64, 128, 256, 512]


def test_contract(small, tmp_path):
    x = images(24, 16)
    logits = small.predict_on_batch(x)
    assert logits.shape == (2, 24, 16, 1)
    assert logits.dtype == np.float32
    assert small.input_shape == (None, None, None, 2)
    assert small.output_shape == (None, None, None, 1)
    assert not any(layer.name.startswith("d_") for layer in small.layers)  # Names of discriminators.
    small.save(tmp_path / "unet.keras")
    again = keras.saving.load_model(tmp_path / "unet.keras", compile=False)
    np.testing.assert_allclose(again.predict_on_batch(x), logits, atol=1e-6)


@pytest.mark.parametrize("size", [(21, 30), (8, 1), (17, 16)])
def test_other_sizes_are_padded_with_zeros(small, size):
    x = images(*size)
    missing = [-edge % 8 for edge in size]
    padded = np.pad(x, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    expected = small.predict_on_batch(padded)[:, : size[0], : size[1]]
    np.testing.assert_allclose(small.predict_on_batch(x), expected, atol=1e-6)


def test_pad_layer_in_eager_and_with_known_sizes():
    layer = PadToMultiple(4)
    assert layer(np.ones((1, 5, 8, 1), "float32")).shape == (1, 8, 8, 1)
    assert layer.compute_output_shape((None, 5, None, 3)) == (None, 8, None, 3)
    assert PadToMultiple.from_config(layer.get_config()).multiple == 4


def test_half_precision_keeps_float32_logits():
    old = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        unet = segmentation_unet(1, 2, 1)
    finally:
        keras.config.set_dtype_policy(old)
    assert unet.output.dtype == "float32"
    assert unet.get_layer("down1_conv1").compute_dtype == "bfloat16"


@pytest.mark.parametrize("options", [{"channels": 0}, {"filters": 1.5}, {"depth": True}, {"depth": -1}])
def test_bad_arguments(options):
    with pytest.raises(MrisrError, match=f"{next(iter(options))} must be an integer of 1 or more"):
        segmentation_unet(**options)
