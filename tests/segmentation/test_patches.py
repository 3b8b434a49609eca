import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.data import read_dataset
from keras_mrisr.errors import MrisrError
from keras_mrisr.segmentation.masked import MaskedStack, load_stacks
from keras_mrisr.segmentation.patches import MaskedPatches, patch


@pytest.fixture(scope="module")
def stacks(lesion_root):
    return load_stacks(read_dataset(lesion_root))


def test_batches(stacks):
    patches = MaskedPatches(stacks, patch_size=24, batch_size=6, steps=5, seed=3)
    assert len(patches) == 5
    image, mask = patches[2]
    assert image.shape == mask.shape == (6, 24, 24, 1)
    assert image.dtype == mask.dtype == np.float32
    assert set(np.unique(mask)) <= {0, 1}
    assert image.min() >= -0.3
    assert image.max() < 2


def test_batches_depend_on_their_place_only(stacks):
    first, second = (MaskedPatches(stacks, patch_size=24, batch_size=2, seed=1) for _ in range(2))
    second.start(0, 4)
    for one, other in zip(first[4], second[0], strict=True):
        np.testing.assert_array_equal(one, other)
    second.start(1)
    assert not np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][0], MaskedPatches(stacks, patch_size=24, batch_size=2, seed=2)[0][0])


def test_lesions_are_drawn_as_often_as_asked(stacks):
    shown = {}
    for share in (0.0, 1.0):
        patches = MaskedPatches(stacks, patch_size=16, batch_size=1000, lesion_share=share)
        shown[share] = np.mean(patches[0][1].any(axis=(1, 2, 3)))
    assert shown[1.0] > 0.95  # A turn may bring the last pixel out of sight.
    assert shown[0.0] < 0.5


def test_without_augmentation_patches_are_parts_of_slices(stacks):
    image, mask = MaskedPatches(stacks, patch_size=12, batch_size=3, augment=False, lesion_share=1.0)[0]
    for one, inside in zip(image, mask, strict=True):
        found = [
            (stack, i, y, x)
            for stack in stacks
            for i, whole in enumerate(stack.images)
            for y in range(21)
            for x in range(21)
            if np.allclose(whole[y : y + 12, x : x + 12] / stack.peaks, one, atol=1e-5)
        ]
        [(stack, i, y, x)] = found
        np.testing.assert_array_equal(stack.masks[i][y : y + 12, x : x + 12], inside[..., 0])


def test_slices_smaller_than_the_patch_are_padded(stacks):
    image, mask = MaskedPatches(stacks, patch_size=40, batch_size=2, augment=False)[0]
    assert image.shape == mask.shape == (2, 40, 40, 1)
    assert not image[:, :4].any()
    assert not image[:, :, 36:].any()
    assert image[:, 4:36, 4:36].all()


@pytest.mark.parametrize("mirror", [False, True])
def test_patch_is_turned_and_scaled_about_its_middle(smooth_image, mirror):
    image = smooth_image(48, 40, 2, "float32")
    mask = image[..., 0] > 0.6
    angle, scale, centre = 0.2, 1.1, (25, 18)
    turned, turned_mask = patch(image, mask, 16, centre, angle, scale, mirror)
    rows, columns = np.mgrid[:16, :16] - 7.5
    columns = -columns if mirror else columns
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    y = centre[0] - 0.5 + cos * rows - sin * columns
    x = centre[1] - 0.5 + cos * columns + sin * rows
    for channel in range(2):
        expected = ndimage.map_coordinates(image[..., channel], (y, x), order=3)
        np.testing.assert_allclose(turned[..., channel], expected, atol=0.02)  # SciPy's are splines.
    expected = ndimage.map_coordinates(mask.astype("float32"), (y, x), order=0)
    assert (expected != turned_mask[..., 0]).mean() < 0.02  # Ties.
    assert turned_mask.any()


def test_nothing_to_learn():
    empty = MaskedStack("p", [np.ones((8, 8, 1))], [np.zeros((8, 8), bool)], np.ones(1), ())
    with pytest.raises(MrisrError, match="No slice shows a lesion"):
        MaskedPatches([empty], patch_size=8)
