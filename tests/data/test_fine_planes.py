import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.data.fine_planes import load_fine_planes
from keras_mrisr.errors import DataError


@pytest.fixture
def save_volume(tmp_path, smooth_image):
    """A function (name, shape, spacing, fill) that writes a NIfTI volume; returns its folder."""

    def save(name, shape, spacing, array=None):
        if array is None:
            array = smooth_image(shape[0], shape[1], shape[2], "int16", seed=len(name))
        path = tmp_path / "scans" / name / "scan.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1])), path)
        return tmp_path / "scans"

    return save


def shapes(planes):
    return sorted({image.shape for image in planes})


def test_a_thick_stack_gives_its_slices_and_a_thin_volume_planes_of_all_directions(save_volume):
    root = save_volume("thick", (40, 36, 6), (0.7, 0.7, 4.8))
    assert shapes(load_fine_planes(read_dataset(root))) == [(40, 36)]
    assert len(load_fine_planes(read_dataset(root))) == 6
    root = save_volume("thin", (20, 24, 16), (1.0, 1.05, 1.0))
    planes = load_fine_planes(read_dataset(root))
    assert shapes(planes) == [(20, 16), (20, 24), (24, 16), (40, 36)]
    assert len(planes) == 6 + 20 + 24 + 16
    # As `volume_normalizer` has it: one range for all planes of a volume.
    highest = max(float(image.max()) for image in planes)
    assert 1 <= highest < 1.2 and planes[0].dtype == np.float32
    assert len(load_fine_planes(read_dataset(root), smallest=20)) == 6 + 16


def test_planes_of_two_thick_axes_are_not_fine(save_volume):
    root = save_volume("odd", (12, 12, 12), (0.5, 3.0, 3.0))
    with pytest.raises(DataError, match=r"scan.nii.gz has voxels of 0.5 x 3 x 3 mm: no plane of it"):
        load_fine_planes(read_dataset(root))


def test_equal_channels_count_once_and_blank_planes_not_at_all(tmp_path, smooth_image):
    grey = smooth_image(32, 32, 1)
    other = smooth_image(32, 32, 1, seed=3)
    write_image(tmp_path / "a" / "0.png", np.concatenate([grey, grey, other], axis=-1))
    write_image(tmp_path / "a" / "1.png", np.full((32, 32, 1), 9, "uint8"))
    planes = load_fine_planes(read_dataset(tmp_path))
    assert len(planes) == 2
    np.testing.assert_allclose(planes[0], grey[..., 0] / 255, atol=1e-6)
    np.testing.assert_allclose(planes[1], other[..., 0] / 255, atol=1e-6)
    assert len(planes[:1]) == 1
    with pytest.raises(DataError, match=r"no plane of its 2 slices of 1 patient is 40 pixels wide or more"):
        load_fine_planes(read_dataset(tmp_path), smallest=40)
