import math

import numpy as np
import pytest

from keras_mrisr.evaluation.sharpness import spectral_energy, strata


def wave(frequency, size=(64, 48), axis=0):
    place = np.indices(size)[axis]
    return (100 + 50 * np.cos(2 * np.pi * frequency * place))[..., np.newaxis]


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (48, 64)])
def test_equals_the_full_transform(size):
    """Against the plain two-dimensional FFT."""
    plane = np.random.default_rng(0).random(size)
    above, total = spectral_energy(plane[..., np.newaxis])
    window = np.outer(np.hanning(size[0]), np.hanning(size[1]))
    energy = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1]))
    assert total == pytest.approx(energy.sum())
    assert above == pytest.approx(energy[radius > 0.25].sum())


@pytest.mark.parametrize("axis", [0, 1])
def test_waves_on_both_sides_of_half_the_nyquist_frequency(axis):
    for frequency, share in ((0.1, 0), (0.4, 1)):
        above, total = spectral_energy(wave(frequency, axis=axis))
        assert above / total == pytest.approx(share, abs=0.01)


def test_the_middle_channel_counts_and_constants_have_none():
    soft, sharp = wave(0.1), wave(0.4)
    assert spectral_energy(np.concatenate([soft, sharp, soft], axis=-1)) == spectral_energy(sharp)
    assert spectral_energy(np.full((16, 16, 3), 7, "uint8")) == (0, 0)


def test_thirds():
    shares = {"e": 0.5, "a": 0.1, "c": 0.3, "b": 0.2, "d": 0.4, "x": math.nan}
    assert strata(shares) == {"a": "soft", "b": "soft", "c": "middle", "d": "middle", "e": "sharp"}
    assert strata({"a": 0.1, "b": 0.2, "x": math.nan}) == {}
