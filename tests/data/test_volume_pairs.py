import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, read_image, write_image
from keras_mrisr.data.normalize import RangeNormalizer, volume_normalizer
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.data.volume_pairs import VolumePair, VolumePatches, load_volume_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError

THICK = get_degradation("slice-profile", (1, 1, 2))


def save(path, array, spacing=(1, 1, 3)):
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1])), path)


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).integers(0, 3000, (20, 18, 9)).astype("int16")


def coded_pair(factors, sizes=(6, 7, 5)):
    """A volume whose every LR voxel, and the HR block that belongs to it, holds one number of its own."""
    lr = hr = np.arange(np.prod(sizes), dtype="float32").reshape(*sizes, 1)
    for axis, factor in enumerate(factors):
        hr = hr.repeat(factor, axis=axis)
    return VolumePair(hr, lr, RangeNormalizer(0.0, 1.0), SliceRecord("v.nii", "p", 0))


def test_files(tmp_path, values):
    save(tmp_path / "a.nii", values)
    # The slices are along the first axis here.
    save(tmp_path / "b.nii.gz", np.moveaxis(values, 2, 0), spacing=(3, 1, 1))
    seen = []
    pairs = load_volume_pairs(
        read_dataset(tmp_path), THICK, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]
    for pair, name in zip(pairs, ("a.nii", "b.nii.gz"), strict=True):
        assert pair.record.path.name == name
        np.testing.assert_array_equal(pair.hr[..., 0], values[:, :, :8])
        np.testing.assert_array_equal(pair.lr, THICK.degrade(pair.hr))
        assert (pair.hr.dtype, pair.lr.shape) == ("int16", (20, 18, 4, 1))
        assert pair.normalizer == volume_normalizer(pair.lr)


def test_stacks_of_slices(lgg_root):
    dataset = read_dataset(lgg_root)
    pairs = load_volume_pairs(dataset, THICK)
    assert len(pairs) == 7
    for pair, (patient, records) in zip(pairs, dataset.by_patient().items(), strict=True):
        assert pair.record.patient == patient
        assert pair.normalizer == RangeNormalizer(0.0, 255.0)
        assert (pair.hr.shape, pair.lr.shape) == ((32, 32, 2, 3), (32, 32, 1, 3))
        for z in range(2):
            np.testing.assert_array_equal(pair.hr[:, :, z], read_image(records[z].path))


def test_rejects(tmp_path, values, smooth_image):
    save(tmp_path / "a.nii", values)
    with pytest.raises(MrisrError, match=r"a\.nii has 1 channels where 3 were expected"):
        load_volume_pairs(read_dataset(tmp_path), THICK, channels=3)
    with pytest.raises(MrisrError, match="No volumes to load"):
        load_volume_pairs(read_dataset(tmp_path).select([]), THICK)
    save(tmp_path / "b.nii", values[:, :, :1])
    with pytest.raises(MrisrError, match=r"b\.nii: A volume of .* is too small"):
        load_volume_pairs(read_dataset(tmp_path), THICK)
    save(tmp_path / "b.nii", np.where(values > 100, values, np.nan).astype("float32"))
    with pytest.raises(MrisrError, match=r"b\.nii holds .* NaN"):
        load_volume_pairs(read_dataset(tmp_path), THICK)
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:3000])
    with pytest.raises(MrisrError, match=r"b\.nii is broken or cut off"):
        load_volume_pairs(read_dataset(tmp_path), THICK)
    images = tmp_path / "images"
    write_image(images / "0.png", smooth_image(16, 16))
    write_image(images / "1.png", smooth_image(16, 18))
    with pytest.raises(MrisrError, match=r"1\.png is \(16, 18, 1\) .* must be one stack"):
        load_volume_pairs(read_dataset(images), THICK)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("factors", [(1, 1, 2), (2, 2, 3)])
def test_blocks_are_aligned(factors, candidates, augment):
    pair = coded_pair(factors)
    size = tuple(4 * factor for factor in factors)
    dataset = VolumePatches(
        [pair], factors, size, batch_size=40, steps=2, augment=augment, candidates=candidates
    )
    places = set()
    for lr, hr in dataset:
        assert (lr.shape, hr.shape) == ((40, 4, 4, 4, 1), (40, *size, 1))
        assert lr.dtype == hr.dtype == "float32"
        assert lr.flags.c_contiguous and hr.flags.c_contiguous
        expected = lr
        for axis, factor in enumerate(factors, start=1):
            expected = expected.repeat(factor, axis=axis)
        np.testing.assert_array_equal(hr, expected)
        places.update(lr.min(axis=(1, 2, 3, 4)))
    assert {place % 5 for place in places} == {0, 1}, "from the first to the last slice"
    assert len(places) > 10
    np.testing.assert_array_equal(dataset[1][0], VolumePatches(
        [pair], factors, size, batch_size=40, steps=2, augment=augment, candidates=candidates
    )[1][0])  # fmt: skip


def test_all_sixteen_orientations_occur():
    pair = coded_pair((1, 1, 2), sizes=(3, 3, 3))
    lr, _ = VolumePatches([pair], (1, 1, 2), (3, 3, 6), batch_size=400, steps=1)[0]
    expected = {
        np.rot90(block[:, :, ::step], k).tobytes()
        for block in (pair.lr, pair.lr[:, ::-1])
        for k in range(4)
        for step in (1, -1)
    }
    assert len(expected) == 16
    assert {block.tobytes() for block in lr} == expected


def test_central_block():
    pair = coded_pair((2, 2, 3), sizes=(8, 7, 4))
    block = pair.central_block((9, 100, 4))
    assert (block.lr.shape, block.hr.shape) == ((4, 7, 1, 1), (8, 14, 3, 1))
    np.testing.assert_array_equal(block.lr, pair.lr[2:6, :, 1:2])
    np.testing.assert_array_equal(block.hr, pair.hr[4:12, :, 3:6])
    assert block.record is pair.record


def test_bad_sizes():
    pair = coded_pair((1, 1, 2))
    with pytest.raises(MrisrError, match=r"v\.nii is 6x7x10, smaller than the block of 6x6x12"):
        VolumePatches([pair], (1, 1, 2), (6, 6, 12))
    for size in ((6, 6, 3), (6, 6, 0)):
        with pytest.raises(MrisrError, match="patch_size must be multiples of the scale"):
            VolumePatches([pair], (1, 1, 2), size)
    with pytest.raises(MrisrError, match="no volumes to take blocks from"):
        VolumePatches([], (1, 1, 2))
