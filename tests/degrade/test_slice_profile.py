import math

import numpy as np
import pytest
from keras import ops
from scipy.ndimage import correlate1d

from keras_mrisr.degrade import Degradation, get_degradation
from keras_mrisr.degrade.slice_profile import slice_profile
from keras_mrisr.errors import MrisrError


def volume(*shape, dtype="float32"):
    values = np.random.default_rng(0).random(shape, dtype="float32")
    return values if dtype == "float32" else np.rint(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        ((1, 1, 2), {}),
        ((1, 1, 3), {"thickness": 4.5}),
        ((2, 2, 2), {}),
        ((2, 2, 1), {"in_plane": {"name": "paper", "sigma": 1.0}}),
        ((2, 2, 4), {"in_plane": {"name": "kspace"}, "thickness": 3}),
    ],
)
def test_contract(scale, options):
    degradation = get_degradation("slice-profile", scale, **options)
    assert isinstance(degradation, Degradation)
    assert (degradation.name, degradation.scale) == ("slice-profile", scale)
    x = volume(2, 24, 20, 12, 3)
    lr = degradation(x)
    sizes = tuple(n // f for n, f in zip((24, 20, 12), scale, strict=True))
    assert tuple(lr.shape) == (2, *sizes, 3)
    assert lr.dtype == "float32" and ops.is_tensor(lr)
    # Volumes and channels don't mix.
    np.testing.assert_allclose(lr[1:, ..., 2:], degradation(x[1:, ..., 2:]), atol=1e-6)
    for dtype in ("uint8", "uint16", "int16", "float32"):
        one = degradation.degrade(volume(24, 20, 12, 3, dtype=dtype))
        assert (one.shape, one.dtype) == ((*sizes, 3), dtype)
    # The host's result is that of the device, rounded once.
    np.testing.assert_allclose(degradation.degrade(x[0]), lr[0], atol=1e-6)
    bytes_ = np.rint(x[0] * 255).astype("uint8")
    expected = np.clip(np.asarray(degradation(bytes_[np.newaxis] / np.float32(255)))[0] * 255, 0, 255)
    np.testing.assert_allclose(degradation.degrade(bytes_), expected, atol=0.501)
    again = get_degradation(**degradation.to_dict())
    assert again.to_dict() == degradation.to_dict()
    np.testing.assert_array_equal(again(x), lr)


@pytest.mark.parametrize(("factor", "thickness"), [(2, 2.0), (3, 3.0), (4, 6.0), (1, 2.5)])
def test_through_plane_is_scipys_gaussian(factor, thickness):
    x = volume(3, 4, 24, 2)
    lr = get_degradation("slice-profile", (1, 1, factor), thickness=thickness).degrade(x)
    # A fine grid on which the centre of an LR slice is a sample: half steps, with zeros in between.
    sigma = thickness / 2.3548200450309493 * 2
    offsets = np.arange(-100, 101)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (40, 40), (0, 0)), mode="edge")
    fine = np.zeros((3, 4, 2 * padded.shape[2], 2))
    fine[:, :, ::2] = padded
    held = np.zeros(fine.shape[2])
    held[::2] = 1
    blurred = correlate1d(fine, weights, axis=2, mode="constant")
    blurred /= correlate1d(held, weights, mode="constant")[:, np.newaxis]
    centres = 2 * 40 + 2 * factor * np.arange(24 // factor) + factor - 1
    np.testing.assert_allclose(lr, blurred[:, :, centres], atol=1e-4)


def test_in_plane_is_the_degradation_of_slices():
    x = volume(24, 20, 6, 1)
    options = {"name": "kspace"}
    lr = get_degradation("slice-profile", (2, 2, 1), thickness=1e-3, in_plane=options).degrade(x)
    expected = [get_degradation("kspace", 2).degrade(x[:, :, z]) for z in range(6)]
    np.testing.assert_allclose(lr, np.stack(expected, axis=2), atol=1e-6)


@pytest.mark.parametrize(("factor", "thickness"), [(2, 2), (3, 3), (4, 4), (2, 1e-6), (3, 1e-6), (4, 9)])
def test_taps(factor, thickness):
    taps, first = slice_profile(factor, thickness)
    assert taps.sum() == pytest.approx(1)
    places = first + np.arange(len(taps))
    assert taps @ places == pytest.approx((factor - 1) / 2), "centred on the slices that are replaced"
    if thickness >= 2:
        # Full width at half maximum, from the curvature of the logarithm.
        middle = len(taps) // 2
        second = np.diff(np.log(taps[middle - 1 : middle + 2]), 2)[0]
        assert 2 * math.sqrt(2 * math.log(2) / -second) == pytest.approx(thickness)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_point_stays_in_place(factor):
    x = np.zeros((1, 1, 1, 24, 1), "float32")
    x[0, 0, 0, 13] = 1
    lr = np.asarray(get_degradation("slice-profile", (1, 1, factor), thickness=8)(x))[0, 0, 0, :, 0]
    centres = (np.arange(24 // factor) + 0.5) * factor - 0.5
    assert lr @ centres / lr.sum() == pytest.approx(13, abs=0.05)


def test_constant_stays_constant_to_the_ends():
    degradation = get_degradation("slice-profile", (2, 2, 4), thickness=8)
    np.testing.assert_allclose(degradation(np.full((1, 16, 16, 8, 1), 0.3, "float32")), 0.3, atol=1e-6)


def test_rejects():
    for scale in (2, (1, 1), (1, 2, 2), (1, 1, 0), (1, 1, 1.5), "112"):
        with pytest.raises(MrisrError, match="scale must be three whole factors"):
            get_degradation("slice-profile", scale)
    for thickness in (0, -1, float("nan"), float("inf"), "x"):
        with pytest.raises(MrisrError, match="thickness must be over 0"):
            get_degradation("slice-profile", (1, 1, 2), thickness=thickness)
    with pytest.raises(MrisrError, match="in_plane is for a scale over 1"):
        get_degradation("slice-profile", (1, 1, 2), in_plane={"name": "paper"})
    with pytest.raises(MrisrError, match=r"in_plane must be a degradation; .* in_plane='paper'"):
        get_degradation("slice-profile", (2, 2, 2), in_plane="paper")
    with pytest.raises(MrisrError, match="Unknown degradation 'blur'"):
        get_degradation("slice-profile", (2, 2, 2), in_plane={"name": "blur"})
    with pytest.raises(MrisrError, match=r"'paper' is for slices .* scale=\(1, 1, 2\)"):
        get_degradation("paper", (1, 1, 2))
    degradation = get_degradation("slice-profile", (2, 2, 2))
    with pytest.raises(MrisrError, match=r"9x9x9 cannot be divided by the scale 2x2x2"):
        degradation.degrade(volume(9, 9, 9, 1))
    with pytest.raises(MrisrError, match=r"4x20x8 is too small .* it needs at least 8x8x2 voxels"):
        degradation.degrade(volume(4, 20, 8, 1))
    with pytest.raises(MrisrError, match="is for volumes, not for slices"):
        degradation.degrade(volume(8, 8, 1))
