import numpy as np
import pytest
from PIL import Image, ImageFilter

from keras_mrisr.degrade import Degradation, RandomBlur, get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.losses import ConsistencyLoss


def slices(count, size=(24, 32), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype="uint8")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_contract(smooth_image, scale, dtype):
    degradation = get_degradation("random-blur", scale)
    assert isinstance(degradation, Degradation)
    image = smooth_image(12 * scale, 8 * scale, 3, dtype)
    lr = degradation.degrade(image)
    assert lr.shape == (12, 8, 3) and lr.dtype == image.dtype
    again = get_degradation(**degradation.to_dict())
    np.testing.assert_array_equal(again.degrade(image), lr)
    assert degradation.to_dict() == {
        "name": "random-blur", "scale": scale, "smallest_sigma": 0.0, "largest_sigma": 2.0,
    }  # fmt: skip


def test_every_slice_is_pillows_with_its_own_radius():
    degradation = RandomBlur(2, 0.5, 1.5)
    for hr in slices(3):
        sigma = degradation.of_slice(hr).sigma
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(hr, -1, 0)]
        blurred = [plane.filter(ImageFilter.GaussianBlur(sigma)).resize((16, 12), 3) for plane in planes]
        np.testing.assert_array_equal(degradation.degrade(hr), np.stack(blurred, -1))


def test_the_radii_are_uniform_and_the_slices_own():
    degradation, images = RandomBlur(2, 0.5, 1.5), slices(2000, (4, 4))
    sigmas = np.array([degradation.of_slice(image).sigma for image in images])
    counts, _ = np.histogram(sigmas, bins=5, range=(0.5, 1.5))
    assert counts.sum() == 2000
    assert counts.min() > 320 and counts.max() < 480  # 400 each, with a deviation of 18.
    backwards = [degradation.of_slice(image).sigma for image in images[::-1]]
    np.testing.assert_array_equal(backwards[::-1], sigmas)


def test_the_bounds_are_bicubic_and_paper():
    hr = slices(1)[0]
    for bound, name in ((0.0, "bicubic"), (2.0, "paper")):
        expected = get_degradation(name, 2).degrade(hr)
        np.testing.assert_array_equal(RandomBlur(2, bound, bound).degrade(hr), expected)


def test_a_batch_is_degraded_slice_by_slice():
    degradation = get_degradation("random-blur", 2)
    batch = np.random.default_rng(5).random((3, 24, 28, 1), dtype="float32")
    lr = np.asarray(degradation(batch))
    np.testing.assert_allclose(lr, np.stack([degradation.degrade(one) for one in batch]), atol=1e-6)
    with pytest.raises(AssertionError):  # Each by a blur of its own.
        np.testing.assert_allclose(lr, np.asarray(degradation.of_slice(batch[0])(batch)), atol=1e-3)


def test_nothing_is_degraded_again_by_a_blur_that_is_not_known():
    degradation = get_degradation("random-blur", 2)
    with pytest.raises(MrisrError, match="'random-blur' differs from image to image"):
        ConsistencyLoss(degradation)
    with pytest.raises(MrisrError, match=r"'random-blur' has no matrix .* leave out `consistency`"):
        degradation.axis_matrix(24)


@pytest.mark.parametrize(
    "bounds", [(-1, 1), (1, 0.5), (float("nan"), 1), (0, float("nan")), ("x", 1), (0, float("inf"))]
)
def test_bad_bounds(bounds):
    with pytest.raises(MrisrError, match="smallest_sigma="):
        RandomBlur(2, *bounds)


def test_bad_sizes():
    degradation = get_degradation("random-blur", 2)
    with pytest.raises(MrisrError, match="is too small"):
        degradation.degrade(np.zeros((8, 64, 1), "uint8"))
    with pytest.raises(MrisrError, match="cannot be divided by the scale 2"):
        degradation.degrade(np.zeros((64, 65, 1), "uint8"))
