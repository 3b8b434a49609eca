import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import ConfigError
from keras_mrisr.losses import spectrum_loss


def batch(seed, size=(24, 32), channels=2):
    return np.random.default_rng(seed).random((3, *size, channels), dtype="float32")


def reference(hr, sr, bands):
    """Channel by channel and ring by ring, with NumPy."""
    powers = []
    for images in (hr, sr):
        height, width = images.shape[1:3]
        rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width))
        window = rows[:, np.newaxis] * columns
        planes = np.moveaxis(images.astype(float), -1, 1)
        planes = (planes - planes.mean(axis=(2, 3), keepdims=True)) * window
        power = np.abs(np.fft.fft2(planes)) ** 2 / np.sum(window**2)
        y, x = np.fft.fftfreq(height), np.fft.fftfreq(width)
        radius = np.sqrt(y[:, np.newaxis] ** 2 + x**2)
        edges = np.linspace(0, 0.5, bands + 1)
        rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(edges)]
        powers.append(
            np.array([power[:, :, ring].mean(axis=(0, 2)) for ring in rings if ring.any()])
            + (0.25 / 255) ** 2
        )
    return np.mean(np.abs(10 * np.log10(powers[1] / powers[0])))


@pytest.mark.parametrize("bands", [4, 16, 40])
def test_against_numpy(bands):
    hr, sr = batch(0), 0.3 * batch(1) + 0.2 * np.cumsum(batch(2), axis=1) / 10
    assert float(spectrum_loss(hr, sr, bands)) == pytest.approx(reference(hr, sr, bands), rel=1e-4)


def test_what_it_asks_for():
    hr = batch(0)
    assert float(spectrum_loss(hr, hr)) == 0
    # Other texture of the same power costs little, half of the contrast 6 dB, smooth images more.
    many, others = (np.concatenate([batch(i) for i in seeds]) for seeds in (range(4), range(4, 8)))
    assert float(spectrum_loss(many, others)) < 1
    assert float(spectrum_loss(hr, 0.5 * hr)) == pytest.approx(20 * np.log10(2), abs=0.05)
    assert float(spectrum_loss(hr, np.zeros_like(hr))) > 30
    # A channel that is too rough makes up for none that is too smooth.
    swapped = hr * np.float32([2, 0.5])
    assert float(spectrum_loss(hr, swapped)) == pytest.approx(20 * np.log10(2), abs=0.05)
    # Below a quarter of a grey level nothing is asked for.
    assert float(spectrum_loss(1e-6 * hr, 2e-6 * hr)) < 0.01


def test_gradient_flows_into_sr_only_in_a_graph_of_unknown_size():
    @tf.function(input_signature=[tf.TensorSpec((None, 24, 32, 1)), tf.TensorSpec((None, None, None, 1))])
    def gradients(hr, sr):
        with tf.GradientTape() as tape:
            tape.watch([hr, sr])
            loss = spectrum_loss(hr, sr)
        return tape.gradient(loss, [hr, sr], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    to_hr, to_sr = gradients(batch(0, channels=1), np.zeros((3, 24, 32, 1), "float32"))
    assert not np.any(to_hr) and np.isfinite(to_sr).all()
    to_hr, to_sr = gradients(batch(0, channels=1), 0.5 * batch(1, channels=1))
    assert not np.any(to_hr) and np.isfinite(to_sr).all() and np.any(to_sr)


@pytest.mark.parametrize(
    ("hr", "sr"), [(batch(0), batch(0)[:, :12]), (batch(0)[0], batch(0)[0]), (batch(0)[..., np.newaxis],) * 2]
)
def test_bad_images(hr, sr):
    with pytest.raises(ConfigError, match=r"two batches .* of one known size"):
        spectrum_loss(hr, sr)
    with pytest.raises(ConfigError, match="bands"):
        spectrum_loss(batch(0), batch(0), 0)
