"""Upscaling with a generator that takes neighbouring slices."""

import numpy as np
import pytest

from keras_mrisr.data import read_image, write_image
from keras_mrisr.data.neighbours import stack_around
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver, upscale_path
from keras_mrisr.models import build_generator
from keras_mrisr.models.storage import ModelInfo


@pytest.fixture(scope="module")
def resolver():
    """A generator of grey slices with one neighbour and random weights everywhere."""
    options = {"name": "edsr", "blocks": 1, "filters": 4}
    generator = build_generator(scale=2, channels=1, neighbours=1, **options)
    rng = np.random.default_rng(0)
    generator.set_weights([rng.normal(0, 0.2, w.shape).astype("float32") for w in generator.get_weights()])
    info = ModelInfo(2, 1, options, {"name": "bicubic", "scale": 2}, neighbours=1)
    return SuperResolver(generator, info)


@pytest.fixture(scope="module")
def stack(smooth_image):
    return np.stack([smooth_image(12, 10, seed=seed) for seed in range(4)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_batch_is_one_stack(resolver, stack, dtype):
    stack = stack.astype(dtype) * np.array(3 if dtype != "uint8" else 1, dtype)
    sr = resolver(stack)
    assert (sr.shape, sr.dtype) == ((4, 24, 20, 1), dtype)
    for place in range(4):
        window = stack_around(stack, place, 1)
        np.testing.assert_array_equal(sr[place], resolver(window))
        np.testing.assert_array_equal(sr[place], resolver(window[np.newaxis])[0])


def test_a_slice_alone_stands_for_its_neighbours(resolver, stack):
    np.testing.assert_array_equal(resolver(stack[1]), resolver(stack[[1, 1, 1]])[1])
    assert np.any(resolver(stack[1]) != resolver(stack)[1])


def test_what_the_network_is_given(resolver, stack):
    window = stack_around(stack, 0, 1)
    expected = resolver.generator(window[np.newaxis] / np.float32(255))[0]
    # A graph may round float32 otherwise than layers one by one: near a half by one grey level.
    np.testing.assert_allclose(resolver(stack)[0], np.clip(expected * 255, 0, 255), atol=0.5 + 1e-3)


def test_a_folder_is_one_stack(resolver, stack, tmp_path):
    for place, image in enumerate(stack):
        write_image(tmp_path / "lr" / f"slice_{place + 8}.png", image)  # 8 to 11: not in the order of names.
    upscale_path(tmp_path / "lr", tmp_path / "sr", resolver)
    for place, sr in enumerate(resolver(stack)):
        np.testing.assert_array_equal(read_image(tmp_path / "sr" / f"slice_{place + 8}.png"), sr)


def test_wrong_channels(resolver, stack):
    with pytest.raises(MrisrError, match=r"The model takes 1 channel"):
        resolver(np.repeat(stack, 2, axis=-1))
