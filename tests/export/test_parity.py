import numpy as np
import pytest

from keras_mrisr.errors import MrisrError
from keras_mrisr.export.parity import check_parity, phantom, probes


def test_probes_have_two_sizes_and_batches_of_1_and_3():
    real = [np.full((10, 12, 3), 0.5, "float32")]
    batches = probes((None, None, 3), slices=real)
    shapes = {batch.shape for name, batch in batches.items() if name.startswith("random")}
    assert shapes == {(n, *size, 3) for n in (1, 3) for size in ((24, 40), (37, 29))}
    assert batches["real"].shape == (1, 10, 12, 3)
    assert batches["real, batch 3"].shape == (3, 10, 12, 3)
    assert all(batch.dtype == np.float32 for batch in batches.values())
    assert {batch.ndim for batch in probes((None, None, None, 1)).values()} == {5}


def test_probes_of_a_fixed_size():
    real = [np.arange(60, dtype="float32").reshape(10, 6, 1)]
    batches = probes((None, None, 1), size=(8, 9), slices=real)
    assert {batch.shape[1:] for batch in batches.values()} == {(8, 9, 1)}
    np.testing.assert_array_equal(batches["real"][0, :, :6], real[0][:8])
    np.testing.assert_array_equal(batches["real"][0, :, 8], real[0][:8, 5])


def test_phantom_is_an_image():
    image = phantom((40, 30), 3)
    assert image.shape == (40, 30, 3)
    assert (image[0] == 0).all()
    assert 0 <= image.min() < image.max() <= 1
    assert len(np.unique(image[..., 0])) > 3


def test_difference_is_measured():
    inputs = {"a": np.zeros((1, 2, 2, 1)), "b": np.ones((3, 2, 2, 1))}
    parity = check_parity(lambda x: x, lambda x: x * (1 + 1e-5), inputs)
    assert parity["max_difference"] == pytest.approx(1e-5)
    assert [case["difference"] for case in parity["cases"]] == [0, pytest.approx(1e-5)]
    assert parity["cases"][1] == {"input": "b", "shape": [3, 2, 2, 1], "difference": pytest.approx(1e-5)}


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (lambda x: x + 2e-4, r"differs from Keras by 0\.0002 \(a, shape \(1, 2, 2, 1\)\), more than 0\.0001"),
        (lambda x: x * np.nan, "differs from Keras by nan"),
        (lambda x: x[:, 1:], r"makes \(1, 1, 2, 1\) of \(1, 2, 2, 1\)"),
    ],
)
def test_what_differs_is_refused(exported, message):
    with pytest.raises(MrisrError, match=message):
        check_parity(lambda x: x, exported, {"a": np.zeros((1, 2, 2, 1))})
