import numpy as np
import pytest

from keras_mrisr.volumes.stored_values import IntegerStorage, deviation_type, in_units, like_type, rounded


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "expected_dtype"),
    [
        ([0.4, 1.6, 99.5001], "uint8", [0, 2, 100], "uint8"),
        ([-3.2, 254.6, 255.4], "uint8", [0, 255, 255], "uint8"),
        ([-3.2, 270.0], "uint8", [0, 270], "uint16"),  # Neither 14 (wrapped) nor 255 (clipped).
        ([-3.2, 40000.0], "int16", [-3, 40000], "int32"),
        ([-70000.0, 5.0], "int8", [-70000, 5], "int32"),
        ([65536.0], "uint16", [65536], "uint32"),
        ([1, 300], ">u1", [1, 300], "uint16"),
        ([0.25, -1.5], "float32", [0.25, -1.5], "float32"),
    ],
)
def test_values_come_back_in_their_type_or_a_wider_one(values, dtype, expected, expected_dtype):
    result = like_type(np.array(values), dtype)
    assert result.dtype == expected_dtype
    assert result.tolist() == expected


def test_integers_are_cast_without_a_detour():
    large = np.array([2**53 + 1], "int64")
    assert like_type(large, "int16").tolist() == [2**53 + 1]


@pytest.mark.parametrize("bits", [8, 12, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
def test_limits(bits, signed):
    storage = IntegerStorage(bits, signed)
    low, high = storage.limits
    assert high - low == 2**bits - 1
    assert (low < 0) == signed
    assert storage.dtype.itemsize * 8 == max(bits, 16 if bits > 8 else 8)


def test_a_storage_that_fits_is_kept():
    storage = IntegerStorage(12, False, 0.5, -100.0)
    assert storage.fitted(-100, 1947.5, 16) is storage
    np.testing.assert_array_equal(storage.encode(np.array([-100.0, 0.0, 1947.5])), [0, 200, 4095])


def test_more_bits_come_before_a_new_slope():
    assert IntegerStorage(12, False).fitted(0, 5000, 16) == IntegerStorage(16, False)
    assert IntegerStorage(12, True).fitted(-3000, 2000, 16) == IntegerStorage(16, True)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("top", [40000.0, 70000.0, 3.7e-5, 8e9])
@pytest.mark.parametrize("low", [0.0, -0.3])
def test_a_new_slope_holds_everything_and_keeps_zero(signed, top, low):
    values = np.array([low * top, 0.0, 0.5 * top, top])
    storage = IntegerStorage(16, signed).rescaled(values.min(), values.max())
    stored = storage.encode(values)
    assert (np.diff(stored.astype(int)) >= 0).all()
    back = stored * storage.slope + storage.intercept
    np.testing.assert_allclose(back, values, atol=0.51 * storage.slope)
    assert abs(back[1]) < 1e-9 * storage.slope
    # Fine: a signed type without negative values uses half of its numbers, any other nearly all.
    assert np.ptp(stored.astype(int)) > (32000 if signed else 65000)


def test_below_an_unsigned_type_is_its_darkest():
    storage = IntegerStorage(16, False, 0.5, 0.0)
    assert storage.fitted(-4.0, 100.0, 16) is storage
    assert storage.encode(np.array([-4.0, 0.0, 1.0])).tolist() == [0, 0, 2]
    kept = storage.fitted(-4.0, 100.0, 16, keep_low=True)
    assert kept.holds(-4.0, 100.0)


def test_nothing_but_zeros_can_be_stored():
    storage = IntegerStorage(16, False).rescaled(0.0, 0.0)
    assert storage.encode(np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_beyond_64_bits_values_become_float64(dtype):
    values = np.array([5.0, 2.0**64 + 2.0**13])
    result = like_type(values, dtype)
    assert result.dtype == np.float64
    assert result.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (np.float64([-1.2, 2.6, 300]), "uint8", [0, 3, 255]),
        (
            np.float32([-4e9, 1.5, 4e9]),
            "int32",
            [-(2**31), 2, 2**31 - 128],
        ),  # 2**31 - 1 is none of float32's.
        (np.float64([-1e19, 0, 1e19]), "int64", [-(2**63), 0, 2**63 - 1024]),
        (np.float64([0.25, -7.5]), "float32", [0.25, -7.5]),
    ],
)
def test_rounded_clips_to_the_type(values, dtype, expected):
    result = rounded(values, dtype)
    assert result.dtype == dtype
    assert result.tolist() == expected


def test_deviations_in_the_units_of_an_image():
    share = np.array([0.5, 0.0], "float32")
    for unit, dtype in ((255.0, "float32"), (3e37, "float64"), (1e300, "float64")):
        found = in_units(share, unit)
        assert found.dtype == deviation_type(unit) == dtype
        np.testing.assert_allclose(found, [0.5 * unit, 0])
