import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.data.neighbours import stack_around
from keras_mrisr.degrade import interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.models import GENERATORS, ICNR, build_generator, edsr, srresnet
from keras_mrisr.models.registry import GENERATORS_3D

TINY = {"blocks": 1, "filters": 4}
SCALES = (2, 3, 4, 8)
# Each generator with each option that changes its graph.
VARIANTS = [
    ("srresnet", {}),
    ("srresnet", {"batch_norm": False, "global_skip": True}),
    ("srresnet", {"synchronized": True}),
    ("edsr", {}),
    ("edsr", {"global_skip": False, "residual_scaling": 0.1}),
    ("srresnet", {"smooth_upsampling": True}),
    ("edsr", {"smooth_upsampling": True}),
    ("edsr", {"direct_upsampling": True}),
    ("edsr", {"direct_upsampling": True, "global_skip": False}),
    ("srresnet", {"neighbours": 1}),
    ("edsr", {"neighbours": 2, "direct_upsampling": True}),
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)


def test_every_generator_is_tested():
    assert {name for name, _ in VARIANTS} == set(GENERATORS) - set(GENERATORS_3D)


def batch(height, width, channels, seed=0):
    return np.random.default_rng(seed).random((2, height, width, channels), dtype="float32")


def randomize(model, seed=0):
    """Weights without zeros, so that every path through the network counts."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.0, 0.3, variable.shape))
    return model


def check_generator(tmp_path, name, scale, channels, **options):
    """The contract of a generator; each model test is a call of this."""
    model = randomize(build_generator(name, scale, channels, **TINY, **options))
    assert model.name == name
    inputs = channels * (2 * options.get("neighbours", 0) + 1)
    assert model.input_shape == (None, None, None, inputs)
    for height, width in ((8, 8), (5, 7), (1, 3)):
        y = model(batch(height, width, inputs))
        assert tuple(y.shape) == (2, height * scale, width * scale, channels)
        assert y.dtype == "float32"

    twin = build_generator(name, scale, channels, **TINY, **options)
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in twin.layers], "names must not count up in a process"
    assert len(set(names)) == len(names)
    assert [v.path for v in model.variables] == [v.path for v in twin.variables]
    for layer in model.layers:
        assert not isinstance(layer, keras.layers.Lambda)
        counted = layer.name.replace("_", "").rstrip("0123456789")  # conv2d_3, p_re_lu
        assert counted != type(layer).__name__.lower(), f"{layer.name} was not named"

    x = batch(6, 5, inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(("scale", "channels"), [(2, 1), (3, 3), (4, 5), (8, 1)])
@every_variant
def test_contract(tmp_path, name, options, scale, channels):
    check_generator(tmp_path, name, scale, channels, **options)


@every_variant
def test_float32_output_in_half_precision(tmp_path, name, options):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = randomize(build_generator(name, 2, 1, **TINY, **options))
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("input_conv").compute_dtype == "bfloat16"
    y = model(batch(6, 6, model.input_shape[-1]))
    assert y.dtype == "float32"
    # More levels than half precision has: the last convolution really ran in float32.
    assert np.any(np.asarray(y) != np.asarray(tf.cast(tf.cast(y, "bfloat16"), "float32")))
    assert all(variable.dtype == "float32" for variable in model.variables if "seed" not in variable.path)


@every_variant
def test_every_variable_learns(name, options):
    model = randomize(build_generator(name, 4, 2, **TINY, **options))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(batch(6, 6, model.input_shape[-1]), training=True) - 0.5))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        # A bias before batch normalisation is taken out again: its gradient is zero but for rounding.
        if options.get("batch_norm", name == "srresnet") and re.search(r"_conv\d?/bias", variable.path):
            continue
        assert float(tf.reduce_max(tf.abs(gradient))) > 0, variable.path


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("name", "options"),
    [v for v in VARIANTS if v[1].get("global_skip", v[0] == "edsr") and not v[1].get("neighbours")],
)
def test_untrained_global_skip_is_bicubic(name, options, scale, smooth_image):
    image = smooth_image(12, 10, 2, "float32")
    model = build_generator(name, scale, 2, **TINY, **options)
    y = np.asarray(model(image[np.newaxis]))[0]
    bicubic = interpolate(image, scale, "bicubic")
    inside = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(y[inside, inside], bicubic[inside, inside], atol=2e-6)
    assert np.abs(y - bicubic).max() < 0.2


@pytest.mark.parametrize("direct", [True, False])
def test_untrained_global_skip_is_that_of_the_middle_slice(direct):
    slices = batch(6, 7, 3)[[0, 1, 0]]
    model = edsr(2, 3, **TINY, neighbours=1, direct_upsampling=direct)
    alone = edsr(2, 3, **TINY, direct_upsampling=direct)
    y = model(stack_around(slices, 1, neighbours=1)[np.newaxis])
    np.testing.assert_array_equal(y, alone(slices[1:2]))


def test_the_neighbours_are_seen():
    model = randomize(edsr(2, 1, **TINY, neighbours=1))
    x = batch(6, 6, 3)[:1]
    for channel in range(3):
        changed = x.copy()
        changed[..., channel] += 0.1
        assert np.abs(model(changed) - model(x)).max() > 1e-4


@pytest.mark.parametrize("direct", [True, False])
def test_no_checkerboard_at_the_start(direct):
    model = edsr(2, 1, **TINY, global_skip=False, direct_upsampling=direct)
    y = np.asarray(model(batch(6, 6, 1)))[0, ..., 0]
    if direct:
        blocks = y.reshape(6, 2, 6, 2)
        np.testing.assert_allclose(blocks - blocks[:, :1, :, :1], 0, atol=1e-6)
    else:
        initializer = model.get_layer("upsample1_conv").kernel_initializer
        assert isinstance(initializer, ICNR)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["edsr", "srresnet"])
def test_smooth_upsampling_keeps_the_grid_of_the_shuffle_out(name, scale):
    """Random weights make an even image of an even one: no phase of the shuffle differs from another."""
    even = np.full((1, 24, 24, 1), 0.6, "float32")
    middle = slice(10 * scale, 14 * scale)
    spread = {}
    for smooth in (True, False):
        model = randomize(build_generator(name, scale, 1, **TINY, smooth_upsampling=smooth))
        spread[smooth] = np.ptp(np.asarray(model(even))[0, middle, middle])
    assert spread[True] < 1e-3 * spread[False]


@pytest.mark.parametrize("noise", [0, 2])
@pytest.mark.parametrize("scale", [2, 4])
def test_thin_layers_place_nothing_by_the_grid(scale, noise):
    """Whatever their weights are: of an even image they make an even one, at every period up to the scale."""
    even = np.full((1, 40, 40, 1), 0.6, "float32")
    thin = {"thin_layers": 2, "thin_filters": 4, "thin_noise": noise}
    model = edsr(scale, 1, **TINY, direct_upsampling=True, **thin)
    for layer in model.layers:
        if layer.name.startswith("thin_"):
            layer.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in layer.get_weights()])
    middle = slice(19 * scale, 21 * scale)
    texture = np.asarray(model(even))[0, middle, middle, 0] - 0.6
    assert np.abs(texture).min() > 1e-2, "they must do something"
    for period in range(2, scale + 1):
        phases = texture[: 2 * scale // period * period].reshape(-1, period, 2 * scale).mean((0, 2))
        assert np.ptp(phases) < 1e-4 * np.abs(texture).max()


def test_thin_layers_start_with_adding_nothing():
    plain, grown = edsr(4, 2, **TINY), edsr(4, 2, **TINY, thin_layers=3, thin_filters=4, thin_noise=2)
    for layer in plain.layers:
        grown.get_layer(layer.name).set_weights(layer.get_weights())
    np.testing.assert_array_equal(grown(batch(7, 6, 2)), plain(batch(7, 6, 2)))


def leaning(noise):
    """How much stronger texture is in one direction than in another, at high frequencies: random weights, and
    an image that is smooth but for a grey level of noise."""
    model = edsr(4, 1, **TINY, direct_upsampling=True, thin_layers=1, thin_filters=4, thin_noise=noise)
    plain = edsr(4, 1, **TINY, direct_upsampling=True)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("thin_") and layer.get_weights():
            layer.set_weights([rng.normal(size=w.shape) * (len(w.shape) == 4) for w in layer.get_weights()])
        elif layer.get_weights():
            plain.get_layer(layer.name).set_weights(layer.get_weights())
    lr = np.rint(100 + rng.normal(0, 1, (1, 48, 48, 1))).astype("float32") / 255
    texture = np.asarray(model(lr) - plain(lr))[0, 16:-16, 16:-16, 0]
    power = np.abs(np.fft.fft2(texture - texture.mean())) ** 2
    y, x = np.meshgrid(*[np.abs(np.fft.fftfreq(len(power)))] * 2, indexing="ij")
    parts = [part & (np.hypot(y, x) > 0.25) for part in (y < 0.05, x < 0.05, np.abs(y - x) < 0.05)]
    found = [power[part].mean() for part in parts]
    return max(found) / min(found)


def test_with_noise_texture_leans_towards_neither_rows_nor_columns():
    assert leaning(noise=4) < 4 < 30 < leaning(noise=0)


def test_smooth_upsampling_needs_features_at_full_resolution():
    with pytest.raises(MrisrError, match="choose one"):
        edsr(2, 1, **TINY, direct_upsampling=True, smooth_upsampling=True)


def test_number_of_parameters():
    # The paper's generator as it is usually quoted (with biases, without the moving statistics).
    parameters = sum(int(np.prod(v.shape)) for v in srresnet(2, 3).trainable_variables)
    assert 1.40e6 < parameters < 1.42e6


def test_defaults_are_full_size():
    assert len([layer for layer in edsr().layers if layer.name.endswith("_sum")]) == 18
    assert edsr().input_shape == srresnet().input_shape == (None, None, None, 3)


@pytest.mark.parametrize("builder", [edsr, srresnet], ids=["edsr", "srresnet"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 5},
        {"scale": 1},
        {"scale": 2.0},
        {"scale": "2"},
        {"channels": 0},
        {"blocks": 0},
        {"blocks": True},
        {"filters": 1.5},
        {"neighbours": -1},
        {"neighbours": 1.5},
        {"global_skip": 7},
        {"smooth_upsampling": "x"},
    ],
    ids=str,
)
def test_bad_arguments(builder, arguments):
    key = next(iter(arguments))
    with pytest.raises(MrisrError, match=f"{key} must be .* Received: {key}={arguments[key]!r}"):
        builder(**{**TINY, **arguments})


def test_bad_residual_scaling():
    with pytest.raises(MrisrError, match="residual_scaling must be a number"):
        edsr(**TINY, residual_scaling="x")


def test_registry_rejects():
    with pytest.raises(MrisrError, match=r"Unknown generator \[1\]"):
        build_generator([1], 2, 1)
    with pytest.raises(MrisrError, match=r"Unknown generator 'unet'\. Known: edsr, srresnet"):
        build_generator("unet", 2, 1)
    with pytest.raises(MrisrError, match=r"Unknown option 'depth' of 'edsr'\. Allowed: blocks, filters"):
        build_generator("edsr", 2, 1, depth=3)
    with pytest.raises(MrisrError, match=r"'edsr' takes a scale of one number, .* scale=\(1, 1, 2\)"):
        build_generator("edsr", (1, 1, 2), 1)
    with pytest.raises(MrisrError, match=r"'srresnet3d' takes a scale of three factors, .* scale=2"):
        build_generator("srresnet3d", 2, 1)
    with pytest.raises(MrisrError, match=r"'srresnet3d' takes no neighbouring slices\. Received: 1"):
        build_generator("srresnet3d", (1, 1, 2), 1, neighbours=1)
