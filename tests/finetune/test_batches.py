import dataclasses

import numpy as np
import pytest

from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.finetune.batches import LabelledBatches, as_input, cut, whole_slice
from keras_mrisr.finetune.labels import UNKNOWN, LabelledSlice, load_labelled
from keras_mrisr.models.features import network_input

BOTH = ("tumour", "sequence")


@pytest.fixture(scope="module")
def slices(toy_dataset):
    return load_labelled(toy_dataset.select(["p0", "p1"]), BOTH)


def labelled(image, mask=None):
    sequences = tuple(range(image.shape[-1]))
    return LabelledSlice(image, normalizer_for(image), mask, sequences, record=None)


def batches(slices, **options):
    options = {"image_size": 32, "batch_size": 5, "steps": 3, **options}
    return LabelledBatches(slices, options.pop("labels", BOTH), **options)


def test_images_are_what_the_perceptual_loss_shows_the_network(slices):
    (image,) = (slices[1].image[np.newaxis].astype("float32") / 255,)
    shown = as_input(whole_slice(slices[1], 32)[0])
    np.testing.assert_allclose(shown[:1], network_input(image, "auto"), atol=1e-3)
    np.testing.assert_allclose(shown[1:], network_input(image, "each"), atol=1e-3)
    grey = labelled(slices[1].image[..., :1])
    images, sequences = whole_slice(grey, 32)
    assert sequences == (UNKNOWN,)
    np.testing.assert_allclose(as_input(images), network_input(image[..., :1]), atol=1e-3)


def test_contract(slices):
    data = batches(slices)
    assert len(data) == 3
    images, labels, weights = data[0]
    assert images.shape == (10, 32, 32, 3) and images.dtype == "float32"
    assert {key: (part.shape, part.dtype.name) for key, part in labels.items()} == {
        "tumour": ((10, 1), "float32"),
        "sequence": ((10,), "int32"),
    }
    assert all(part.shape == (10,) and part.dtype == "float32" for part in weights.values())
    # All channels of a slice, then one of them: only the grey image has a sequence.
    assert weights["sequence"].tolist() == [0, 1] * 5
    again = batches(slices)
    again.start(0, 2)
    np.testing.assert_array_equal(again[0][0], data[2][0])
    assert np.abs(data[1][0] - images).max() > 1
    assert set(batches(slices, labels=["tumour"])[0][1]) == {"tumour"}
    assert batches([labelled(s.image[..., :1], s.mask) for s in slices])[0][0].shape[0] == 5


def test_labels_are_those_of_the_slices(slices):
    data = batches(slices, batch_size=12, augment=False)
    whole = {each.tumour: [] for each in slices}
    for each in slices:
        images, _ = whole_slice(each, 32)
        whole[each.tumour].append(as_input(images))
    seen = set()
    for image, tumour, sequence, known in zip(
        data[0][0], data[0][1]["tumour"][:, 0], data[0][1]["sequence"], data[0][2]["sequence"], strict=True
    ):
        place = 1 + sequence if known else 0
        assert any(np.array_equal(image, images[place]) for images in whole[int(tumour)])
        seen.add((int(tumour), int(place)))
    assert len(seen) > 4


def test_augmented_images_keep_their_size_and_are_turned(slices):
    image = slices[0].image
    plain = as_input(whole_slice(slices[0], 32)[0])[0]
    data = batches([dataclasses.replace(slices[0], image=image)], batch_size=40)
    # Brightness aside: the pixels of the whole slice, in another order.
    order = np.sort(plain + 120, axis=None)
    found = [np.sort(each + 120, axis=None) for each in data[0][0][::2]]
    assert all(np.corrcoef(order, each)[0, 1] > 0.98 for each in found)
    assert sum(np.corrcoef(plain.ravel(), each.ravel())[0, 1] < 0.9 for each in data[0][0][::2]) > 5


def test_rare_tumours_weigh_as_much_as_the_rest(slices):
    with_tumour, without = slices[1::2], slices[::2]
    rare = [with_tumour[0], *without[:3]]
    _, labels, weights = batches(rare, batch_size=50)[0]
    tumour = labels["tumour"][:, 0] == 1
    assert set(weights["tumour"][tumour]) == {2.0}
    assert set(weights["tumour"][~tumour]) == {np.float32(2 / 3)}


def test_tumour_of_a_crop():
    mask = np.zeros((20, 20), bool)
    mask[:4, :4] = True
    each = labelled(np.full((20, 20, 1), 7, "uint8"), mask)
    assert cut(each, 10, 10, (0, 0))[1] == 1
    assert cut(each, 10, 10, (2, 0))[1] == 1, "half of it"
    assert cut(each, 10, 10, (3, 0))[1] == UNKNOWN
    assert cut(each, 10, 10, (4, 0))[1] == 0
    assert cut(labelled(each.image, np.zeros_like(mask)), 10, 10, (0, 0))[1] == 0
    assert cut(labelled(each.image), 10, 10, (0, 0))[1] == UNKNOWN
    # Crops that hold no more than a corner of the tumour say nothing.
    data = batches([each, labelled(each.image, np.zeros_like(mask))], smallest_crop=0.5, batch_size=60)
    assert 0 in data[0][2]["tumour"]


def test_crops_are_in_place_and_antialiased():
    y, x = np.mgrid[:64, :64]
    ramp = labelled((y * 256 + x)[..., np.newaxis].astype("float32"))
    image, _ = cut(ramp, 16, 16, (8, 24))
    values = ramp.normalizer.restore(image, "float64")[..., 0]
    np.testing.assert_allclose(values, ramp.image[8:24, 24:40, 0], rtol=1e-4, atol=0.05)
    checks = labelled(((x + y) % 2 * 255)[..., np.newaxis].astype("uint8"))
    small, _ = cut(checks, 16, 64, (0, 0))
    np.testing.assert_allclose(small[2:-2, 2:-2], 0.5, atol=0.02)


def test_slices_that_are_not_square_are_padded():
    image = np.full((10, 20, 2), 1000, "uint16")
    image[:, :5] = 500
    square, _ = cut(labelled(image), 20, 20, (0, 0))
    assert square.shape == (20, 20, 2)
    assert not square[:5].any() and not square[15:].any()
    np.testing.assert_allclose(square[5:15, 5:], 1, atol=1e-5)
    np.testing.assert_allclose(square[5:15, :5], 0.5, atol=1e-5)
