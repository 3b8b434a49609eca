"""Real scans, where they are there: one head as NIfTI and as DICOM, and thick slices."""

import pathlib

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.volumes import check_volume, geometry, read_volume, write_volume

VOLUMES = pathlib.Path(__file__).parents[3] / "shared/data/volumes"
HEAD = VOLUMES / "studyforrest_t1"
THICK = VOLUMES / "mri_volunteer"

pytestmark = pytest.mark.skipif(not VOLUMES.is_dir(), reason="the real scans are not at hand")


def test_dicom_and_nifti_of_one_head_agree_in_the_world():
    slices, head = read_volume(HEAD / "dicom"), read_volume(HEAD / "401_anat-T1w.nii.gz")
    check_volume(slices)
    index = np.stack(np.meshgrid(*[np.arange(2, n, 9) for n in slices.shape], indexing="ij"), -1).reshape(
        -1, 3
    )
    step = np.linalg.inv(head.affine) @ slices.affine
    there = index @ step[:3, :3].T + step[:3, 3]
    assert np.abs(there - np.rint(there)).max() < 0.01
    there = np.rint(there).astype(int)
    np.testing.assert_array_equal(head.array[tuple(there.T)], slices.array[tuple(index.T)])


@pytest.mark.parametrize("name", ["out", "out.nii.gz"])
def test_a_slab_of_the_head_upscaled_in_its_plane(tmp_path, name):
    source = read_volume(HEAD / "dicom")
    factors = (2, 2, 1)
    array = ndimage.zoom(source.array.astype("float32"), factors, order=1, grid_mode=True, mode="nearest")
    write_volume(source.upscaled(array, factors, "linear interpolation"), tmp_path / name)
    back = read_volume(tmp_path / name)
    assert back.shape == (548, 768, 40)
    assert back.array.dtype == np.int16
    # The mean of the 2 x 2 fine voxels over a coarse one, at the coarse one's place in the world.
    step = np.linalg.inv(back.affine) @ source.affine
    centre = step[:3, :3] @ np.array((100, 200, 20)) + step[:3, 3]
    np.testing.assert_allclose(centre, (200.5, 400.5, 20), atol=1e-3)
    means = back.array.reshape(274, 2, 384, 2, 40).mean((1, 3))
    assert np.corrcoef(means.ravel(), source.array.ravel())[0, 1] > 0.997


@pytest.mark.parametrize(
    ("file", "plane"), [("5_T1_SE_SAG.nii.gz", "sagittal"), ("6_T2_FLAIR_TRA.nii.gz", "axial")]
)
def test_the_plane_of_thick_slices_is_found(file, plane):
    volume = read_volume(THICK / file)
    check_volume(volume)
    axis = geometry.slice_axis(volume)
    assert geometry.plane_of(volume.affine, axis) == plane
    assert geometry.plane_axis(volume.affine, plane) == axis
