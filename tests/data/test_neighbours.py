"""Stacks of neighbouring slices: their order, their ends, and that they are of one patient."""

import dataclasses

import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.data.neighbours import middle_channels, stack_around, window
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.data.pipeline import PatchDataset, load_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError


def constant(patient, index, channel):
    return 60 * patient + 10 * index + channel


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """4 patients of 5 RGB slices, of which every channel is one number of its own."""
    root = tmp_path_factory.mktemp("stacks")
    for patient in range(4):
        for index in range(5):
            values = [constant(patient, index, channel) for channel in range(3)]
            image = np.broadcast_to(np.array(values, "uint8"), (24, 24, 3))
            write_image(root / f"p{patient}" / f"{index + 8}.png", image)
    return root


def pairs_of(root, neighbours, patients=None, **options):
    dataset = read_dataset(root)
    if patients is not None:
        dataset = dataset.select(patients)
    return load_pairs(dataset, get_degradation("bicubic", 2), neighbours=neighbours, **options)


def test_window():
    assert window(3, 9, 2) == [1, 2, 3, 4, 5]
    assert window(0, 9, 2) == [0, 0, 0, 1, 2]
    assert window(8, 9, 1) == [7, 8, 8]
    assert window(0, 1, 2) == [0] * 5
    assert window(4, 9, 0) == [4]


def test_stack_around_is_slice_major():
    slices = np.random.default_rng(0).random((6, 4, 5, 3), dtype="float32")
    stack = stack_around(slices, 5, neighbours=2)
    assert stack.shape == (4, 5, 15)
    for offset in range(-2, 3):
        for channel in range(3):
            expected = slices[min(5 + offset, 5), ..., channel]
            np.testing.assert_array_equal(stack[..., (offset + 2) * 3 + channel], expected)
    np.testing.assert_array_equal(middle_channels(stack, 3), slices[5])
    np.testing.assert_array_equal(stack_around(list(slices), 5, 2), stack)


@pytest.mark.parametrize("neighbours", [1, 2])
def test_pairs_hold_their_own_patients_neighbours_in_order(root, neighbours):
    pairs = pairs_of(root, neighbours)
    assert len(pairs) == 20
    for pair in pairs:
        patient, index = int(pair.record.patient[1:]), pair.record.index
        assert pair.lr.shape == (12, 12, (2 * neighbours + 1) * 3)
        expected = [
            constant(patient, min(max(index + offset, 0), 4), channel)
            for offset in range(-neighbours, neighbours + 1)
            for channel in range(3)
        ]
        np.testing.assert_array_equal(pair.lr, np.broadcast_to(expected, pair.lr.shape))
        np.testing.assert_array_equal(pair.middle_lr, middle_channels(pair.lr, 3))
        np.testing.assert_array_equal(pair.hr[::2, ::2], pair.middle_lr)


def test_natural_order_of_numbers(root):
    # Files 8 to 12: by name, 10 would come before 8.
    names = [pair.record.path.name for pair in pairs_of(root, 1, ["p2"])]
    assert names == ["8.png", "9.png", "10.png", "11.png", "12.png"]


def test_patches_never_mix_patients(root):
    pairs = pairs_of(root, 1)
    lr, hr = PatchDataset(pairs, 2, patch_size=8, batch_size=200, steps=1)[0]
    assert (lr.shape, hr.shape) == ((200, 4, 4, 9), (200, 8, 8, 3))
    values = np.rint(lr * 255).astype(int)
    patients = values[:, 0, 0] // 60
    assert (patients == patients[:, :1]).all()
    assert set(patients[:, 0]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(np.rint(hr * 255)[:, ::2, ::2], values[..., 3:6])
    steps = np.diff(values[:, 0, 0, ::3], axis=1)
    assert set(map(tuple, steps)) == {(10, 10), (0, 10), (10, 0)}, "ends repeat, all others step"


def test_patches_are_cut_at_one_place(image_root):
    pairs = pairs_of(image_root, 1)
    plain = pairs_of(image_root, 0)
    options = {"patch_size": 8, "batch_size": 6, "steps": 1, "seed": 3}
    lr, hr = PatchDataset(pairs, 2, **options)[0]
    alone, same_hr = PatchDataset(plain, 2, **options)[0]
    # The same patches as without neighbours, turned alike.
    np.testing.assert_array_equal(hr, same_hr)
    np.testing.assert_array_equal(lr[..., 1:2], alone)
    whole, _ = PatchDataset(pairs, 2, patch_size=None, batch_size=4, steps=1, augment=False)[0]
    assert whole.shape == (4, 16, 16, 3)


def test_lr_slices_are_shared_not_copied(root):
    pairs = pairs_of(root, 2, ["p0"])
    buffers = {id(lr) for pair in pairs for lr in pair.around}
    assert buffers == {id(pair.middle_lr) for pair in pairs}
    assert len(buffers) == 5


def test_some_slices_with_neighbours_from_the_whole_stacks(root):
    whole = read_dataset(root)
    few = dataclasses.replace(whole, slices=whole.slices[2::5])
    seen = []
    degradation = get_degradation("bicubic", 2)
    pairs = load_pairs(few, degradation, progress=lambda *x: seen.append(x), neighbours=1, stacks=whole)
    assert [pair.record for pair in pairs] == list(few.slices)
    by_record = {pair.record: pair for pair in load_pairs(whole, degradation, neighbours=1)}
    for pair in pairs:
        np.testing.assert_array_equal(pair.lr, by_record[pair.record].lr)
    assert seen == [(i + 1, 12) for i in range(12)]


def test_without_neighbours_nothing_changes(root):
    for pair in pairs_of(root, 0):
        assert pair.lr is pair.middle_lr and pair.around == ()


def test_one_range_for_the_stack(tmp_path, smooth_image):
    images = [np.zeros((16, 16, 1), "uint16"), smooth_image(16, 16, dtype="uint16") // 16]
    for index, image in enumerate(images):
        write_image(tmp_path / f"{index}.png", image)
    black, _ = pairs_of(tmp_path, 1)
    # The range of the black slice alone would blow its neighbour up.
    assert black.normalizer == normalizer_for(black.lr)
    assert black.normalizer.normalize(black.lr).max() < 1.5


def test_gaps_are_named(lgg_root, tmp_path, caplog):
    for path in lgg_root.rglob("*_4000_*.tif"):
        if not path.stem.removesuffix("_mask").endswith("_2"):
            target = tmp_path / path.relative_to(lgg_root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    pairs = pairs_of(tmp_path, 1)
    assert [pair.record.index for pair in pairs] == [1, 3]
    np.testing.assert_array_equal(pairs[0].around[2], pairs[1].middle_lr)
    assert "1 patient(s) lack slice numbers (such as TCGA_CS_4000_20000101)" in caplog.text
    caplog.clear()
    pairs_of(tmp_path, 0)
    assert "lack slice numbers" not in caplog.text


@pytest.mark.parametrize(("size", "dtype"), [((16, 24), "uint8"), ((16, 16), "uint16")])
def test_stacks_of_one_size_and_type(tmp_path, smooth_image, size, dtype):
    write_image(tmp_path / "a.png", smooth_image(16, 16))
    write_image(tmp_path / "b.png", smooth_image(*size, dtype=dtype))
    with pytest.raises(MrisrError, match=r"b\.png .* differs from its neighbour .*a\.png .* one stack"):
        pairs_of(tmp_path, 1)
    assert len(pairs_of(tmp_path, 0)) == 2
