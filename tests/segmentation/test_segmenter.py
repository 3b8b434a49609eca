import numpy as np
import pytest

from keras_mrisr.data import read_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.segmentation import Segmenter
from keras_mrisr.segmentation.lesions import largest_lesion
from keras_mrisr.segmentation.train import patient_dice


@pytest.fixture(scope="module")
def segmenter(unet_run):
    return Segmenter.load(unet_run)


@pytest.fixture(scope="module")
def slices(lesion_root):
    return np.stack([read_image(lesion_root / "p3" / f"{index}.png") for index in range(4)])


def test_masks(segmenter, slices, lesion_root):
    masks = segmenter(slices)
    truth = [read_image(lesion_root / "p3" / f"{index}_mask.png")[..., 0] > 0 for index in range(4)]
    assert [mask.shape for mask in masks] == [(32, 32)] * 4
    assert masks[0].dtype == bool
    assert patient_dice(truth, masks) > 0.7
    chances = segmenter.probabilities(slices)
    assert chances[0].dtype == np.float32
    np.testing.assert_array_equal(np.stack(masks), np.stack(chances) >= 0.5)
    np.testing.assert_array_equal(segmenter(slices, threshold=0.9)[1], chances[1] >= 0.9)


def test_brightness_and_type_do_not_matter(segmenter, slices):
    expected = np.stack(segmenter.probabilities(slices))
    for other in (slices.astype("uint16") * 40, slices / np.float32(1e3)):
        np.testing.assert_allclose(np.stack(segmenter.probabilities(other)), expected, atol=1e-3)


def test_largest_lesion(segmenter, slices):
    masks = np.stack(segmenter(slices, threshold=0.05))
    np.testing.assert_array_equal(segmenter(slices, 0.05, largest=True), largest_lesion(masks))


def test_slices_of_two_sizes(segmenter, slices):
    pair = [slices[1], slices[2][:25, :31]]
    assert [mask.shape for mask in segmenter(pair)] == [(32, 32), (25, 31)]
    with pytest.raises(MrisrError, match="slices must be of one size"):
        segmenter(pair, largest=True)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda x: x[0, ..., 0], r"Expected slices \(H, W, C\)"),
        (
            lambda x: np.repeat(x, 3, axis=-1),
            r"takes 1 channel\(s\). Received an image of shape \(32, 32, 3\)",
        ),
        (lambda x: x / np.float32(0), "NaN or infinite"),
        (lambda x: x[:0], "Received: none"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_slices(segmenter, slices, change, message):
    with pytest.raises(MrisrError, match=message):
        segmenter(change(slices))
