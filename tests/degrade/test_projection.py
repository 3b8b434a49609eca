import numpy as np
import pytest
import tensorflow as tf

from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.projection import DAMPING, Projection
from keras_mrisr.errors import MrisrError

KINDS = [("bicubic", 4), ("bicubic", 2), ("kspace", 2)]


def whole_and_patch(name, scale, smooth_image, edge=32):
    """HR and LR of a patch out of the middle of a larger image, and its degradation."""
    degradation = get_degradation(name, scale)
    hr = smooth_image(3 * edge, 3 * edge, 2, "float32")
    lr = np.asarray(degradation(hr[np.newaxis]))
    small = edge // scale
    return hr[np.newaxis, edge:-edge, edge:-edge], lr[:, small:-small, small:-small], degradation


@pytest.mark.parametrize(("name", "scale"), KINDS)
def test_it_is_the_damped_projection_of_large_matrices(name, scale, smooth_image):
    hr, lr, degradation = whole_and_patch(name, scale, smooth_image, edge=16)
    sr = np.random.default_rng(0).random(hr.shape, dtype="float32")
    axis = degradation.axis_matrix(48)[16 // scale : 32 // scale]
    known = np.square(axis[:, 16:32]).sum(1) > 0.99 * np.square(axis).sum(1)
    axis = axis[:, 16:32]
    whole = np.kron(axis, axis)
    projected = Projection(degradation)(sr, lr)
    for channel in range(2):
        x, y = sr[0, ..., channel].ravel(), lr[0, ..., channel].ravel()
        residual = np.outer(known, known).ravel() * (y - whole @ x)
        normal = whole @ whole.T + DAMPING / scale**2 * np.eye(len(whole))
        expected = x + whole.T @ np.linalg.solve(normal, residual)
        np.testing.assert_allclose(np.ravel(projected[0, ..., channel]), expected, atol=2e-5)


@pytest.mark.parametrize(("name", "scale"), KINDS)
def test_patches_become_consistent_and_true_ones_stay(name, scale, smooth_image):
    hr, lr, degradation = whole_and_patch(name, scale, smooth_image, edge=48)
    projection = Projection(degradation)
    noise = np.random.default_rng(0).normal(0, 0.1, hr.shape).astype("float32")
    inner = (slice(None), *(2 * (slice(16 // scale, -16 // scale),)))

    def residual(images):
        again = np.asarray(degradation(tf.constant(images)))
        return float(np.sqrt(np.mean(np.square(again - lr)[inner])))

    # What lies at the edge of a patch is not known from it, and ripples of k-space reach far.
    assert residual(projection(hr + noise, lr)) < 0.25 * residual(hr + noise)
    assert float(np.sqrt(np.mean(np.square(projection(hr, lr) - hr)))) < 5e-3


def test_gradients_move_nothing_that_was_measured(smooth_image):
    hr, lr, degradation = whole_and_patch("bicubic", 4, smooth_image)
    projection, x = Projection(degradation), tf.constant(hr)
    # A loss of the low frequencies alone: of what LR holds.
    weights = tf.constant(np.asarray(degradation.axis_matrix(32).sum(0), "float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        free = tf.reduce_sum(x * weights[:, None, None])
        bound = tf.reduce_sum(projection(x, lr) * weights[:, None, None])
    inner = (0, slice(12, 20), slice(12, 20))
    free, bound = tape.gradient(free, x)[inner], tape.gradient(bound, x)[inner]
    assert np.abs(bound).max() < 0.1 * np.abs(free).max()


def test_the_residual_is_what_lr_does_not_hold():
    projection = Projection(get_degradation("bicubic", 4))
    y, x = np.mgrid[:48, :48]
    waves = np.stack([np.cos(2 * np.pi * (0.04 * y + 0.02 * x)), np.sin(2 * np.pi * 0.03 * x)], axis=-1)
    hr = (0.5 + 0.3 * waves)[np.newaxis].astype("float32")
    fine = np.random.default_rng(0).normal(0, 0.1, hr.shape).astype("float32")
    fine -= np.repeat(np.repeat(fine.reshape(1, 12, 4, 12, 4, 2).mean((2, 4)), 4, 1), 4, 2)
    smooth, with_detail = projection.residual(hr), projection.residual(hr + fine)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    kept = np.asarray(with_detail - smooth)[inner]
    assert np.corrcoef(kept.ravel(), fine[inner].ravel())[0, 1] > 0.9
    assert np.std(np.asarray(smooth)[inner]) < 0.2 * np.std(hr[inner])


def test_other_degradations_are_refused():
    with pytest.raises(MrisrError, match="differs from image to image"):
        Projection(get_degradation("random-blur", 2))
