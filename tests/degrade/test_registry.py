import inspect

import numpy as np
import pytest
from keras import ops

from keras_mrisr.degrade import DEGRADATIONS, Degradation, get_degradation
from keras_mrisr.errors import MrisrError

# Those that are of volumes, or that have no operator for batches, have tests of their own.
NAMES = sorted(
    set(DEGRADATIONS) - {"slice-profile", "random-blur", "paired", "acquisition", "random-acquisition"}
)
BLURS = ("bicubic", "paper")
SCALES = (2, 3, 4, 8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name, scale, smooth_image):
    degradation = get_degradation(name, scale)
    assert isinstance(degradation, Degradation)
    assert (degradation.name, degradation.scale) == (name, scale)

    height, width = 6 * scale * (8 // scale + 1), 5 * scale * (8 // scale + 1)
    for channels in (1, 3, 5):
        x = np.stack([smooth_image(height, width, channels, "float32", seed) for seed in range(2)])
        lr = degradation(x)
        assert tuple(lr.shape) == (2, height // scale, width // scale, channels)
        assert lr.dtype == "float32"
        # Slices and channels don't mix.
        alone = degradation(x[1:, ..., channels - 1 :])
        np.testing.assert_allclose(lr[1:, ..., channels - 1 :], alone, atol=1e-6)

    for dtype in ("uint8", "uint16", "float32"):
        image = smooth_image(height, width, 3, dtype)
        lr = degradation.degrade(image)
        assert lr.shape == (height // scale, width // scale, 3)
        assert lr.dtype == image.dtype

    again = get_degradation(**degradation.to_dict())
    assert type(again) is type(degradation)
    assert again.to_dict() == degradation.to_dict()
    np.testing.assert_array_equal(again(x), degradation(x))


@pytest.mark.parametrize("size", [(48, 56), (56, 40)])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_axis_matrices_are_the_whole_degradation(name, scale, size):
    degradation = get_degradation(name, scale)
    image = np.random.default_rng(0).random(size, dtype="float32")
    rows, columns = (degradation.axis_matrix(length) for length in size)
    assert rows.dtype == "float64" and rows.shape == (size[0] // scale, size[0])
    expected = rows @ image @ columns.T
    expected = np.abs(expected) if degradation.magnitude else expected
    np.testing.assert_allclose(
        degradation(image[np.newaxis, ..., np.newaxis])[0, ..., 0], expected, atol=2e-6
    )


def test_without_matrices():
    with pytest.raises(MrisrError, match=r"'slice-profile' has no matrix .* leave out `consistency`"):
        get_degradation("slice-profile", (1, 1, 2)).axis_matrix(8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_constant_stays_constant(name, scale):
    x = np.full((1, 48, 48, 1), 0.3, "float32")
    np.testing.assert_allclose(get_degradation(name, scale)(x), 0.3, atol=1e-6)


@pytest.mark.parametrize("name", BLURS)
def test_arguments_are_kept(name):
    degradation = get_degradation(name, 2, sigma=1.5, kernel="gaussian", kernel_size=9, round_8bit=True)
    assert degradation.to_dict() == {
        "name": name,
        "scale": 2,
        "sigma": 1.5,
        "kernel": "gaussian",
        "kernel_size": 9,
        "antialias": True,
        "round_8bit": True,
    }
    assert "sigma=1.5" in repr(degradation)


@pytest.mark.parametrize("name", NAMES)
def test_config_names_every_argument(name):
    degradation = get_degradation(name, 2)
    arguments = set(inspect.signature(type(degradation)).parameters)
    assert set(degradation.to_dict()) == arguments


def test_unknown():
    with pytest.raises(MrisrError, match=r"Unknown degradation 'blur'\. Known: acquisition, bicubic, "):
        get_degradation("blur", 2)
    with pytest.raises(MrisrError, match=r"Unknown degradation \[1\]"):
        get_degradation([1], 2)
    with pytest.raises(MrisrError, match="Unknown option 'radius' of 'paper'"):
        get_degradation("paper", 2, radius=2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 0},
        {"scale": 2.5},
        {"sigma": -1},
        {"sigma": float("nan")},
        {"sigma": float("inf")},
        {"sigma": "x"},
        {"sigma": True},
        {"antialias": "x"},
        {"round_8bit": 1},
        {"kernel": "box"},
        {"kernel_size": 5},
        {"kernel": "gaussian", "kernel_size": 4},
        {"kernel": "gaussian", "kernel_size": -1},
        {"kernel": "gaussian", "kernel_size": "x"},
    ],
)
def test_bad_arguments(arguments):
    key = list(arguments)[-1]
    with pytest.raises(MrisrError, match=f"{key}="):
        get_degradation(**{"name": "paper", "scale": 2, **arguments})


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", BLURS)
def test_bad_sizes(name, dtype):
    degradation = get_degradation(name, 4)
    size = -(-max(degradation.smallest_size) // 4) * 4
    with pytest.raises(MrisrError, match=f"10x40 is too small .* at least {size}x{size}"):
        degradation.degrade(np.zeros((10, 40, 1), dtype))
    with pytest.raises(MrisrError, match="40x41 cannot be divided by the scale 4"):
        degradation.degrade(np.zeros((40, 41, 1), dtype))
    assert degradation.degrade(np.zeros((size, size, 1), dtype)).shape == (size // 4, size // 4, 1)


def test_runs_on_tensors():
    x = ops.ones((1, 16, 16, 1))
    assert ops.is_tensor(get_degradation("bicubic", 2)(x))
