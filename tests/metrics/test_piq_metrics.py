import importlib.util
import warnings

import numpy as np
import pytest

from keras_mrisr.errors import ConfigError, MissingDependencyError, ModelError
from keras_mrisr.metrics import PiqMetric
from keras_mrisr.metrics.piq_metrics import _HEADS
from keras_mrisr.models.vgg import vgg, write_weights


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """VGG16 with random weights, as Keras and as torchvision would store them: {"keras": , "torch": }."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("vgg16")
    network = vgg("vgg16")
    write_weights(network, folder / "vgg16.h5")
    state = {}
    for place, layer in zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), convolutions(network), strict=True
    ):
        kernel, bias = layer.get_weights()
        state[f"features.{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"features.{place}.bias"] = torch.from_numpy(bias)
    torch.save(state, folder / "vgg16.pth")
    return {"keras": folder / "vgg16.h5", "torch": folder / "vgg16.pth", "network": network}


def convolutions(network):
    return [layer for layer in network.layers if "_conv" in layer.name and "_relu" not in layer.name]


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.random((2, 32, 32, 3), dtype="float32"), rng.random((2, 32, 32, 3), dtype="float32")


def needs(name):
    for package in ("torch", "piq", _HEADS[name][0]):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("name", ["lpips_vgg", "dists"])
def test_contract(name, backbone, pair):
    needs(name)
    metric = PiqMetric(name, backbone["keras"])
    values = metric(*pair, 1.0)
    assert values.shape == (2,) and (values > 0.01).all()
    np.testing.assert_allclose(metric(pair[0], pair[0], 1.0), 0, atol=1e-5)
    np.testing.assert_allclose(metric(*(255 * one for one in pair), 255), values, rtol=1e-3, atol=1e-5)
    one = np.broadcast_to(pair[0][:1], pair[1].shape)  # Through the network once.
    np.testing.assert_allclose(metric(one, pair[1], 1.0), metric(one.copy(), pair[1], 1.0), rtol=1e-4)
    grey = [one[..., :1] for one in pair]
    np.testing.assert_allclose(
        metric(*grey, 1.0), metric(*(one.repeat(3, -1) for one in grey), 1.0), rtol=1e-4
    )


def test_lpips_equals_the_authors_network(backbone, pair):
    """`lpips.LPIPS` with the same trunk: its own normalisation is that of torchvision."""
    needs("lpips_vgg")
    import lpips
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It makes torchvision's network in an old way.
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    state = torch.load(backbone["torch"], weights_only=True)
    layers = [module for module in network.net.modules() if isinstance(module, torch.nn.Conv2d)]
    values = list(state.values())
    for layer, kernel, bias in zip(layers, values[::2], values[1::2], strict=True):
        layer.load_state_dict({"weight": kernel, "bias": bias})
    planes = [torch.from_numpy(np.moveaxis(one, -1, 1).copy()) * 2 - 1 for one in pair]
    with torch.no_grad():
        expected = network(*planes).numpy().ravel()
    np.testing.assert_allclose(PiqMetric("lpips_vgg", backbone["torch"])(*pair, 1.0), expected, rtol=1e-3)


def test_the_trunk_of_keras_weights_is_vgg(backbone, pair):
    """Features of the converted network equal those of Keras' own on blue, green, red in 0..255."""
    needs("dists")
    import torch

    from keras_mrisr.models.features import network_input

    metric = PiqMetric("lpips_vgg", backbone["keras"])
    with torch.no_grad():
        features = metric._network.get_features(torch.from_numpy(np.moveaxis(pair[0], -1, 1).copy()))
    expected = np.asarray(backbone["network"](network_input(pair[0])))
    expected = expected / np.sqrt((expected**2).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(np.moveaxis(features[-1].numpy(), 1, -1), expected, atol=1e-3)


def test_bad_input(tmp_path, monkeypatch, backbone, pair):
    needs("dists")
    with pytest.raises(ConfigError, match=r"needs the weights of VGG16, which its packages do not carry"):
        PiqMetric("dists", None)
    with pytest.raises(ConfigError, match="Known: dists, lpips_vgg"):
        PiqMetric("pieapp", backbone["keras"])
    with pytest.raises(ModelError, match="No weights of VGG16 at"):
        PiqMetric("dists", tmp_path / "none.pth")
    (tmp_path / "broken.pth").write_bytes(b"none")
    with pytest.raises(ModelError, match="cannot be read as weights of VGG16"):
        PiqMetric("dists", tmp_path / "broken.pth")
    with pytest.raises(ConfigError, match="one shape"):
        PiqMetric("lpips_vgg", backbone["keras"])(pair[0], pair[1][:1], 1.0)


def test_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"needs the package torch: pip install"):
        PiqMetric("dists", "vgg16.h5")
