import sys
import types

import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import lpips, lpips_network


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.random((2, 64, 64, 3), dtype="float32"), rng.random((2, 64, 64, 3), dtype="float32")


def test_the_package_itself(pair):
    """With a random trunk, because the real one is a download."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lpips")
    network = lpips_network("alex", pnet_rand=True)
    values = lpips(*pair, 1.0, network)
    planes = [torch.from_numpy(np.moveaxis(x, -1, 1).copy()) * 2 - 1 for x in pair]
    with torch.no_grad():
        expected = network(*planes).numpy().mean(axis=(1, 2, 3))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert lpips(pair[0], pair[0], 1.0, network).tolist() == [0, 0]


class FakeTensor(np.ndarray):
    def numpy(self):
        return np.asarray(self)


@pytest.fixture
def fake_torch(monkeypatch):
    class NoGrad:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    torch = types.SimpleNamespace(no_grad=NoGrad, from_numpy=lambda x: x.view(FakeTensor))
    monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.mark.parametrize(("channels", "data_range"), [(3, 1.0), (1, 255), (5, 1.0)])
def test_what_the_network_is_given(fake_torch, channels, data_range):
    rng = np.random.default_rng(0)
    hr, sr = (rng.random((2, 8, 9, channels)) * data_range for _ in range(2))
    given = []

    def network(one, two):
        given.extend([one, two])
        return np.abs(one - two).mean(axis=1, keepdims=True)

    values = lpips(hr, sr, data_range, network)
    assert values.shape == (2,)
    for image, passed in zip((hr, sr), given, strict=True):
        assert passed.shape == (2, 3, 8, 9) and passed.dtype == np.float32
        expected = image if channels == 3 else image.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
        np.testing.assert_allclose(np.moveaxis(passed, 1, -1), expected / data_range * 2 - 1, atol=1e-5)
    mask = np.zeros((2, 8, 9), bool)
    mask[0, 2:4, 3:5] = True
    masked = lpips(hr, sr, data_range, network, mask=mask)
    expected = np.abs(given[0] - given[1]).mean(axis=1)[0, 2:4, 3:5].mean()
    np.testing.assert_allclose(masked[0], expected, rtol=1e-5)
    assert np.isnan(masked[1])


def test_bad_input(fake_torch, monkeypatch, pair):
    with pytest.raises(MrisrError, match="one shape"):
        lpips(pair[0], pair[1][:1], 1.0, None)
    with pytest.raises(MrisrError, match="data_range"):
        lpips(*pair, 0, None)
    with pytest.raises(MrisrError, match="Known: alex"):
        lpips_network("inception")
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MrisrError, match="pip install lpips"):
        lpips_network()

    def no_network(**_):
        raise OSError("no route")

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=no_network))
    with pytest.raises(MrisrError, match="cannot be downloaded"):
        lpips_network()
