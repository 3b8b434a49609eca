import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.models import build_generator, srresnet3d
from keras_mrisr.models.volume_layers import CubicUpsampling

TINY = {"blocks": 1, "filters": 4}


def volume(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


def randomize(model):
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.0, 0.3, variable.shape))
    return model


@pytest.mark.parametrize(
    ("scale", "channels", "options"),
    [((1, 1, 2), 1, {}), ((2, 2, 2), 2, {"global_skip": False}), ([1, 2, 3], 1, {"batch_norm": True})],
)
def test_contract(tmp_path, scale, channels, options):
    model = randomize(build_generator("srresnet3d", scale, channels, **TINY, **options))
    assert model.name == "srresnet3d"
    assert model.input_shape == (None, None, None, None, channels)
    for sizes in ((6, 6, 6), (5, 7, 3), (1, 1, 2)):
        y = model(volume(2, *sizes, channels))
        assert tuple(y.shape) == (2, *(n * f for n, f in zip(sizes, scale, strict=True)), channels)
        assert y.dtype == "float32"

    twin = build_generator("srresnet3d", scale, channels, **TINY, **options)
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in twin.layers] and len(set(names)) == len(names)
    x = volume(1, 4, 5, 3, channels)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "model.keras", compile=False)(x), model(x)
    )

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=True) - 0.5))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        # A bias before batch normalisation is taken out again.
        if not (options.get("batch_norm") and variable.path.endswith("bias")):
            assert float(tf.reduce_max(tf.abs(gradient))) > 0, variable.path


def test_a_convolution_is_one_over_all_three_axes():
    # The reference: the same sum of shifted volumes in NumPy.
    model = randomize(srresnet3d((1, 1, 2), **TINY))
    layer = model.get_layer("input_conv")
    x = volume(1, 5, 4, 6, 1)
    padded = np.pad(x[0, ..., 0], 1)
    expected = sum(
        padded[i : i + 5, j : j + 4, k : k + 6, np.newaxis] * layer.kernel.numpy()[i, j, k, 0]
        for i in range(3) for j in range(3) for k in range(3)
    )  # fmt: skip
    np.testing.assert_allclose(layer(x)[0], expected + layer.bias.numpy(), atol=1e-5)


def test_untrained_is_cubic():
    x = volume(1, 5, 4, 6, 1)
    np.testing.assert_array_equal(srresnet3d((2, 2, 2), **TINY)(x), CubicUpsampling((2, 2, 2))(x))


def test_float32_output_in_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = srresnet3d(**TINY)
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("input_conv").compute_dtype == "bfloat16"
    assert model(volume(1, 4, 4, 4, 1)).dtype == "float32"


def test_number_of_parameters():
    assert srresnet3d().count_params() == 528_001


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 2}, {"scale": (1, 1, 1)}, {"scale": (2, 2)}, {"scale": (1, 1, 5)}, {"filters": 0},
        {"blocks": "2"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments(arguments):
    key, value = next(iter(arguments.items()))
    with pytest.raises(MrisrError) as caught:
        srresnet3d(**{**TINY, **arguments})
    assert f"{key} must be" in str(caught.value) and f"Received: {key}={value!r}" in str(caught.value)
