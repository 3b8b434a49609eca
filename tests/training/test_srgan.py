import keras
import numpy as np
import pytest
from keras import ops

from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import adversarial
from keras_mrisr.metrics import psnr
from keras_mrisr.training.srgan import SRGAN, discriminator_optimizer, gan_optimizer
from keras_mrisr.training.strategy import dtype_policy

tf = pytest.importorskip("tensorflow")
ALWAYS = ["loss", "d_loss", "d_hr", "d_sr", "g_gradient", "d_gradient"]


class Forbidden(keras.losses.Loss):
    def call(self, y_true, y_pred):
        raise AssertionError("must not be computed")


def values(variables):
    return [np.array(ops.convert_to_numpy(variable), "float64") for variable in variables]


def assert_same(mine, other, **tolerance):
    for one, two in zip(values(mine), values(other), strict=True):
        np.testing.assert_allclose(one, two, **(tolerance or {"rtol": 0, "atol": 1e-6}))


def moved(before, variables):
    return any(np.abs(a - b).max() > 0 for a, b in zip(before, values(variables), strict=True))


def step(model, batch):
    """The logs of one step, not of the mean over steps."""
    model.reset_metrics()
    logs = model.train_step(batch)
    return {name: float(ops.convert_to_numpy(value)) for name, value in logs.items()}


def softplus_losses(real, fake):
    d_loss = tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))
    return tf.reduce_mean(tf.nn.softplus(-fake)), d_loss


def test_steps_are_those_of_two_tapes_and_two_adams(make_gan, batch):
    """What the paper's training loop does, written out; with batch normalisation, and as a graph."""
    model = make_gan(weights={"pixel": 1.0, "adversarial": 0.1}, average=0.9, eager=False)
    generator, discriminator = (
        keras.models.clone_model(network) for network in (model.generator, model.discriminator)
    )
    generator.set_weights(model.generator.get_weights())
    discriminator.set_weights(model.discriminator.get_weights())
    average = values(generator.weights)
    assert_same(model.average_generator.weights, generator.weights)
    adams = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3)
    lr, hr = map(tf.constant, batch)
    for number in range(1, 4):
        model.train_on_batch(*batch)
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            sr = generator(lr, training=True)
            on_sr, d_loss = softplus_losses(
                discriminator(hr, training=True), discriminator(sr, training=True)
            )
            g_loss = tf.reduce_mean(tf.abs(hr - sr)) + 0.1 * on_sr
        for tape, loss, network, adam in (
            (g_tape, g_loss, generator, adams[0]),
            (d_tape, d_loss, discriminator, adams[1]),
        ):
            weights = network.trainable_variables
            adam.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        # As many steps count as there were, up to the momentum.
        momentum = min(0.9, number / (number + 9))
        average = [
            momentum * mean + (1 - momentum) * now
            for mean, now in zip(average, values(generator.weights), strict=True)
        ]
    assert_same(model.generator.weights, generator.weights)
    assert_same(model.discriminator.weights, discriminator.weights)
    for mean, expected in zip(values(model.average_generator.weights), average, strict=True):
        np.testing.assert_allclose(mean, expected, atol=1e-6)


@pytest.mark.parametrize("r1", [0.0, 2.0])
def test_several_discriminator_steps(make_gan, batch, r1):
    options = {"discriminator_steps": 2, "weights": {"adversarial": 0.1, "r1": r1}, "r1_every": 1}
    model = make_gan({"normalization": "none"}, **options)
    discriminator = keras.models.clone_model(model.discriminator)
    discriminator.set_weights(model.discriminator.get_weights())
    adam = keras.optimizers.Adam(2e-3)
    lr, hr = map(tf.constant, batch)
    sr = model.generator(lr)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = softplus_losses(discriminator(hr), discriminator(sr))[1]
            if r1:
                with tf.GradientTape() as inner:
                    inner.watch(hr)
                    logits = discriminator(hr)
                squares = tf.reduce_sum(inner.gradient(logits, hr) ** 2, axis=(1, 2, 3))
                loss += 0.5 * r1 * tf.reduce_mean(squares)
        weights = discriminator.trainable_variables
        adam.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
    step(model, batch)
    assert_same(model.discriminator.weights, discriminator.weights)
    of_discriminator, of_generator = model.optimizer.optimizers
    assert int(of_discriminator.iterations) == 2
    assert (int(of_generator.iterations), int(model.optimizer.iterations)) == (1, 1)


