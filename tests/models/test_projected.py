import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.features import build_features

LAYERS = ["block1_conv2", "block2_conv2"]


@pytest.fixture(scope="module")
def features():
    return build_features("vgg16", ["block2_conv1", *LAYERS], weights=None)


def images(n=2, channels=1, seed=0):
    return np.random.default_rng(seed).random((n, 16, 16, channels), dtype="float32")


def make(features, **options):
    keras.utils.set_random_seed(0)
    return build_discriminator("projected", 1, 16, features=features, layers=LAYERS, filters=2, **options)


def test_contract(features, tmp_path):
    model = make(features)
    x = images()
    logits = model(x, training=True)
    assert tuple(logits.shape) == (2, 8, 8, 2) == tuple(model.compute_output_shape((2, 16, 16, 1)))
    assert logits.dtype == "float32"
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)
    assert not set(paths) & {variable.path for variable in edsr(blocks=1, filters=2).variables}
    # Neither VGG nor the random projections are trained, and a checkpoint holds no VGG.
    assert all("conv" in path or "logits" in path for path in (v.path for v in model.trainable_variables))
    assert sum(int(np.prod(v.shape)) for v in model.variables) < 1000
    model.save(tmp_path / "d.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "d.keras")(x), model(x))


def test_every_head_learns(features):
    model, x = make(features), tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(model(x, training=True))
    *found, at_image = tape.gradient(loss, [*(v.value for v in model.trainable_variables), x])
    assert all(np.abs(gradient).max() > 0 for gradient in found)
    assert np.abs(at_image).max() > 0


def test_it_is_what_projected_gan_says(features):
    """Written out: projections, mixing from coarse to fine, and kernels divided by their largest singular
    value.
    """
    model, x = make(features), images()
    for _ in range(60):  # Until the power iterations have settled.
        model(x, training=True)

    def kernel(name):
        return np.asarray(model.heads.get_layer(name).get_weights()[0])

    def normal(name):
        matrix = kernel(name).reshape(-1, kernel(name).shape[-1])
        return kernel(name) / np.linalg.svd(matrix, compute_uv=False)[0]

    def head(y, *names, strides):
        for name, stride in zip(names, strides, strict=True):
            y = tf.nn.conv2d(y, normal(name), stride, "SAME") + model.heads.get_layer(name).bias
            y = y if "logits" in name else tf.nn.leaky_relu(y, 0.2)
        return y

    _, fine, coarse = features(x)
    coarse = tf.nn.conv2d(coarse, kernel("d_project0"), 1, "SAME")
    above = tf.image.resize(coarse, (16, 16), "bilinear")
    fine = tf.nn.conv2d(fine, kernel("d_project1"), 1, "SAME") + tf.nn.conv2d(
        above, kernel("d_mixer1"), 1, "SAME"
    )
    expected = [
        head(coarse, "d_conv0", "d_logits0", strides=(1, 1)),
        head(fine, "d_conv1_down2", "d_conv1", "d_logits1", strides=(2, 1, 1)),
    ]
    np.testing.assert_allclose(model(x), np.concatenate(expected, axis=-1), rtol=1e-3, atol=1e-4)


def test_a_conditional_one_sees_lr(features):
    model = make(features, conditional=True)
    x, one, other = images(), images(seed=1), images(seed=2)
    assert np.abs(model([x, one]) - model([x, other])).max() > 1e-4
    with pytest.raises(MrisrError, match="needs LR"):
        model(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["block3_conv3"]}, r"needs layers of its feature network\. Received: \['block3_conv3'\]"),
        ({"layers": []}, "needs layers"),
        ({"filters": 0}, "filters must be"),
        ({"residual": 1}, "residual must be true or false"),
        ({"patch_size": 15}, r"multiple of 2\. Received: patch_size=15"),
    ],
    ids=str,
)
def test_bad_arguments(features, options, message):
    options = {"patch_size": 16, "layers": LAYERS, **options}
    with pytest.raises(MrisrError, match=message):
        build_discriminator("projected", 1, features=features, **options)


def test_it_needs_features():
    with pytest.raises(MrisrError, match="'projected' needs a feature network"):
        build_discriminator("projected", 1, 16)
