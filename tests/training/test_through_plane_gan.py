"""The adversarial stage of networks for thick slices."""

import keras
import numpy as np
import pytest

from keras_mrisr.errors import ConfigError
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.training.srgan import SRGAN, gan_optimizer
from keras_mrisr.training.through_plane_patches import ThroughPlanePatches


@pytest.fixture
def patches(smooth_image):
    images = [smooth_image(48, 64, dtype="float32", seed=seed)[..., 0] for seed in range(2)]
    options = {"slices": 8, "width": 16, "batch_size": 2, "steps": 1, "factor": (1.5, 5.0), "multiple": 8}
    return ThroughPlanePatches(images, **options)


def make_gan(discriminator, **options):
    keras.utils.set_random_seed(0)
    discriminator = build_discriminator(discriminator, 1, filters=2, normalization="spectral")
    model = SRGAN(through_plane(1, 4, 4), discriminator, **options)
    model.compile(gan_optimizer(model.generator, model.discriminator, 1e-3, 2e-3), run_eagerly=True)
    return model


def test_lines_are_a_multiple(patches):
    sizes = set()
    for epoch in range(8):
        patches.start(epoch)
        inputs, hr = patches[0]
        assert inputs["positions"].shape[1] == hr.shape[1]
        sizes.add(hr.shape[1])
    assert len(sizes) > 2 and all(size % 8 == 0 for size in sizes)
    with pytest.raises(ConfigError, match=r"4 slices hold fewer than 8 lines at a factor of 1\.5: raise"):
        ThroughPlanePatches(patches.images, 4, 16, factor=(1.5, 5.0), multiple=8)


def test_a_step_on_a_dictionary_is_that_of_two_tapes(patches):
    tf = pytest.importorskip("tensorflow")
    model = make_gan("patchgan", weights={"pixel": 1.0, "adversarial": 0.1}, average=0.9)
    networks = [keras.models.clone_model(network) for network in (model.generator, model.discriminator)]
    for copy, network in zip(networks, (model.generator, model.discriminator), strict=True):
        copy.set_weights(network.get_weights())
    generator, discriminator = networks
    start = generator.get_weights()
    inputs, hr = patches[0]
    model.train_on_batch(inputs, hr)
    with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
        sr = generator(inputs, training=True)
        real, fake = discriminator(hr, training=True), discriminator(sr, training=True)
        g_loss = tf.reduce_mean(tf.abs(hr - sr)) + 0.1 * tf.reduce_mean(tf.nn.softplus(-fake))
        d_loss = tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))
    for tape, loss, network, rate in (
        (g_tape, g_loss, generator, 1e-3),
        (d_tape, d_loss, discriminator, 2e-3),
    ):
        weights = network.trainable_variables
        keras.optimizers.Adam(rate).apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
    for copy, network in zip(networks, (model.generator, model.discriminator), strict=True):
        for mine, other in zip(network.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-6)
    # Of the first step the average takes nine tenths.
    for mean, old, new in zip(
        model.average_generator.get_weights(), start, generator.get_weights(), strict=True
    ):
        np.testing.assert_allclose(mean, 0.1 * old + 0.9 * new, atol=1e-6)


def test_fit_save_load_and_go_on(patches, cheap_perceptual, tmp_path):
    model = make_gan(
        "unet",
        weights={"perceptual": 0.1, "adversarial": 0.05, "r1": 0.1},
        perceptual=cheap_perceptual(),
        instance_noise=0.1,
        noise_steps=50,
        discriminator_steps=2,
        r1_every=2,
    )
    before = [network.get_weights() for network in (model.generator, model.discriminator)]
    model.fit(patches, epochs=1, verbose=0)
    for old, network in zip(before, (model.generator, model.discriminator), strict=True):
        assert any(np.abs(a - b).max() > 0 for a, b in zip(old, network.get_weights(), strict=True))
    model.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    inputs, hr = patches[0]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    np.testing.assert_allclose(model(inputs), model.average_generator(inputs))
    loaded.run_eagerly = True
    for one in (model, loaded):
        one.train_on_batch(inputs, hr)
    for mine, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    assert set(model.evaluate(patches, verbose=0, return_dict=True)) == {"psnr", "pixel", "perceptual"}


def test_consistency_is_for_one_degradation():
    with pytest.raises(ConfigError, match="'consistency' is for generators of one input: the samples of"):
        make_gan("patchgan", weights={"consistency": 1.0}, degradation={"name": "bicubic", "scale": 2})