def test_the_total_is_the_weighted_sum(make_gan, batch, cheap_perceptual):
    weights = {"pixel": 2.0, "perceptual": 0.3, "adversarial": 0.05, "consistency": 0.7, "r1": 0.4}
    model = make_gan(
        {"normalization": "spectral"},
        weights=weights,
        pixel="mean_squared_error",
        perceptual=cheap_perceptual(),
        degradation={"name": "bicubic", "scale": 2},
        r1_every=1,
    )
    lr, hr = batch
    sr = ops.convert_to_numpy(model.generator(lr))
    logs = step(model, batch)
    assert set(logs) == {*weights, *ALWAYS}
    total = sum(weights[name] * logs[name] for name in weights if name != "r1")
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert logs["pixel"] == pytest.approx(np.mean((hr - sr) ** 2), rel=1e-4)
    assert logs["perceptual"] == pytest.approx(float(ops.mean(cheap_perceptual().call(hr, sr))), rel=1e-4)
    assert 0 < logs["d_hr"] < 1 and 0 < logs["d_sr"] < 1
    assert logs["g_gradient"] > 0 and logs["d_gradient"] > 0


def test_a_weight_of_zero_costs_nothing(make_gan, batch, monkeypatch):
    weights = {"pixel": 1.0, "adversarial": 0.0, "r1": 1.0}
    model = make_gan(weights=weights, perceptual=Forbidden(), discriminator_steps=3)

    def forbidden(*arguments, **options):
        raise AssertionError("must not be called")

    monkeypatch.setattr(model.discriminator, "call", forbidden)
    before = values(model.discriminator.weights)
    logs = step(model, batch)
    assert set(logs) == {"pixel", *ALWAYS}
    assert logs["loss"] == logs["pixel"]
    assert logs["d_gradient"] == 0
    assert not moved(before, model.discriminator.weights)
    assert set(model.test_step(batch)) == {"psnr", "pixel"}


def test_r1_comes_every_so_many_steps_with_as_much_weight(make_gan, batch):
    options = {"normalization": "none"}
    model = make_gan(options, weights={"adversarial": 0.1, "r1": 2.0}, r1_every=3)
    without = make_gan(options, weights={"adversarial": 0.1})
    hr = tf.constant(batch[1])
    for number in range(4):
        for name in ("generator", "discriminator"):
            getattr(without, name).set_weights(getattr(model, name).get_weights())
        with tf.GradientTape() as tape:
            tape.watch(hr)
            total = tf.reduce_sum(model.discriminator(hr))
        squares = np.sum(tape.gradient(total, hr).numpy() ** 2, axis=(1, 2, 3))
        expected = 0.0 if number % 3 else np.mean(squares)
        found, other = step(model, batch), step(without, batch)
        assert found["r1"] == pytest.approx(expected, rel=1e-4)
        assert found["d_loss"] - other["d_loss"] == pytest.approx(
            0.5 * 2.0 * 3 * expected, rel=1e-3, abs=1e-6
        )


def test_r1_of_a_map_is_that_of_its_mean(make_gan, batch):
    model = make_gan({"name": "patchgan", "normalization": "none"}, weights={"r1": 1.0}, r1_every=1)
    hr = tf.constant(batch[1])
    with tf.GradientTape() as tape:
        tape.watch(hr)
        total = tf.reduce_sum(tf.reduce_mean(model.discriminator(hr), axis=(1, 2, 3)))
    squares = np.sum(tape.gradient(total, hr).numpy() ** 2, axis=(1, 2, 3))
    assert step(model, batch)["r1"] == pytest.approx(np.mean(squares), rel=1e-4)


def test_ramp_and_delay(make_gan, batch):
    model = make_gan(weights={"adversarial": 0.8}, delay=2, ramp=4)
    for steps, weight in ((0, 0), (1, 0), (2, 0.2), (3, 0.4), (5, 0.8), (9, 0.8)):
        model.optimizer.iterations.assign(steps)
        assert float(model._ramp_weight()) == pytest.approx(weight)
    model.delay, model.ramp = 2, 0
    for steps, weight in ((1, 0), (2, 0.8)):
        model.optimizer.iterations.assign(steps)
        assert float(model._ramp_weight()) == pytest.approx(weight)
    # While it waits, the discriminator learns already.
    model.optimizer.iterations.assign(0)
    before = values(model.discriminator.trainable_variables)
    logs = step(model, batch)
    assert logs["loss"] == pytest.approx(logs["pixel"])
    assert moved(before, model.discriminator.trainable_variables)


