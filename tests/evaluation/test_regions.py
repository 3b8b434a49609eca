import numpy as np

from keras_mrisr.evaluation import tissue_mask


def disc(radius, size=64):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y) < radius


def test_head_with_its_holes_and_without_noise():
    rng = np.random.default_rng(0)
    head, ventricle = disc(24), disc(6)
    slice_ = rng.uniform(0, 0.04, (64, 64, 1))
    slice_[head] = 0.5
    slice_[ventricle] = 0.01
    slice_[2, 2] = 1.0  # A speck.
    mask = tissue_mask(slice_)
    assert mask.shape == (64, 64) and mask.dtype == bool
    assert np.mean(mask != head) < 0.01
    assert mask[32, 32] and not mask[2, 2]


def test_follows_the_brightness_of_the_slice():
    slice_ = disc(24)[..., np.newaxis] * 0.6
    np.testing.assert_array_equal(tissue_mask(slice_), tissue_mask(slice_ / 4))


def test_three_channels_are_judged_by_the_middle_one():
    slice_ = np.zeros((64, 64, 3))
    slice_[..., 0] = 0.9
    assert not tissue_mask(slice_).any()
    slice_[disc(20), 1] = 0.5
    assert tissue_mask(slice_).mean() == np.mean(tissue_mask(slice_[..., 1:2]))


def test_empty_and_noisy_slices_have_no_tissue():
    assert not tissue_mask(np.zeros((32, 32, 1))).any()
    assert not tissue_mask(np.random.default_rng(0).uniform(0, 0.049, (32, 32, 1))).any()
