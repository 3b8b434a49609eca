import numpy as np
import pytest
from scipy.stats import rice

from keras_mrisr.degrade.noise import RicianNoise, rician_noise, tissue_signal
from keras_mrisr.errors import MrisrError


def head(level=100.0, air=0.0, size=200, dtype="float32"):
    image = np.full((size, size, 1), air)
    image[size // 4 : -size // 4, size // 4 : -size // 4] = level
    return image.astype(dtype)


@pytest.mark.parametrize("snr", [3, 20.0])
def test_follows_the_rice_distribution(snr):
    image = head()
    noisy = rician_noise(image, snr, np.random.default_rng(0))
    sigma = 100 / snr
    for level in (0.0, 100.0):
        values = noisy[image == level]
        expected = rice(level / sigma, scale=sigma)
        assert values.mean() == pytest.approx(expected.mean(), rel=0.01)
        assert values.std() == pytest.approx(expected.std(), rel=0.02)


def test_signal_is_the_mean_of_the_tissue_of_each_channel():
    image = np.concatenate([head(100, 10), head(40), head(0)], axis=-1)
    image[100, 60:100, 0] = 200
    signal = tissue_signal(image)
    inside = image[..., 0] > 50
    np.testing.assert_allclose(signal, [image[inside, 0].mean(), 40, 0], rtol=1e-6)
    noisy = rician_noise(image, 10, np.random.default_rng(0))
    assert noisy[:40, :, 1].std() == pytest.approx(4 * np.sqrt(2 - np.pi / 2), rel=0.05)
    np.testing.assert_array_equal(noisy[..., 2], 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_type_is_kept_without_wrapping(dtype):
    image = head(np.iinfo(dtype).max if dtype != "float32" else 1.0, size=40, dtype=dtype)
    noisy = rician_noise(image, 5, np.random.default_rng(0))
    assert noisy.dtype == image.dtype and noisy.shape == image.shape
    assert noisy[image > 0].min() > image.max() / 5
    assert noisy[image == 0].max() < image.max()


def test_same_seed_same_noise():
    one, two, other = (rician_noise(head(size=20), 10, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_patch_has_the_noise_of_its_slice():
    # A patch of air has no tissue to measure the noise by.
    image = head(dtype="uint8")
    patch = image[:40, :40]
    noisy = RicianNoise(10)(patch, image, np.random.default_rng(0))
    assert noisy.dtype == "float32"
    assert noisy.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.05)
    spread = [RicianNoise([5, 50])(patch, image, np.random.default_rng(s)).mean() for s in range(30)]
    assert 2 < min(spread) < 5 and 10 < max(spread) < 26


@pytest.mark.parametrize("snr", [0, -1, float("nan")])
def test_bad_ratio(snr):
    with pytest.raises(MrisrError, match="must be over 0"):
        rician_noise(head(size=8), snr, np.random.default_rng(0))


def test_negative_values():
    with pytest.raises(MrisrError, match=r"negative values \(down to -3\)"):
        rician_noise(head(air=-3.0, size=8), 10, np.random.default_rng(0))
