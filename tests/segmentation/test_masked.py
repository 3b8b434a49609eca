import dataclasses
import shutil

import numpy as np
import pytest

from keras_mrisr.data import read_dataset, read_image, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.segmentation.masked import at_peaks, check_lesions, load_stacks, peaks_of


@pytest.fixture
def data(tmp_path, lesion_root):
    """A copy of two patients that may be changed."""
    for patient in ("p0", "p1"):
        shutil.copytree(lesion_root / patient, tmp_path / "data" / patient)
    return tmp_path / "data"


def test_stacks_hold_what_lies_on_disk(data):
    calls = []
    stacks = load_stacks(read_dataset(data), progress=lambda *call: calls.append(call))
    assert [stack.patient for stack in stacks] == ["p0", "p1"]
    assert calls[-1] == (8, 8)
    stack = stacks[1]
    assert [record.path.name for record in stack.records] == ["0.png", "1.png", "2.png", "3.png"]
    np.testing.assert_array_equal(stack.images[2], read_image(data / "p1/2.png"))
    np.testing.assert_array_equal(stack.masks[2], read_image(data / "p1/2_mask.png")[..., 0] == 255)
    assert [mask.any() for mask in stack.masks] == [False, True, True, False]


def test_brightness_is_that_of_the_patient():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 200, (9, 8, 2), "uint8"), rng.integers(0, 50, (5, 8, 2), "uint8")]
    peaks = peaks_of(images)
    every = np.concatenate([image.reshape(-1, 2) for image in images])
    np.testing.assert_allclose(peaks, np.percentile(every, 99, axis=0), rtol=1e-6)
    np.testing.assert_allclose(at_peaks(images[0], peaks), images[0] / peaks, rtol=1e-6)
    assert at_peaks(images[0], peaks).dtype == np.float32
    # Three times as bright is the same for the U-Net.
    np.testing.assert_allclose(peaks_of([3.0 * image for image in images]), 3 * peaks, rtol=1e-6)


def test_a_channel_with_little_or_nothing_in_it():
    image = np.zeros((20, 20, 2), "uint16")
    image[0, 0, 1] = 700
    np.testing.assert_array_equal(peaks_of([image]), [1, 700])


def test_data_without_masks(data):
    for path in data.glob("*/*_mask.png"):
        path.unlink()
    with pytest.raises(MrisrError, match=r"data has no masks: a slice NAME\.tif needs its mask"):
        load_stacks(read_dataset(data))


def test_slices_without_masks_are_left_out(data, caplog):
    (data / "p0/1_mask.png").unlink()
    stacks = load_stacks(read_dataset(data))
    assert len(stacks[0].images) == 3
    assert "1 slices without a mask are left out" in caplog.text


def test_a_mask_of_another_size(data):
    write_image(data / "p0/1_mask.png", np.zeros((16, 32), "uint8"))
    with pytest.raises(MrisrError, match=r"1_mask\.png is 16x32 pixels, its image 32x32"):
        load_stacks(read_dataset(data))


def test_channels_must_agree(data):
    write_image(data / "p1/0.png", np.zeros((32, 32, 3), "uint8"))
    with pytest.raises(MrisrError, match=r"p1.0\.png has 3 channels where 1 were expected"):
        load_stacks(read_dataset(data))
    with pytest.raises(MrisrError, match=r"p0.0\.png has 1 channels where 3 were expected"):
        load_stacks(read_dataset(data), channels=3)


def test_empty_masks(data):
    for path in data.glob("*/*_mask.png"):
        write_image(path, np.zeros((32, 32), "uint8"))
    with pytest.raises(MrisrError, match="masks of all 2 training patients are empty"):
        check_lesions(load_stacks(read_dataset(data)), "training")


def test_volumes(data):
    dataset = dataclasses.replace(read_dataset(data), kind="volumes")
    with pytest.raises(MrisrError, match="slices are needed here"):
        load_stacks(dataset)
