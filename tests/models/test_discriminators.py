import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.models.discriminators import NORMALIZATIONS, build_discriminator
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.spectral import SpectralConv2D, SpectralDense

TINY = {"srgan": {"filters": 2, "dense": 4}, "patchgan": {"filters": 2}, "unet": {"filters": 2}}
every_variant = pytest.mark.parametrize(
    ("name", "normalization"), [(name, norm) for name in TINY for norm in NORMALIZATIONS]
)


def tiny(name, channels=1, patch_size=16, **options):
    return build_discriminator(name, channels, patch_size, **{**TINY[name], **options})


def batch(size=16, channels=1, n=2, seed=0):
    return np.random.default_rng(seed).random((n, size, size, channels), dtype="float32")


def relative(model):
    return [variable.path for variable in model.variables]


@every_variant
def test_contract(tmp_path, name, normalization):
    model = tiny(name, channels=2, normalization=normalization)
    x = batch(channels=2)
    logits = model(x, training=True)
    assert tuple(logits.shape) == {"srgan": (2, 1), "patchgan": (2, 2, 2, 1), "unet": (2, 16, 16, 1)}[name]
    assert logits.dtype == "float32"
    names = [layer.name for layer in model.layers]
    assert all(name.startswith("d_") for name in names) and len(set(names)) == len(names)
    paths = relative(model)
    assert len(set(paths)) == len(paths)
    assert paths == relative(tiny(name, channels=2, normalization=normalization)), "must not count up"
    assert not set(paths) & set(relative(edsr(blocks=1, filters=2)))

    model.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


@every_variant
def test_every_variable_learns_and_r1_has_a_gradient(name, normalization):
    model = tiny(name, normalization=normalization)
    x = tf.constant(batch())
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            logits = model(x, training=True)
            loss = tf.reduce_sum(logits)
        penalty = tf.reduce_sum(tf.square(inner.gradient(loss, x)))
        loss = loss + penalty
    variables = [v.value for v in model.trainable_variables]
    for gradient, variable in zip(outer.gradient(loss, variables), model.trainable_variables, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        if not variable.path.endswith("bias"):
            assert np.any(gradient), variable.path


@every_variant
def test_mixed_precision(name, normalization):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tiny(name, normalization=normalization)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("d_lrelu2" if name != "unet" else "d_lrelu_up2").compute_dtype == "float16"
    logits = model(batch(), training=True)
    assert logits.dtype == "float32" and np.isfinite(logits).all()


def test_srgan_has_the_layers_of_the_paper():
    model = build_discriminator("srgan", 3, 32)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [conv.filters for conv in convs] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [conv.strides[0] for conv in convs] == [1, 2] * 4
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == 7
    assert model.get_layer("d_dense").units == 1024
    # 96 pixels instead of 32 only widen the dense layer's input, from 2 x 2 to 6 x 6 of 512.
    assert model.count_params() + (36 - 4) * 512 * 1024 == pytest.approx(23.6e6, rel=0.005)


@pytest.mark.parametrize("patch_size", [16, 24, 33])
def test_srgan_takes_any_patch_of_16_or_more(patch_size):
    assert tiny("srgan", patch_size=patch_size)(batch(patch_size)).shape == (2, 1)


def test_a_logit_of_patchgan_sees_70_pixels():
    model = tiny("patchgan", normalization="none")
    x = tf.Variable(batch(128, n=1))
    with tf.GradientTape() as tape:
        loss = model(x)[0, 8, 8, 0]
    seen = np.any(tape.gradient(loss, x).numpy()[0, ..., 0], axis=0)
    assert np.ptp(np.flatnonzero(seen)) + 1 == 70


@pytest.mark.parametrize("name", ["patchgan", "unet"])
def test_maps_take_any_multiple_of_8(name):
    model = build_discriminator(name, 1, **TINY[name])
    factor = {"patchgan": 8, "unet": 1}[name]
    x = np.zeros((1, 8, 40, 1), "float32")
    assert tuple(model(x).shape) == (1, 8 // factor, 40 // factor, 1)


def test_spectral_kernel_comes_to_norm_one():
    x = batch(channels=4)
    conv = SpectralConv2D(6, 3, kernel_initializer="he_normal")
    dense = SpectralDense(5, kernel_initializer="he_normal")
    for layer in (conv, dense):
        layer(x)
        before = np.array(layer.kernel)
        for _ in range(100):
            layer(x, training=True)
        np.testing.assert_array_equal(layer.kernel, before, err_msg="the kernel itself is the optimizer's")
        kernel = keras.ops.convert_to_numpy(layer.normalized_kernel())
        largest = np.linalg.svd(before.reshape(-1, before.shape[-1]), compute_uv=False)[0]
        np.testing.assert_allclose(kernel, before / largest, rtol=1e-3, atol=1e-6)


def test_spectral_layers_compute_as_the_plain_ones():
    x = batch(channels=4)
    for cls, plain_cls, arguments in (
        (SpectralConv2D, keras.layers.Conv2D, (6, 4, 2, "same")),
        (SpectralDense, keras.layers.Dense, (5,)),
    ):
        layer, plain = cls(*arguments), plain_cls(*arguments)
        layer(x), plain(x)
        layer.bias.assign(np.arange(layer.bias.shape[0]))
        plain.set_weights([layer.normalized_kernel(), layer.bias])
        np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-6)


def test_spectral_start_vector_moves_in_training_only():
    layer = SpectralDense(3)
    x = np.ones((2, 4), "float32")
    layer(x)
    before = np.array(layer.vector_u)
    layer(x, training=False)
    np.testing.assert_array_equal(layer.vector_u, before)
    layer(x, training=True)
    assert not np.array_equal(layer.vector_u, before)


def test_spectral_kernel_of_zeros_stays_finite():
    layer = SpectralDense(3, kernel_initializer="zeros")
    assert not np.any(layer(np.ones((2, 4), "float32"), training=True))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("stylegan", {}, "Unknown discriminator 'stylegan'. Known: patchgan, projected, srgan, unet"),
        ("srgan", {"blocks": 3}, "Unknown option 'blocks' of 'srgan'. Allowed: filters, dense"),
        ("srgan", {"patch_size": 15}, "smallest HR patch is 16"),
        ("srgan", {"patch_size": None}, "patch_size must be an integer"),
        ("patchgan", {"patch_size": 20}, "multiple of 8. Received: patch_size=20"),
        ("unet", {"patch_size": 4}, "multiple of 8. Received: patch_size=4"),
        ("unet", {"filters": 0}, "filters must be an integer of 1 or more"),
        ("patchgan", {"channels": 1.0}, "channels must be"),
        ("srgan", {"normalization": "layer"}, "normalization must be one of batch, spectral, none"),
    ],
)
def test_bad_arguments(name, arguments, message):
    with pytest.raises(MrisrError, match=re.escape(message)) as error:
        build_discriminator(name, **{"channels": 1, "patch_size": 32, **arguments})
    assert "\n" not in str(error.value)
