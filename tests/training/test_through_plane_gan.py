"""The adversarial stage of networks for thick slices."""

import csv
import signal

import keras
import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.inference.through_plane import ThroughPlaneResolver
from keras_mrisr.model_info import THROUGH_PLANE, ThroughPlaneInfo
from keras_mrisr.models.discriminators import build_discriminator
from keras_mrisr.models.features import build_features
from keras_mrisr.models.through_plane import through_plane
from keras_mrisr.through_plane_config import ThroughPlaneConfig
from keras_mrisr.training import TrainingInterruptedError
from keras_mrisr.training.srgan import SRGAN, gan_optimizer
from keras_mrisr.training.state import RunState, read_state
from keras_mrisr.training.through_plane import train_through_plane
from keras_mrisr.training.through_plane_patches import ThroughPlanePatches
from keras_mrisr.training.through_plane_validation import AdversarialLineValidation, line_pair, psnr_of


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
    with pytest.raises(ConfigError, match=r"4 slices may hold fewer than 8 lines at factors of 1\.5 to 5: "):
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


# The two stages.

SETTINGS = {
    "generator": {"blocks": 1, "filters": 8, "tail": 4},
    "training.factor": [1.5, 5],
    "training.slices": 8,
    "training.width": 16,
    "training.batch_size": 2,
    "training.steps_per_epoch": 3,
    "training.epochs": 2,
    "training.validation_planes": 2,
    "training.precision": "float32",
    "adversarial.on": True,
    "adversarial.pretraining": {"epochs": 1},
    "adversarial.discriminator.filters": 2,
    "adversarial.realism": 0.1,
    "adversarial.r1_weight": 0.0,  # Its second derivatives would take most of the time.
    "adversarial.features": {"network": "vgg16", "layers": "block1_conv1", "weights": None},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, smooth_image):
    """A function (overrides) -> the smallest adversarial `ThroughPlaneConfig`, on 4 slices of 48x64."""
    root = tmp_path_factory.mktemp("planes")
    for patient in range(4):
        write_image(root / f"p{patient}" / "0.png", smooth_image(48, 64, 1, seed=patient))
    base = ThroughPlaneConfig().replace({**SETTINGS, "data.root": str(root)})
    return lambda overrides=None: base.replace(overrides or {})


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    """A run of `tiny()` from beginning to end; not to be changed."""
    return train_through_plane(tiny(), tmp_path_factory.mktemp("gan") / "run")


