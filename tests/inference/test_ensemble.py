import numpy as np
import pytest

from keras_mrisr.inference.ensemble import ensemble


def nearest(lr):
    return lr.repeat(2, axis=0).repeat(2, axis=1)


def lopsided(lr):
    """Commutes with no flip and no turn."""
    sr = nearest(lr)
    y, x = np.mgrid[: sr.shape[0], : sr.shape[1]]
    return sr * (1 + 0.01 * (3 * y + x))[..., np.newaxis].astype("float32")


def square(image):
    """The eight flips and turns as transpositions and reversals, each with the way back."""
    for transpose in (False, True):
        for up_down in (1, -1):
            for left_right in (1, -1):
                turned = (image.swapaxes(0, 1) if transpose else image)[::up_down, ::left_right]

                def back(sr, transpose=transpose, up_down=up_down, left_right=left_right):
                    sr = sr[::up_down, ::left_right]
                    return sr.swapaxes(0, 1) if transpose else sr

                yield turned, back


@pytest.mark.parametrize("size", [(6, 6), (6, 9), (1, 7)])
def test_equals_numpy_over_the_eight(size, smooth_image):
    lr = np.random.default_rng(0).random((*size, 2), dtype="float32")
    eight = np.stack([back(lopsided(turned)) for turned, back in square(lr)])
    mean, deviation = ensemble(lopsided, lr, deviation=True)
    assert mean.dtype == deviation.dtype == "float32"
    np.testing.assert_allclose(mean, eight.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(deviation, eight.std(axis=0), atol=1e-6)
    assert deviation.max() > 0.01


def test_predict_sees_each_position_once_and_contiguous():
    lr = np.arange(6, dtype="float32").reshape(2, 3, 1)
    seen = []

    def predict(image):
        assert image.flags.c_contiguous
        seen.append((image.shape, image.tobytes()))
        return nearest(image)

    ensemble(predict, lr)
    assert len(set(seen)) == len(seen) == 8


def test_a_model_that_commutes_has_no_deviation(smooth_image):
    lr = smooth_image(5, 8, 3, "float32")
    mean, deviation = ensemble(nearest, lr, deviation=True)
    np.testing.assert_allclose(mean, nearest(lr), atol=1e-6)
    assert deviation.max() < 1e-6
    assert ensemble(nearest, lr)[1] is None


def test_small_deviations_of_bright_images_are_not_lost():
    # Sums of squares in float32 would give about 0.03 here, or the root of a negative number.
    values = iter(1000 + 0.001 * np.arange(8, dtype="float32"))
    _, deviation = ensemble(lambda lr: np.full_like(lr, next(values)), np.zeros((1, 1, 1), "float32"), True)
    assert deviation.item() == pytest.approx(0.001 * np.arange(8).std(), rel=0.05)


def test_predictions_may_have_other_channels():
    mean, deviation = ensemble(lambda lr: nearest(lr[..., 1:2]), np.ones((3, 4, 3), "float32"), True)
    assert mean.shape == deviation.shape == (6, 8, 1)


def test_the_prediction_itself_is_left_alone():
    # Predictions may be views of what a caller keeps.
    lr = np.random.default_rng(1).random((4, 4, 1), dtype="float32")
    before = lr.copy()
    ensemble(lambda image: image, lr, deviation=True)
    np.testing.assert_array_equal(lr, before)
