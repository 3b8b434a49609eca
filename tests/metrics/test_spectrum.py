import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import largest_error, power_spectrum, spectrum_error


def reference(image, bands):
    """Ring by ring, frequency by frequency."""
    height, width = image.shape
    y, x = np.arange(height), np.arange(width)
    sums, counts = np.zeros(bands), np.zeros(bands)
    for v in range(-(height // 2), (height + 1) // 2):
        for u in range(-(width // 2), (width + 1) // 2):
            radius = 2 * np.hypot(v / height, u / width)
            if radius > 1:
                continue
            waves = np.exp(-2j * np.pi * (v * y[:, None] / height + u * x / width))
            band = min(int(radius * bands + 1e-12), bands - 1)
            sums[band] += abs((image * waves).sum()) ** 2 / (height * width)
            counts[band] += 1
    return sums / counts


def test_equals_the_reference():
    images = np.random.default_rng(0).random((2, 12, 10, 3))
    expected = [np.mean([reference(plane, 4) for plane in np.moveaxis(one, -1, 0)], axis=0) for one in images]
    np.testing.assert_allclose(power_spectrum(images, 4), expected, rtol=1e-9)


@pytest.mark.parametrize("cycles", [0, 3, 17, 31])
def test_a_wave_has_all_its_power_in_its_band(cycles):
    wave = np.cos(2 * np.pi * cycles * np.arange(64) / 64)
    power = power_spectrum(np.tile(wave, (64, 1))[np.newaxis, ..., np.newaxis])[0]
    assert np.argmax(power) == cycles // 2 and np.delete(power, cycles // 2).max() < 1e-9 * power.max()


def test_half_the_amplitude_is_six_decibels():
    images = np.random.default_rng(0).random((1, 64, 64, 1))
    error = spectrum_error(power_spectrum(images)[0], power_spectrum(images / 2)[0])
    np.testing.assert_allclose(error, 20 * np.log10(0.5), rtol=1e-9)


def test_the_largest_error_is_of_the_bands_that_end_before():
    error = np.array([0, 1, -3, 2, np.nan, -9, 20, 30.0])
    assert largest_error(error) == 30 and largest_error(error, 0.75) == 9 and largest_error(error, 0.6) == 3
    assert np.isnan(largest_error([np.nan]))
    with pytest.raises(MrisrError, match="up_to"):
        largest_error(error, 1.1)


def test_without_power_or_frequencies():
    error = spectrum_error([4.0, 0.0, 1.0], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(error[0], 10 * np.log10(0.25))
    assert np.isnan(error[1]) and error[2] == -np.inf
    assert np.isnan(power_spectrum(np.ones((1, 11, 11, 1)))).any()
    with pytest.raises(MrisrError, match="shape"):
        power_spectrum(np.ones((4, 4)))
