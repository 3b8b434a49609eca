import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.data.inspect import inspect_dataset
from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.data.pipeline import load_pairs, separate_channels
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError

BICUBIC = get_degradation("bicubic", 2)


@pytest.fixture
def volumes(tmp_path):
    """Two volumes of one patient: (48, 40, 5) across the third axis and (4, 48, 40) across the first.

    The first slice of each shows noise of air only; every other one has a value of its own.
    """
    rng = np.random.default_rng(0)
    made = []
    for name, count, spacing, axis in (("a", 5, (1, 1, 4), 2), ("b", 4, (3, 1, 1), 0)):
        stack = rng.integers(0, 20, (48, 40, count)).astype("int16")
        for place in range(1, count):
            stack[10:40, 10:30, place] = 500 * place + rng.integers(-60, 60, (30, 20))
        made.append(stack)
        array = np.moveaxis(stack, 2, axis)
        path = tmp_path / "sub-1" / f"ses-{name}" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return tmp_path, made


def test_slices_lie_across_the_largest_spacing(volumes):
    root, stacks = volumes
    dataset = as_slices(read_dataset(root))
    assert (len(dataset), dataset.patients) == (9, ("sub-1",))
    assert as_slices(dataset) is dataset
    assert [record.name for record in dataset.slices[:2]] == ["a.nii.gz/0000", "a.nii.gz/0001"]
    for stack, records in zip(stacks, dataset.stacks(), strict=True):
        for place, record in enumerate(records):
            np.testing.assert_array_equal(dataset.read(record)[..., 0], stack[:, :, place])
            assert dataset.volumes.normalizer(record) == volume_normalizer(stack)
    assert [record.index for record in dataset.without_blank().slices] == [1, 2, 3, 4, 1, 2, 3]


def test_pairs_have_the_range_of_their_volume_and_neighbours_of_it_alone(volumes):
    root, stacks = volumes
    pairs = load_pairs(read_dataset(root), BICUBIC, neighbours=1)
    assert len(pairs) == 7
    first = pairs[0]
    np.testing.assert_array_equal(first.hr[..., 0], stacks[0][:, :, 1])
    for offset, lr in zip((0, 1, 2), first.around, strict=True):
        np.testing.assert_array_equal(lr, BICUBIC.degrade(stacks[0][:, :, offset, None]))
    last_of_a, first_of_b = pairs[3], pairs[4]
    np.testing.assert_array_equal(last_of_a.around[2], last_of_a.middle_lr)  # Not the first of the other one.
    np.testing.assert_array_equal(first_of_b.hr[..., 0], stacks[1][:, :, 1])
    assert first.normalizer == last_of_a.normalizer == volume_normalizer(stacks[0])
    assert separate_channels(pairs)[0].normalizer == first.normalizer


def test_a_data_set_of_volumes_is_inspected(volumes):
    root, _ = volumes
    report = inspect_dataset(read_dataset(root))
    assert (report.total.patients, report.total.slices) == (1, 9)
    assert report.total.sizes == {"48x40": 9}
    near_empty = [finding.message for finding in report.dataset.findings if finding.kind == "near-empty"]
    assert near_empty == [f"{name}.nii.gz/0000 is nearly empty (0.0% tissue)" for name in "ab"]


def test_a_volume_of_lines(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(12.0).reshape(1, 1, 12), np.eye(4)), tmp_path / "line.nii")
    with pytest.raises(MrisrError, match=r"line.nii has slices of 1x1 voxels"):
        as_slices(read_dataset(tmp_path))
