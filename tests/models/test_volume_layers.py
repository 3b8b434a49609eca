import keras
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from keras_mrisr.models.layers import ICNR, BicubicUpsampling, MiddleSlice, PixelShuffle
from keras_mrisr.models.volume_layers import CubicUpsampling, VoxelShuffle

ALL_FACTORS = [(1, 1, 2), (2, 2, 2), (2, 1, 3), (1, 1, 4)]


def volume(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


@pytest.mark.parametrize("factors", ALL_FACTORS)
def test_voxel_shuffle(factors):
    f, g, h = factors
    x = volume(2, 3, 4, 5, f * g * h * 2)
    expected = x.reshape(2, 3, 4, 5, f, g, h, 2).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    y = VoxelShuffle(factors)(x)
    np.testing.assert_array_equal(y, expected.reshape(2, 3 * f, 4 * g, 5 * h, 2))


def test_voxel_shuffle_is_the_pixel_shuffle_of_a_slice():
    x = volume(2, 4, 5, 12)
    y = VoxelShuffle((2, 2, 1))(x[:, :, :, np.newaxis])
    np.testing.assert_array_equal(y[:, :, :, 0], PixelShuffle(2)(x))


@pytest.mark.parametrize("factors", ALL_FACTORS)
def test_cubic_upsampling(factors):
    x = volume(1, 6, 5, 4, 2)
    y = np.asarray(CubicUpsampling(factors)(x))
    assert y.shape == (1, *(n * f for n, f in zip(x.shape[1:4], factors, strict=True)), 2)
    expected = x.astype("float64")
    for axis, factor in enumerate(factors, start=1):
        expected = upscaled(expected, axis, factor)
    np.testing.assert_allclose(y, expected, atol=1e-6)


def upscaled(x, axis, factor):
    """Keys 1981, eq. 4 (a = -0.5), at the centres of the fine grid, the edge repeated."""
    centres = (np.arange(x.shape[axis] * factor) + 0.5) / factor - 0.5
    out = 0
    for offset in range(-1, 3):
        place = np.floor(centres).astype(int) + offset
        d = np.abs(centres - place)
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        weight = np.where(d < 1, near, np.where(d < 2, far, 0))
        shape = [1] * x.ndim
        shape[axis] = -1
        out = out + weight.reshape(shape) * np.take(x, place.clip(0, x.shape[axis] - 1), axis)
    return out


def test_cubic_upsampling_is_the_bicubic_of_a_slice():
    x = volume(1, 6, 5, 3)
    y = CubicUpsampling((2, 2, 1))(x[:, :, :, np.newaxis])
    np.testing.assert_allclose(y[:, :, :, 0], BicubicUpsampling(2)(x), atol=1e-6)


def test_cubic_upsampling_stays_in_place():
    # A parabola is reproduced exactly, at the centres of the new slices.
    z = np.arange(12.0)
    x = np.broadcast_to(0.01 * z**2, (1, 2, 2, 12))[..., np.newaxis].astype("float32")
    y = np.asarray(CubicUpsampling((1, 1, 2))(x))[0, 0, 0, :, 0]
    centres = (np.arange(24) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(y[4:-4], (0.01 * centres**2)[4:-4], atol=1e-6)
    linear = map_coordinates(x[0, 0, 0, :, 0], [centres], order=1, mode="nearest")
    assert np.abs(y - linear).max() < 0.05


@pytest.mark.parametrize(
    "layer",
    [VoxelShuffle((2, 1, 2), name="a"), CubicUpsampling((2, 1, 2), name="a"), MiddleSlice(2, name="a")],
    ids=lambda x: type(x).__name__,
)
def test_contract(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    x = volume(1, 3, 4, 5, 12)[..., : 6 if isinstance(layer, MiddleSlice) else 12]
    y = layer(x)
    np.testing.assert_array_equal(again(x), y)
    assert not layer.weights
    assert y.dtype == "float32"
    assert layer.compute_output_shape(x.shape) == tuple(y.shape)
    unknown = layer(keras.Input((None, 4, None, x.shape[-1])))
    assert unknown.shape == (None, None, y.shape[2], None, y.shape[-1])


def test_middle_slice():
    x = volume(2, 3, 4, 10)
    np.testing.assert_array_equal(MiddleSlice(2)(x), x[..., 4:6])


def test_icnr_of_volumes():
    # All phases that feed one output channel start equal: the first output is a nearest upscaling.
    factors = (1, 2, 3)
    conv = keras.layers.Conv3D(2 * 6, 3, padding="same", kernel_initializer=ICNR(factors))
    y = np.asarray(VoxelShuffle(factors)(conv(volume(1, 3, 4, 3, 2))))
    # Processors may sum in different orders: equal but for float32's last digits.
    nearest = y[:, :, ::2, ::3].repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_allclose(y, nearest, atol=1e-6)
    assert not np.allclose(y[..., 0], y[..., 1])
    again = keras.initializers.deserialize(keras.initializers.serialize(ICNR(factors)))
    assert again.scale == factors
