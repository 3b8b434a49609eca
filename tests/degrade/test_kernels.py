import numpy as np
import pytest

from keras_mrisr.degrade.kernels import bicubic_kernel, gaussian_kernel, pillow_box_kernels


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 3.7])
def test_pillow_boxes_have_the_variance_of_the_gaussian(sigma):
    kernels = pillow_box_kernels(sigma)
    assert len(kernels) == 3
    variance = 0
    for kernel in kernels:
        x = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_array_equal(kernel, kernel[::-1])
        variance += kernel @ x**2
    assert variance == pytest.approx(sigma**2)


def test_gaussian_kernel_by_hand():
    np.testing.assert_allclose(gaussian_kernel(1.0, 3), np.array([0.60653, 1, 0.60653]) / 2.21306, atol=1e-5)
    assert len(gaussian_kernel(1.5)) == 13


def test_no_blur():
    np.testing.assert_array_equal(gaussian_kernel(0), [1.0])
    assert pillow_box_kernels(0) == []


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_kernel_is_centred(scale, antialias):
    taps, first = bicubic_kernel(scale, antialias)
    assert taps.sum() == pytest.approx(1)
    assert taps @ (first + np.arange(len(taps))) == pytest.approx((scale - 1) / 2)
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-15)


def test_bicubic_kernel_of_opencv():
    # Half-way between two pixels, a = -0.75: the weights that OpenCV documents.
    taps, first = bicubic_kernel(2, antialias=False, a=-0.75)
    np.testing.assert_allclose(taps, [-0.09375, 0.59375, 0.59375, -0.09375])
    assert first == -1
