"""What the preset `projected` adds to a step of `SRGAN`."""

import keras
import numpy as np
import pytest

from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import PerceptualLoss
from keras_mrisr.models import build_generator
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.features import build_features
from keras_mrisr.training.srgan import SRGAN, gan_optimizer

tf = pytest.importorskip("tensorflow")
LAYERS = ("block1_conv1", "block1_conv2")


@pytest.fixture(scope="module")
def features():
    return build_features("vgg16", {LAYERS[0]: 1e-3, LAYERS[1]: 0.0}, weights=None)


@pytest.fixture
def make(features):
    def build(discriminator=None, optimizer=keras.optimizers.Adam, **options):
        keras.utils.set_random_seed(0)
        options = {
            "weights": {"pixel": 1.0, "perceptual": 1.0},
            "adversarial_kind": "hinge",
            "degradation": {"name": "bicubic", "scale": 2},
            **options,
        }
        model = SRGAN(
            build_generator("edsr", 2, 1, blocks=1, filters=4, thin_layers=1, thin_filters=2),
            build_discriminator(
                "projected", 1, 16, features=features, layers=LAYERS, filters=2, **(discriminator or {})
            ),
            perceptual=PerceptualLoss(features),
            **options,
        )
        model.compile(gan_optimizer(model.generator, model.discriminator, 1e-3, 2e-3), run_eagerly=True)
        return model

    return build


def step(model, batch):
    model.reset_metrics()
    return {name: float(value) for name, value in model.train_step(batch).items()}


def test_the_balance_is_the_ratio_of_gradients_at_the_generators_output(make, batch, monkeypatch):
    """Against two tapes; the generator then follows the sum with that weight."""
    model = make(balance=0.25)
    seen = {}
    monkeypatch.setattr(model.optimizer, "apply", lambda grads, variables: seen.update(grads=list(grads)))
    lr, hr = map(tf.constant, batch)
    for _ in range(60):  # Until the spectral norms have settled.
        model.discriminator(hr, training=True)
    weights = [variable.value for variable in model.generator.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        sr = model.generator(lr, training=True)
        anchors = tf.reduce_mean(tf.abs(hr - sr)) + tf.reduce_mean(model.perceptual.call(hr, sr))
        critic = -tf.reduce_mean(model.discriminator(sr))
    norms = [float(tf.norm(tape.gradient(loss, sr))) for loss in (anchors, critic)]
    parts = [tape.gradient(loss, weights) for loss in (anchors, critic)]
    logs = step(model, batch)
    assert logs["adversarial_weight"] == pytest.approx(0.25 * norms[0] / norms[1], rel=1e-3)
    assert logs["loss"] == pytest.approx(
        float(anchors) + logs["adversarial_weight"] * float(critic), rel=1e-3
    )
    for found, anchor, other in zip(seen["grads"], *parts, strict=False):
        expected = anchor + logs["adversarial_weight"] * other
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_features_of_sr_are_computed_once(make, batch, features, monkeypatch):
    seen = []
    call = type(features).__call__
    monkeypatch.setattr(type(features), "__call__", lambda self, x: (seen.append(1), call(self, x))[1])
    model = make(balance=0.1, augmentation=["gain"])
    seen.clear()  # The discriminator measures the size of its features when it is made.
    logs = step(model, batch)
    assert len(seen) == 2, "HR and SR"
    assert logs["perceptual"] > 0


@pytest.mark.parametrize("kind", ["conditional", "residual"])
def test_what_the_discriminator_is_shown(make, batch, monkeypatch, kind):
    model, shown = make({kind: True}, consistency=True), []
    call = type(model.discriminator).judge
    monkeypatch.setattr(
        type(model.discriminator), "judge",
        lambda self, maps, lr, training: (shown.append((maps, lr)), call(self, maps, lr, training))[1],
    )  # fmt: skip
    step(model, batch)
    (of_hr, lr_of_hr), (_, lr_of_sr) = shown
    if kind == "conditional":
        assert lr_of_hr is lr_of_sr is not None
    else:
        residual = model._projection.residual(batch[1]) + 0.5
        np.testing.assert_allclose(of_hr[0], model.discriminator.features(residual)[0], rtol=1e-4, atol=1e-4)


def test_consistent_sr_is_what_the_losses_see(make, batch):
    model = make(consistency=True, weights={"pixel": 1.0, "adversarial": 0.0})
    lr, hr = batch
    sr = model._projection(model.generator(lr), lr)
    assert step(model, batch)["pixel"] == pytest.approx(float(np.mean(np.abs(hr - sr))), rel=1e-5)
    shifted = SRGAN(
        keras.models.clone_model(model.generator), model.discriminator,
        weights={"adversarial": 0.0}, degradation=model.degradation, consistency=True,
    )  # fmt: skip
    again = get_degradation("bicubic", 2)(shifted._projection(sr + 0.1, lr))
    inner = (slice(None), slice(3, 5), slice(3, 5))
    assert np.abs(again - lr)[inner].max() < 0.02, "an offset is taken back"


def test_it_saves_and_shares_its_eyes_again(make, batch, tmp_path):
    model = make({"conditional": True}, balance=0.1, consistency=True, augmentation=["cutout"])
    model.train_on_batch(*batch)
    model.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert loaded._critic.shares
    assert loaded.perceptual.network is loaded.discriminator.features
    for one, two in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (loaded.balance, loaded.consistency, loaded.augmentation) == (0.1, True, ["cutout"])


def test_r1_of_it(make, batch):
    logs = step(make({"conditional": True}, weights={"pixel": 1.0, "r1": 1.0}, r1_every=1), batch)
    assert logs["r1"] > 0


def test_consistency_needs_the_degradation(make):
    with pytest.raises(MrisrError, match="need the degradation"):
        make(consistency=True, degradation=None)