def test_the_average_is_what_is_used(make_gan, batch):
    model = make_gan()
    rng = np.random.default_rng(0)
    model.average_generator.set_weights(
        [weight + 0.01 * rng.standard_normal(weight.shape) for weight in model.generator.get_weights()]
    )
    lr, hr = batch
    sr = model.average_generator.predict(lr, verbose=0)
    assert np.abs(sr - model.generator.predict(lr, verbose=0)).max() > 1e-3
    np.testing.assert_allclose(model.predict(lr, verbose=0), sr, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(model(lr)), sr, atol=1e-6)
    found = model.evaluate(lr, hr, verbose=0, return_dict=True)
    assert found["psnr"] == pytest.approx(np.mean(psnr(hr, np.clip(sr, 0, 1), 1.0)), rel=1e-5)
    assert found["pixel"] == pytest.approx(np.mean(np.abs(hr - sr)), rel=1e-5)


def test_one_empty_image_does_not_poison_psnr(make_gan, batch):
    model = make_gan()
    model.average_generator.set_weights([0 * weight for weight in model.generator.get_weights()])
    lr, hr = (np.concatenate([part, 0 * part[:1]]) for part in batch)
    assert np.isfinite(model.evaluate(lr, hr, verbose=0, return_dict=True)["psnr"])


def test_average_of_zero_is_a_copy(make_gan, batch):
    model = make_gan(average=0.0)
    step(model, batch)
    assert_same(model.average_generator.weights, model.generator.weights)


def test_relativistic_probabilities_ignore_the_level_of_the_logits(make_gan, batch):
    real, fake = tf.constant([[9.0], [8.0]]), tf.constant([[8.0], [9.0]])
    for kind in ("relativistic", "relativistic_average"):
        d_hr, d_sr = make_gan(adversarial_kind=kind)._probabilities(real, fake)
        assert float(d_hr) == pytest.approx(0.5) and float(d_sr) == pytest.approx(0.5)
    d_hr, _ = make_gan()._probabilities(real, fake)
    assert float(d_hr) > 0.99


@pytest.mark.parametrize("kind", ["bce", "relativistic", "relativistic_average"])
def test_kinds_of_adversarial_loss(make_gan, batch, kind):
    smoothing = 0.1 if kind == "bce" else 0.0
    model = make_gan({"normalization": "none"}, adversarial_kind=kind, label_smoothing=smoothing)
    lr, hr = map(tf.constant, batch)
    real, fake = model.discriminator(hr), model.discriminator(model.generator(lr))
    logs = step(model, batch)
    assert logs["adversarial"] == pytest.approx(float(adversarial.generator_loss(real, fake, kind)), rel=1e-4)
    d_loss = float(adversarial.discriminator_loss(real, fake, kind, smoothing))
    assert logs["d_loss"] == pytest.approx(d_loss, rel=1e-4)


def test_instance_noise_fades(make_gan, batch):
    model = make_gan(instance_noise=0.5, noise_steps=10)
    images = ops.zeros((4, 64, 64, 1))
    for steps, deviation in ((0, 0.5), (5, 0.25), (10, 0.0), (99, 0.0)):
        model.optimizer.iterations.assign(steps)
        assert float(ops.std(model._noisy(images))) == pytest.approx(deviation, rel=0.05)


