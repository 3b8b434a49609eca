import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.errors import MrisrError
from keras_mrisr.training.augmentation import KINDS, augment


def images(seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1, (3, 16, 16, 2)).astype("float32")


def changed(kinds, *given, seed=0):
    return [np.asarray(one) for one in augment(given, kinds, keras.random.SeedGenerator(seed))]


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_changed_alike_and_each_in_its_own_way(kind):
    one, two = changed([kind], images(), 0.5 * images())
    np.testing.assert_allclose(two, 0.5 * one, rtol=1e-6)
    assert one.shape == images().shape
    assert np.abs(one - images()).max() > 0.01
    same = images()[:1].repeat(3, axis=0)
    (one,) = changed([kind], same)
    assert max(np.abs(one[i] - one[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.01


def test_gain():
    ratio = changed(["gain"], images())[0] / images()
    assert np.ptp(ratio, axis=(1, 2, 3)).max() < 1e-5
    assert 0.8 - 1e-6 <= ratio.min() < ratio.max() <= 1.25 + 1e-6


def test_translation_is_a_shift_with_zeros_behind():
    shifts = set()
    for one, original in zip(changed(["translation"], images())[0], images(), strict=True):
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if np.array_equal(_moved(original, dy, dx), one)
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert shifts != {(0, 0)}


def _moved(image, dy, dx):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    return padded[2 + dy : 18 + dy, 2 + dx : 18 + dx]


def test_cutout_is_a_square():
    for one, original in zip(changed(["cutout"], images())[0], images(), strict=True):
        rows, columns = np.nonzero((one == 0).all(-1))
        assert len(rows) == 16 and np.ptp(rows) == np.ptp(columns) == 3
        np.testing.assert_array_equal(one[one != 0], original[one != 0])


def test_gradients_flow():
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        (y,) = augment([x], KINDS, keras.random.SeedGenerator(0))
        loss = tf.reduce_sum(y)
    gradient = np.asarray(tape.gradient(loss, x))
    assert 0.4 < (gradient > 0).mean() < 1


def test_unknown_kind():
    with pytest.raises(MrisrError, match="Unknown augmentation 'colour'"):
        augment([images()], ["colour"], keras.random.SeedGenerator(0))
