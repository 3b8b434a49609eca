import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import (
    discriminator_loss,
    generator_loss,
    probability,
    r1_penalty_from_gradients,
)
from keras_mrisr.losses.adversarial import KINDS

SHAPES = [(5, 1), (2, 3, 4, 1)]


def logits(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 2, shape).astype("float32"), rng.normal(-1, 2, shape).astype("float32")


def log_sigmoid(x):
    return -np.log1p(np.exp(-np.asarray(x, "float64")))


@pytest.mark.parametrize("shape", SHAPES)
def test_bce(shape):
    real, fake = logits(shape)
    p_real, p_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    expected = -np.mean(np.log(p_real)) - np.mean(np.log(1 - p_fake))
    np.testing.assert_allclose(discriminator_loss(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(generator_loss(None, fake), -np.mean(np.log(p_fake)), rtol=1e-5)

    smooth = -np.mean(0.9 * np.log(p_real) + 0.1 * np.log(1 - p_real)) - np.mean(np.log(1 - p_fake))
    np.testing.assert_allclose(discriminator_loss(real, fake, label_smoothing=0.1), smooth, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_relativistic_pairs(shape):
    real, fake = logits(shape)
    d = discriminator_loss(real, fake, "relativistic")
    g = generator_loss(real, fake, "relativistic")
    np.testing.assert_allclose(d, -np.mean(log_sigmoid(real - fake)), rtol=1e-5)
    np.testing.assert_allclose(g, -np.mean(log_sigmoid(fake - real)), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_relativistic_average(shape):
    real, fake = logits(shape)
    up, down = real - fake.mean(), fake - real.mean()
    d = -np.mean(log_sigmoid(up)) - np.mean(log_sigmoid(-down))
    g = -np.mean(log_sigmoid(-up)) - np.mean(log_sigmoid(down))
    np.testing.assert_allclose(discriminator_loss(real, fake, "relativistic_average"), d, rtol=1e-5)
    np.testing.assert_allclose(generator_loss(real, fake, "relativistic_average"), g, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_hinge(shape):
    real, fake = logits(shape)
    d = np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake))
    np.testing.assert_allclose(discriminator_loss(real, fake, "hinge"), d, rtol=1e-5)
    np.testing.assert_allclose(generator_loss(None, fake, "hinge"), -np.mean(fake), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_stay_finite(kind):
    for value in (1e4, -1e4):
        real, fake = tf.Variable([[value]]), tf.Variable([[-value]])
        with tf.GradientTape(persistent=True) as tape:
            d, g = discriminator_loss(real, fake, kind), generator_loss(real, fake, kind)
        for loss in (d, g):
            assert np.isfinite(loss)
            gradients = [x for x in tape.gradient(loss, [real, fake]) if x is not None]
            assert gradients and np.isfinite(gradients).all()
        # The side that loses is told so, even from far away: bce must not saturate for the generator.
        lost = d if value < 0 else g
        assert lost >= 1e4 and np.any(tape.gradient(lost, fake))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits(kind):
    real, fake = (x.astype("float16") for x in logits((4, 1)))
    loss = discriminator_loss(real, fake, kind)
    assert loss.dtype == generator_loss(real, fake, kind).dtype == "float32"
    expected = discriminator_loss(real.astype("float32"), fake.astype("float32"), kind)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_r1_penalty():
    gradients = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype("float32")
    expected = np.mean([np.linalg.norm(g) ** 2 for g in gradients.astype("float64")])
    np.testing.assert_allclose(r1_penalty_from_gradients(gradients), expected, rtol=1e-5)


def test_probability_of_each_image():
    map_of_logits = np.zeros((2, 2, 2, 1), "float32")
    map_of_logits[1] = [[[1e4], [1e4]], [[-1e4], [1e4]]]
    np.testing.assert_allclose(probability(map_of_logits), [0.5, 0.75])
    np.testing.assert_allclose(probability(np.array([[0.0], [-1e4]], "float32")), [0.5, 0.0])


def test_unknown_sizes_pair():
    signature = [tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, 2, 2, 1))]
    step = tf.function(lambda a, b: discriminator_loss(a, b, "relativistic"), input_signature=signature)
    np.testing.assert_allclose(step(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))), np.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "wgan"}, "Unknown adversarial loss 'wgan'. Known: bce, relativistic"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in"),
        ({"label_smoothing": 0.1, "kind": "relativistic"}, "0 unless the kind is 'bce'"),
        ({"fake": np.zeros(4, "float32"), "kind": "relativistic"}, "pairs need logits of one shape"),
    ],
)
def test_bad_arguments(arguments, message):
    values = {"real": np.zeros((4, 1), "float32"), "fake": np.zeros((4, 1), "float32"), **arguments}
    with pytest.raises(MrisrError, match=message):
        discriminator_loss(**values)