def history(run):
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def test_two_stages(run, tiny):
    state = read_state(run / "backup")
    assert (state.epoch, state.finished, state.rollbacks) == (2, True, 0)
    first = ThroughPlaneResolver.load(run / "pretrained")
    assert first.info.training["epochs"] == 1 and "adversarial" not in first.info.training
    assert len(history(run / "pretrained")) == 1
    # What was handed over scores as what the first stage kept.
    assert state.start["val_psnr"] == pytest.approx(first.info.metrics["val_psnr"], abs=1e-6)
    rows = history(run)
    losses = {"pixel", "perceptual", "adversarial", "loss", "d_loss"}
    health = {"d_hr", "d_sr", "g_gradient", "d_gradient", "ill"}
    scores = {"val_psnr", "val_gain", "val_gain_2", "val_gain_4"}
    scores |= {"val_features", "val_kid", "val_variety", "val_spectrum", "val_score"}
    assert set(rows[0]) == {"epoch", *losses, *health, *scores, "generator_muon", "discriminator_adam"}
    for row in rows:
        gain = 10 * np.log10(state.start["val_features"] / row["val_features"])
        flatter = state.start["val_spectrum"] - row["val_spectrum"]
        psnr = row["val_psnr"] - state.start["val_psnr"]
        assert row["val_score"] == pytest.approx(psnr + 2 * gain + 0.1 * flatter, abs=1e-4)
    info = ThroughPlaneResolver.load(run).info
    best = max(rows, key=lambda row: row["val_score"])
    assert (info.metrics["epoch"], info.metrics["val_score"]) == (best["epoch"], best["val_score"])
    assert info.training["adversarial"]["discriminator"]["name"] == "patchgan"
    for name in ("last.keras", "samples.png", "curves.png"):
        assert (run / name).is_file()
    card = (run / "card.md").read_text()
    assert "| adversarial | relativistic_average against patchgan (normalization=spectral, filters=2)" in card
    assert "feature distance" in card and "need not be\nwhat was there" in card
    assert "adversarial" not in (run / "pretrained" / "card.md").read_text().lower()


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, tiny, eager):
    def stop(epoch, step, logs):
        if "adversarial" in (logs or {}) and (epoch, step) == (2, 1):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train_through_plane(tiny(), tmp_path / "stopped", report=stop)
    seen = []
    train_through_plane(tiny(), tmp_path / "stopped", report=lambda *call: seen.append(call[:2]))
    assert seen == [(2, 2), (2, 3), (2, None)]
    train_through_plane(tiny(), tmp_path / "whole")
    ours, theirs = (
        keras.saving.load_model(tmp_path / name / "last.keras").get_weights() for name in ("stopped", "whole")
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_finished_model_is_trained_adversarially_only(mrisr, tmp_path, tiny, eager):
    out, config = tmp_path / "run", tiny({"adversarial.on": False, "training.epochs": 1})
    finished = train_through_plane(config, tmp_path / "finished")
    words = ["train", "--task", "through-plane", "--data", config.data.root, "--out", out]
    values = {
        **{key: value for key, value in SETTINGS.items() if key not in ("generator", "training.epochs")},
        "adversarial.pretraining": "{}",
        "adversarial.features": "{network: vgg16, layers: block1_conv1, weights: null}",
        "adversarial.discriminator.name": "unet",
    }
    sets = [f"{key}={value}" for key, value in values.items()]
    code, text, err = mrisr(*words, "--init", finished, "--epochs", 1, "--set", *sets)
    assert code == 0 and f"Trained model in {out}" in text, err
    assert not (out / "pretrained").exists()
    start = ThroughPlaneResolver.load(finished).info.metrics["val_psnr"]
    assert read_state(out / "backup").start["val_psnr"] == pytest.approx(start, abs=1e-6)


def test_what_cannot_work_is_refused(tmp_path, tiny):
    for overrides, message in (
        (
            {"adversarial.discriminator.name": "srgan"},
            r"discriminator\.name must be one of patchgan, unet\. Rec",
        ),
        (
            {"adversarial.consistency_weight": 1},
            r"adversarial\.consistency_weight must be 0 for this task, whose",
        ),
        (
            {"adversarial.segmentation_model": "runs/unet"},
            r"adversarial\.segmentation_model must be left out for",
        ),
        (
            {"adversarial.pretraining": {"patch_size": 64}},
            r"Unknown config key 'adversarial.pretraining.patch_si",
        ),
        ({"adversarial.patch": 1}, "Unknown config key 'adversarial.patch'"),
        (
            {"training.width": 20},
            r"training\.width must be a multiple of 8 for a discriminator\. Received: 20",
        ),
        (
            {"training.loss": "psnr"},
            r"training\.loss must be mean_absolute_error or .*adversarial\.pretraining\)",
        ),
        (
            {"adversarial.pretraining": {"slices": 3}},
            r"^adversarial\.pretraining: training\.slices must be 4",
        ),
        ({"adversarial.pretraining": {"width": 64}}, "is 64 pixels wide or more"),
        ({"adversarial.pretraining.init": "nowhere"}, "No model at nowhere"),
        (
            {"adversarial.pretraining.init": "thick"},
            r"^adversarial\.pretraining\.init: .* has the network .* Choose the same",
        ),
        ({"adversarial.discriminator.depth": 3}, "Unknown option 'depth' of 'patchgan'"),
        ({"adversarial.features.weights": "none.h5"}, r"No feature weights at none\.h5"),
        (
            {"adversarial.features.layers": "block5"},
            r"Patches of 8 are too small for .*is 16\. Raise training\.slices and training\.width",
        ),
        ({"adversarial.pixel_weight": 0, "adversarial.perceptual_weight": 0}, "nothing ties SR to HR"),
    ):
        with pytest.raises(MrisrError, match=message) as caught:
            train_through_plane(tiny(overrides), tmp_path / "run")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()
    assert tiny({"adversarial.on": False, "training.loss": "psnr"}).training.loss == "psnr"


def test_scores_of_planes(smooth_image):
    """PSNR, gain and features as computed here, plane by plane, and output that is not finite."""
    features = build_features("vgg16", "block1_conv1", None)
    resolver = ThroughPlaneResolver(through_plane(1, 4, 4), ThroughPlaneInfo(THROUGH_PLANE, {}, [], []))
    images = [smooth_image(48, 40, dtype="float32", seed=seed)[..., 0] for seed in range(3)]
    pairs = [line_pair(images[0], 2.0), line_pair(images[1], 2.0), line_pair(images[2], 4.0)]
    scores = AdversarialLineValidation(resolver, pairs, features, RunState(), 2.0).score()
    psnrs, distances = [], []
    for pair in pairs:
        sr = resolver.restore(pair.lr[np.newaxis], len(pair.hr))
        psnrs.append(psnr_of(pair.hr, sr[0]))
        [hr_features], [sr_features] = (
            features(image[..., np.newaxis]) for image in (pair.hr[np.newaxis], sr)
        )
        distances.append(float(np.mean((np.asarray(hr_features) - np.asarray(sr_features)) ** 2)))
    for name, values in (("val_psnr", psnrs), ("val_features", distances)):
        # Every factor counts once.
        assert scores[name] == pytest.approx(((values[0] + values[1]) / 2 + values[2]) / 2, rel=1e-4)
    assert scores["val_gain_4"] == pytest.approx(psnrs[2] - psnr_of(pairs[2].hr, pairs[2].spline), abs=1e-6)
    assert 0.2 < scores["val_variety"] < 5
    resolver.network.set_weights([weight * np.nan for weight in resolver.network.get_weights()])
    assert AdversarialLineValidation(resolver, pairs, features, RunState(), 2.0).score() is None
