"""What is made of a volume: thick slices over the same extent, masks, and refusals."""

import dataclasses

import numpy as np
import pytest

from keras_mrisr.degrade.thick_slices import ThickSlices
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.volumes import (
    Masks,
    choose_axes,
    find_volumes,
    otsu_threshold,
    read_thin,
    thicken,
    tissue_mask,
)


@pytest.fixture
def thin(write, tmp_path):
    record = find_volumes(write(tmp_path / "a.nii.gz")).slices[0]
    return record, read_thin(record)


def corners(volume):
    """Outer corners of the box in the world."""
    ends = np.array([[*place, 1] for place in np.ndindex(2, 2, 2)], float)
    ends[:, :3] = ends[:, :3] * np.array(volume.shape) - 0.5
    return (ends @ volume.affine.T)[:, :3]


@pytest.mark.parametrize(
    ("factor", "lines", "slices"), [(4, 24, 6), (2.5, 25, 10), (3.3, 23, 7), (1.2, 26, 21)]
)
def test_thick_slices_fill_the_lines_that_are_kept(thin, factor, lines, slices):
    record, volume = thin
    case = thicken(record, volume, np.ones(volume.shape, bool), 2, factor, ThroughPlaneOptions())
    assert (case.lines, case.lr.shape) == (lines, (22, 24, slices))
    assert corners(case.lr) == pytest.approx(corners(case.hr), abs=1e-9)
    wanted = ThickSlices(lines / slices).degrade(volume.array[:, :, :lines], 2)
    assert np.array_equal(case.lr.array, wanted)
    assert case.lr.slice_thickness == pytest.approx(lines / slices)


def test_gap_and_thickness_in_millimetres_are_the_same_thing(thin):
    record, volume = thin
    mask = np.ones(volume.shape, bool)
    gap = thicken(record, volume, mask, 2, 4, ThroughPlaneOptions(gap=0.2))
    millimetres = thicken(record, volume, mask, 2, 4, ThroughPlaneOptions(slice_thickness=3.2))
    assert gap.thickness == pytest.approx(0.8) == millimetres.thickness
    assert np.array_equal(gap.lr.array, ThickSlices(4, 0.8).degrade(volume.array[:, :, :24], 2))
    assert gap.lr.array == pytest.approx(millimetres.lr.array, rel=1e-6)


def test_noise_is_rician_of_that_strength_and_the_same_again(thin):
    record, volume = thin
    volume = dataclasses.replace(volume, array=np.full(volume.shape, 100, "float32"))
    options = ThroughPlaneOptions(noise_snr=20)
    mask = np.ones(volume.shape, bool)
    one, again = (thicken(record, volume, mask, 2, 2, options).lr.array for _ in range(2))
    assert np.array_equal(one, again)
    assert one.std() == pytest.approx(5, rel=0.05)


def test_otsu_is_that_of_scikit_image(head):
    filters = pytest.importorskip("skimage.filters")
    values = np.clip(head() / 700, 0, 1)
    wanted = filters.threshold_otsu(values.ravel())
    assert otsu_threshold(values) == pytest.approx(wanted, abs=2 / 256)


def test_tissue_is_the_largest_part_without_holes():
    volume = np.zeros((30, 30, 30), "float32")
    volume[5:20, 5:20, 5:20] = 100
    volume[10:12, 10:12, 10:12] = 0  # A ventricle.
    volume[25:27, 25:27, 25:27] = 100  # A speck.
    wanted = np.zeros(volume.shape, bool)
    wanted[5:20, 5:20, 5:20] = True
    assert np.array_equal(tissue_mask(volume, 100), wanted)


def test_masks_come_by_name(write, scans, tmp_path):
    dataset = find_volumes(scans)
    record = dataset.slices[1]
    mask = np.zeros((22, 24, 26), "uint8")
    mask[3:9] = 2
    name = record.path.relative_to(scans).as_posix().removesuffix(".gz")  # Compressed or not.
    write(tmp_path / "masks" / name, mask)
    masks = Masks(tmp_path / "masks", scans, 4)
    assert np.array_equal(masks(record, read_thin(record)), mask > 0)
    with pytest.raises(DataError, match=r"lacks sub-02.*the mask of"):
        masks(dataset.slices[2], read_thin(dataset.slices[2]))


def test_masks_of_other_grids_are_refused(write, scans, tmp_path):
    record = find_volumes(scans).slices[0]
    small = write(tmp_path / "small.nii.gz", np.ones((22, 24, 25), "uint8"))
    with pytest.raises(DataError, match="not on the grid"):
        Masks(small, scans, 1)(record, read_thin(record))
    moved = write(tmp_path / "moved.nii.gz", np.ones((22, 24, 26), "uint8"), np.eye(4))
    with pytest.raises(DataError, match="not on the grid"):
        Masks(moved, scans, 1)(record, read_thin(record))
    with pytest.raises(DataError, match="one mask, for 4 volumes"):
        Masks(small, scans, 4)


def test_axes_by_name(thin):
    _, volume = thin
    assert [choose_axes(volume, name) for name in ("slice", "sagittal", "coronal", "axial")] == [
        [2], [0], [1], [2],
    ]  # fmt: skip
    assert choose_axes(volume, "all") == [0, 1, 2]


def test_a_thick_volume_is_refused_along_its_thick_axis(write, tmp_path):
    path = write(tmp_path / "thick.nii.gz", affine=np.diag([0.7, 0.7, 4.8, 1]))
    volume = read_thin(find_volumes(path).slices[0])
    for name in ("slice", "axial", "all"):
        with pytest.raises(DataError, match=r"thick\.nii\.gz is itself thick: 4.8 mm.*0.7 mm"):
            choose_axes(volume, name)
    assert choose_axes(volume, "sagittal") == [0]


def test_too_few_slices_or_voxels_are_refused(thin, write, tmp_path):
    record, volume = thin
    with pytest.raises(DataError, match=r"23 voxels along the axis: 2 slices.* of 8.*more are needed"):
        narrow = dataclasses.replace(volume, array=volume.array[:, :, :23])
        thicken(record, narrow, np.ones(narrow.shape, bool), 2, 8, ThroughPlaneOptions())
    small = find_volumes(write(tmp_path / "small.nii.gz", volume.array[:10])).slices[0]
    with pytest.raises(DataError, match="11 voxels or more"):
        read_thin(small)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": (9,)}, "`factor`"),
        ({"factors": (1.1,)}, "`factor`"),
        ({"factors": ()}, "`factor`"),
        ({"axis": "oblique"}, "`axis`"),
        ({"profile": "round"}, "`profile`"),
        ({"gap": 0.9}, "`gap`"),
        ({"gap": 0.2, "slice_thickness": 3.0}, "`gap`"),
        ({"slice_thickness": 0}, "`slice_thickness`"),
        ({"noise_snr": -1}, "`noise_snr`"),
        ({"limit": 0}, "`limit`"),
        ({"predictions": {"a": "b"}, "factors": (2, 4)}, "`predictions`"),
        ({"lr_out": "b", "axis": "all"}, "`lr_out`"),
    ],
)
def test_bad_options_name_themselves(options, message):
    with pytest.raises(ConfigError, match=message):
        ThroughPlaneOptions(**options)


def test_thickness_unlike_the_spacing_is_refused(thin):
    record, volume = thin
    with pytest.raises(ConfigError, match=r"`slice_thickness`.*1.33 to 12 mm"):
        thicken(record, volume, volume.array > 0, 2, 4, ThroughPlaneOptions(slice_thickness=1))
