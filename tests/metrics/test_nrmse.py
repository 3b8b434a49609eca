import keras
import numpy as np
import pytest
from skimage.metrics import normalized_root_mse

from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import nrmse


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    hr = rng.random((3, 20, 24, 3))
    return hr, hr + rng.normal(0, 0.05, hr.shape)


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize(("kind", "factor"), [("float64", 1.0), ("float32", 1.0), ("uint8", 255)])
def test_equals_skimage(pair, kind, factor):
    hr, sr = ((np.clip(x, 0, 1) * factor).astype(kind) for x in pair)
    expected = [normalized_root_mse(a.astype(float), b.astype(float)) for a, b in zip(hr, sr, strict=True)]
    values = numpy(nrmse(hr, sr))
    assert values.shape == (3,)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_mask_selects_pixels(pair):
    hr, sr = pair
    mask = np.zeros(hr.shape[:3], bool)
    mask[0, 5:10, 5:15] = True
    values = numpy(nrmse(hr, sr, mask=mask))
    inside = normalized_root_mse(hr[0, 5:10, 5:15], sr[0, 5:10, 5:15])
    np.testing.assert_allclose(values[0], inside, rtol=1e-5)
    assert np.isnan(values[1:]).all()


def test_black_originals():
    black, grey = np.zeros((1, 4, 4, 1)), np.ones((1, 4, 4, 1))
    assert np.isnan(numpy(nrmse(black, black)))
    assert np.isposinf(numpy(nrmse(black, grey)))
    assert numpy(nrmse(grey, grey)) == 0


def test_shapes_must_agree(pair):
    with pytest.raises(MrisrError, match="one shape"):
        nrmse(pair[0], pair[1][:2])
