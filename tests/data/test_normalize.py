import numpy as np
import pytest

from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for
from keras_mrisr.errors import MrisrError


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_survives_the_way_there_and_back(dtype):
    array = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    normalizer = normalizer_for(array)
    normalized = normalizer.normalize(array)
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(normalizer.restore(normalized, dtype), array)


def test_uint8_range_is_fixed():
    assert normalizer_for(np.full((2, 2), 7, "uint8")) == RangeNormalizer(0.0, 255.0)


def test_other_types_take_the_percentile_and_negative_minimum():
    array = np.linspace(-10, 1000, 100_001, dtype="float32")
    normalizer = normalizer_for(array)
    assert normalizer.low == -10
    assert normalizer.high == pytest.approx(np.percentile(array, 99.9))
    np.testing.assert_allclose(normalizer.restore(normalizer.normalize(array), "float32"), array, atol=1e-3)


def test_restore_rounds_and_clips():
    restored = RangeNormalizer(0, 255).restore(np.array([-0.1, 0.0, 0.0031, 1.2]), "uint8")
    np.testing.assert_array_equal(restored, [0, 0, 1, 255])


@pytest.mark.parametrize("value", [0, 5, -3])
def test_a_constant_image_gets_some_width(value):
    array = np.full((4, 4), value, "float32")
    normalizer = normalizer_for(array)
    assert normalizer.high > normalizer.low
    np.testing.assert_allclose(normalizer.restore(normalizer.normalize(array), "float32"), array)


def test_a_single_bright_pixel_still_counts():
    array = np.zeros((100, 100), "uint16")
    array[0, 0] = 900
    assert normalizer_for(array) == RangeNormalizer(0.0, 900.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(bad):
    with pytest.raises(MrisrError, match="NaN or infinite"):
        normalizer_for(np.array([0.0, bad], "float32"))


def test_empty_is_refused():
    with pytest.raises(MrisrError, match="no pixels"):
        normalizer_for(np.zeros((0, 3), "float32"))
    with pytest.raises(ValueError, match="low < high"):
        RangeNormalizer(1, 1)
