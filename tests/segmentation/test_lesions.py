import math

import numpy as np

from keras_mrisr.segmentation.lesions import count_lesions, largest_lesion


def volume(*boxes):
    """(4, 20, 20) with boxes (z, y, x, depth, height, width) filled."""
    mask = np.zeros((4, 20, 20), bool)
    for z, y, x, depth, height, width in boxes:
        mask[z : z + depth, y : y + height, x : x + width] = True
    return mask


def test_lesions_are_found_by_a_tenth():
    truth = volume((0, 0, 0, 1, 4, 5), (2, 10, 10, 2, 5, 5))
    # Two of twenty voxels of the first lesion, and four of fifty of the second.
    count = count_lesions(truth, volume((0, 0, 0, 1, 1, 2), (2, 10, 10, 1, 2, 2)))
    assert (count.lesions, count.found, count.false) == (2, 1, 0)
    assert count.recall == 0.5
    assert count_lesions(truth, truth).recall == 1


def test_parts_that_touch_at_a_corner_are_one():
    truth = volume((0, 0, 0, 2, 4, 4), (2, 4, 4, 2, 4, 4))
    assert count_lesions(truth, truth).lesions == 1


def test_specks_are_neither_missed_nor_false():
    speck, lesion = volume((0, 0, 0, 1, 3, 3)), volume((0, 0, 0, 1, 2, 5))
    assert count_lesions(speck, np.zeros_like(speck)).lesions == 0
    assert count_lesions(lesion, np.zeros_like(speck)).lesions == 1
    assert count_lesions(np.zeros_like(speck), speck).false == 0
    assert count_lesions(np.zeros_like(speck), lesion).false == 1
    # A prediction that touches a speck found something that is there.
    assert count_lesions(volume((0, 0, 0, 1, 1, 1)), lesion).false == 0


def test_nothing_there():
    empty = volume()
    count = count_lesions(empty, empty)
    assert (count.lesions, count.found, count.false) == (0, 0, 0)
    assert math.isnan(count.recall)


def test_largest_lesion():
    mask = volume((0, 0, 0, 1, 4, 4), (2, 10, 10, 2, 3, 3))
    np.testing.assert_array_equal(largest_lesion(mask), volume((2, 10, 10, 2, 3, 3)))
    np.testing.assert_array_equal(largest_lesion(volume()), volume())