def test_fit_save_load_and_go_on(make_gan, batch, cheap_perceptual, tmp_path):
    """Every loss and noise; what the file gives back goes on with the same steps."""
    model = make_gan(
        {"normalization": "spectral"},
        weights={"perceptual": 0.1, "adversarial": 0.05, "consistency": 0.5, "spectrum": 0.01, "r1": 0.1},
        perceptual=cheap_perceptual(),
        degradation={"name": "bicubic", "scale": 2},
        adversarial_kind="relativistic",
        instance_noise=0.1,
        noise_steps=50,
        r1_every=2,
        ramp=6,
    )
    options = {"batch_size": 2, "shuffle": False, "verbose": 0}
    history = model.fit(*batch, epochs=2, validation_data=batch, **options).history
    losses = {"pixel", "perceptual", "consistency", "spectrum", "adversarial", "r1"}
    assert set(history) == {*losses, *ALWAYS, "val_psnr", "val_pixel", "val_perceptual"}
    assert np.isfinite(list(history.values())).all()

    model.save(tmp_path / "gan.keras")
    assert (tmp_path / "gan.keras").stat().st_size < 400_000, "the feature network must not be in it"
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert_same(loaded.variables, model.variables, atol=0)
    assert_same(loaded.optimizer.variables, model.optimizer.variables, atol=0)
    assert loaded.get_config().keys() == model.get_config().keys()
    loaded.run_eagerly = True
    for one in (model, loaded):
        one.fit(*batch, epochs=1, **options)
    assert int(loaded.noise_state[1]) == int(model.noise_state[1]) > 0
    assert_same(loaded.generator.weights, model.generator.weights)
    assert_same(loaded.discriminator.weights, model.discriminator.weights)
    assert_same(loaded.average_generator.weights, model.average_generator.weights)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(make_gan, batch, cheap_perceptual, precision):
    with dtype_policy(precision):
        model = make_gan(
            {"normalization": "spectral"},
            weights={"perceptual": 0.1, "adversarial": 0.05, "consistency": 0.5, "spectrum": 0.01, "r1": 0.1},
            perceptual=cheap_perceptual(),
            degradation={"name": "bicubic", "scale": 2},
            instance_noise=0.1,
            discriminator_steps=2,
            r1_every=2,
        )
    plain = make_gan({"normalization": "spectral"}, weights={"adversarial": 0.05})
    before = values(model.trainable_variables)
    if precision == "mixed_float16":  # Near the size that it would find by itself.
        model.optimizer.build(model.trainable_variables)
        model.optimizer.dynamic_scale.assign(2.0**10)
    logs = [step(model, batch) for _ in range(3)]
    assert all(np.isfinite(list(row.values())).all() for row in logs)
    assert moved(before, model.trainable_variables)
    assert all(np.isfinite(value).all() for value in values(model.variables))
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    # The norms are those of the gradients, whatever the scale of the loss.
    assert 0.05 < logs[-1]["d_gradient"] / step(plain, batch)["d_gradient"] < 20


def test_an_overflow_of_scaled_gradients_is_no_illness(make_gan, batch):
    with dtype_policy("mixed_float16"):
        model = make_gan({"normalization": "none"}, discriminator_steps=2)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(2.0**126)
    before = values(model.trainable_variables)
    logs = step(model, batch)
    assert np.isfinite(list(logs.values())).all()
    assert not moved(before, model.trainable_variables)
    assert float(model.optimizer.dynamic_scale) == 2.0**125
    # A gradient that is not finite at any scale is one.
    model.optimizer.dynamic_scale.assign(0.5)
    lr, hr = batch
    assert not np.isfinite(step(model, (lr, hr * np.nan))["g_gradient"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"pixl": 1.0}}, r"Unknown loss 'pixl'\. Known: pixel, perceptual"),
        ({"weights": {"r1": -1.0}}, r"The weight of the loss 'r1' must be 0 or more"),
        ({"weights": {"perceptual": 1.0}}, r"'perceptual' needs perceptual=PerceptualLoss"),
        ({"weights": {"consistency": 1.0}}, r"'consistency' needs the degradation"),
        ({"pixel": "l1"}, r"pixel must be one of mean_absolute_error"),
    ],
)
def test_what_cannot_work_is_refused(make_gan, options, message):
    with pytest.raises(MrisrError, match=message):
        make_gan(**options)


def test_the_discriminators_optimizer_is_found_under_loss_scaling(make_gan):
    with dtype_policy("mixed_float16"):
        model = make_gan()
    assert discriminator_optimizer(model.optimizer).name == "discriminator_adam"
    assert isinstance(model, SRGAN)


def test_one_optimizer_for_both_networks(make_gan, batch):
    """Enough for steps of both together, but not for steps of the discriminator alone."""
    model = make_gan()
    model.compile("adam")
    step(model, batch)
    model = make_gan(discriminator_steps=2)
    model.compile("adam")
    with pytest.raises(MrisrError, match="Adam is one optimizer for both networks"):
        step(model, batch)


