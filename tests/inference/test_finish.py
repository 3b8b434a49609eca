"""One volume out of two families of planes: the same in tiles, for any thick axis."""

import keras
import numpy as np
import pytest

from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.inference import finish as module
from keras_mrisr.inference.finish import Finish
from keras_mrisr.inference.through_plane import upscale_through_plane
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver, restore_axis, restore_families
from keras_mrisr.models.volume_finish import volume_finish
from keras_mrisr.volumes import Volume


@pytest.fixture(scope="module")
def network():
    """A tiny network with random weights but for its mean."""
    keras.utils.set_random_seed(0)
    network = volume_finish(1, 4)
    kernel = network.get_layer("output_conv").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 0.1, kernel.shape))
    return network


@pytest.fixture(scope="module")
def finished(thick_model, network):
    """The model for thick slices with that network."""
    plain = ThroughPlaneResolver.load(thick_model)
    rng = np.random.default_rng(1)
    plain.network.set_weights([rng.normal(scale=0.1, size=one.shape) for one in plain.network.get_weights()])
    return ThroughPlaneResolver(plain.network, plain.info, "finished", finish=network)


@pytest.fixture
def estimates():
    return list(np.random.default_rng(0).random((2, 14, 31, 26), "float32"))


def test_tiles_are_the_whole(network, estimates, monkeypatch):
    whole = network.predict_on_batch(np.stack(estimates, axis=-1)[np.newaxis])[0, ..., 0]
    np.testing.assert_allclose(Finish(network)(estimates, 0), whole, atol=1e-6)
    monkeypatch.setattr(module, "_VOXELS_TOGETHER", 1)
    shares = []
    tiled = Finish(network)(estimates, 0, report=shares.append)
    assert len(shares) > 2 and shares[-1] == 1
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_thick_axis_is_the_first_for_the_network(finished, network, axis):
    volume = np.random.default_rng(2).random((6, 7, 5), "float32")
    lr = np.moveaxis(volume, 0, axis)
    sr, deviation = restore_axis(finished, lr, axis, 18, uncertainty=True)
    families, same = restore_families(finished, volume, 0, 18, uncertainty=True)
    assert len(families) == 2 and np.abs(families[0] - families[1]).max() > 1e-3
    expected = network.predict_on_batch(np.stack(families, axis=-1)[np.newaxis])[0, ..., 0]
    np.testing.assert_allclose(np.moveaxis(sr, axis, 0), expected, atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(deviation, axis, 0), same, atol=1e-5)


def test_families_by_themselves(finished):
    """The first is that of the planes across the first of the other axes; else their mean is taken."""
    lr = np.random.default_rng(3).random((5, 6, 7), "float32")
    families, _ = restore_families(finished, lr, 1, 12)
    one = np.moveaxis(finished.restore(lr, 12), 0, 0)  # Planes (thick, Z) across X.
    other = np.transpose(finished.restore(np.ascontiguousarray(lr.transpose(2, 1, 0)), 12), (2, 1, 0))
    np.testing.assert_allclose(families[0], one, atol=1e-5)
    np.testing.assert_allclose(families[1], other, atol=1e-5)
    plain = ThroughPlaneResolver(finished.network, finished.info)
    np.testing.assert_allclose(restore_axis(plain, lr, 1, 12)[0], (one + other) / 2, atol=1e-5)


def test_before_it_is_trained_nothing_changes(finished):
    array = np.random.default_rng(4).integers(0, 900, (8, 9, 5)).astype("float32")
    volume = Volume(array, np.diag([1, 1, 3, 1]))
    plain = ThroughPlaneResolver(finished.network, finished.info)
    with_mean = ThroughPlaneResolver(finished.network, finished.info, finish=volume_finish(1, 4))
    for consistency in (False, True):
        ours, theirs = (
            upscale_through_plane(volume, one, consistency=consistency).volume for one in (with_mean, plain)
        )
        np.testing.assert_allclose(ours.array, theirs.array, atol=1e-2)
    changed = upscale_through_plane(volume, finished).volume
    assert np.abs(changed.array - theirs.array).max() > 1


def test_progress_ends_with_the_finish(finished):
    volume = Volume(np.random.default_rng(5).random((8, 9, 5)).astype("float32"), np.diag([1, 1, 3, 1]))
    calls = []
    upscale_through_plane(volume, finished, progress=lambda *call: calls.append(call))
    assert calls[-1] == (300, 300) and calls == sorted(calls)


def test_too_little_memory_and_bad_values(network, estimates):
    with pytest.raises(DataError, match=r"smallest tiles of tiny take .* Allow more with `memory`"):
        Finish(network, "tiny")(estimates, 0, room=1000)
    sick = volume_finish(1, 4)
    sick.get_layer("output_conv").bias.assign([np.nan])
    with pytest.raises(ModelError, match="sick gives NaN or infinite values where it finishes both"):
        Finish(sick, "sick")(estimates, 0)
