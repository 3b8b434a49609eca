import numpy as np
import pytest
from scipy import linalg

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import frechet_distance, kid
from keras_mrisr.metrics.distributions import patch_means


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.random((9, 5)), 0.3 + rng.random((7, 5)) @ rng.random((5, 5))


def test_kid_equals_its_definition(features):
    """Equation 4 of Binkowski et al. 2018, pair by pair."""
    x, y = features

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z):
        pairs = [kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs) / (len(z) * (len(z) - 1))

    between = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    np.testing.assert_allclose(kid(x, y), within(x) + within(y) - 2 * between, rtol=1e-9)


def test_kid_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(0)
    values = [kid(rng.random((20, 4)), rng.random((20, 4))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20 and min(values) < 0


def test_frechet_distance_equals_its_definition(features):
    x, y = features
    first, second = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(
        first + second - 2 * linalg.sqrtm(first @ second)
    )
    np.testing.assert_allclose(frechet_distance(x, y), np.real(expected), rtol=1e-7)
    assert frechet_distance(x, x) < 1e-6


def test_frechet_distance_of_a_shift():
    x = np.random.default_rng(0).random((30, 3))
    np.testing.assert_allclose(frechet_distance(x, x + np.array([1, 2, 0])), 5, rtol=1e-6)


@pytest.mark.parametrize("measure", [kid, frechet_distance])
def test_shapes(measure, features):
    for wrong in (features[0][:1], features[0][:, :3], features[0][0]):
        with pytest.raises(MrisrError, match="Two sets of features"):
            measure(features[0], wrong)


def test_patch_means():
    rng = np.random.default_rng(0)
    maps = [rng.random((9, 12, 3)), rng.random((4, 6, 2))]
    found = patch_means(maps, 2, 3)
    assert found.shape == (6, 5)
    for row in range(2):
        for column in range(3):
            first = maps[0][4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean(axis=(0, 1))
            second = maps[1][2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(axis=(0, 1))
            np.testing.assert_allclose(found[3 * row + column], [*first, *second])