@pytest.fixture
def own_networks():
    """A function (function of both networks that makes an optimizer, options) -> SRGAN of a user's networks.

    Their layers have the same names, and none begins with "d_".
    """

    def make(optimizer, **options):
        keras.utils.set_random_seed(0)
        lr, hr = keras.Input((None, None, 1)), keras.Input((None, None, 1))
        image = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(4, 3, padding="same", name="conv")(lr))
        generator = keras.Model(lr, keras.layers.Conv2D(1, 3, padding="same", name="last")(image))
        logits = keras.layers.Conv2D(4, 3, 2, activation="leaky_relu", name="conv")(hr)
        critic = keras.Model(hr, keras.layers.Conv2D(1, 3, name="last")(logits))
        model = SRGAN(generator, critic, **options)
        model.compile(optimizer(generator, critic), run_eagerly=True)
        return model

    return make


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("rates", [(0.0, 0.1), (0.1, 0.0)], ids=["discriminator", "generator"])
@pytest.mark.parametrize("how", ["networks", "variables", "neither"])
def test_rates_are_those_of_the_networks_whatever_their_layers_are_called(
    own_networks, batch, how, rates, steps
):
    def optimizer(*networks):
        if how == "neither":
            with pytest.warns(DeprecationWarning, match="takes the two networks first"):
                return gan_optimizer(generator_rate=rates[0], discriminator_rate=rates[1])
        if how == "variables":
            networks = [network.trainable_variables for network in networks]
        return gan_optimizer(*networks, *rates)

    model = own_networks(optimizer, discriminator_steps=steps)
    before = values(model.generator.weights), values(model.discriminator.weights)
    step(model, batch)
    assert moved(before[0], model.generator.weights) == (rates[0] > 0)
    assert moved(before[1], model.discriminator.weights) == (rates[1] > 0)


def test_own_networks_resume_after_loading(tmp_path, own_networks, batch):
    model = own_networks(lambda *networks: gan_optimizer(*networks, 1e-2, 1e-1))
    step(model, batch)
    model.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    loaded.run_eagerly = True
    for one in (model, loaded):
        step(one, batch)
    assert_same(loaded.trainable_variables, model.trainable_variables)
    rates = [float(part.learning_rate) for part in loaded.optimizer.optimizers]
    assert rates == pytest.approx([1e-1, 1e-2])


def test_old_calls_of_gan_optimizer_mean_what_they_meant(recwarn):
    made = [
        gan_optimizer(1e-3, 2e-3),
        gan_optimizer(generator_rate=1e-3, discriminator_rate=2e-3, clip_norm=0.5, generator="muon"),
        gan_optimizer(1e-3, 2e-3, 0.5),
    ]
    assert {warning.category for warning in recwarn} == {DeprecationWarning} and len(recwarn) == 3
    for optimizer, clip in zip(made, (None, 0.5, 0.5), strict=True):
        rates = [float(part.learning_rate) for part in optimizer.optimizers]
        assert rates == pytest.approx([2e-3, 1e-3])
        assert {part.global_clipnorm for part in optimizer.optimizers} == {clip}
    assert made[1].optimizers[1].name == "generator_muon"
    with pytest.raises(MrisrError, match="needs both networks"):
        gan_optimizer(discriminator=[])


def test_metrics_of_compile(own_networks, batch):
    model = own_networks(gan_optimizer, weights={"adversarial": 0.0}, average=0.0)
    metrics = ["mean_absolute_error", keras.metrics.MeanSquaredError(name="psnr")]
    model.compile(gan_optimizer(model.generator, model.discriminator, 0.0), metrics=metrics, run_eagerly=True)
    lr, hr = batch
    sr = np.clip(values([model.generator(lr)])[0], 0, 1)
    wanted = {"mean_absolute_error": np.abs(hr - sr).mean(), "psnr": np.square(hr - sr).mean()}
    history = model.fit(lr, hr, verbose=0, validation_data=batch).history
    for prefix in ("", "val_"):
        found = {name: history[prefix + name][0] for name in wanted}
        assert found == pytest.approx(wanted, rel=1e-5)
    for argument in ({"loss": "mse"}, {"weighted_metrics": ["mse"]}, {"loss_weights": [1.0]}):
        with pytest.raises(MrisrError, match=f"takes no `{next(iter(argument))}`"):
            model.compile("adam", **argument)
