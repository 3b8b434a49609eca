"""Scores in 3-D against scikit-image, and kernels written out."""

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.degrade.thick_slices import ThickSlices
from keras_mrisr.evaluation.through_plane.measures import (
    Scorer,
    detail_recovered,
    laplacian_of_gaussian,
    ssim_map,
)
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.volumes import find_volumes, read_thin, thicken

structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
OPTIONS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


def pair(shape=(20, 19, 18)):
    rng = np.random.default_rng(0)
    hr = ndimage.gaussian_filter(rng.random(shape), 1) * 2 - 0.5
    return hr, hr + 0.1 * rng.standard_normal(shape)


def log_kernel(dimensions):
    """The sampled Laplacian of a Gaussian over 15 voxels, of a Gaussian whose sum is 1."""
    places = np.arange(-7, 8)
    squares = sum(np.meshgrid(*[places**2] * dimensions, indexing="ij"))
    gaussian = np.exp(-squares / (2 * 1.5**2))
    return gaussian / gaussian.sum() * (squares - dimensions * 1.5**2) / 1.5**4


@pytest.fixture(scope="module")
def case(head, write, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("one") / "a.nii.gz")
    record = find_volumes(path).slices[0]
    volume = read_thin(record)
    mask = np.zeros(volume.shape, bool)
    mask[4:18, 3:20, 2:25] = True
    return thicken(record, volume, mask, 2, 2.0, ThroughPlaneOptions())


def test_ssim_in_3d_is_that_of_scikit_image():
    hr, sr = pair()
    wanted = structural_similarity(hr, sr, full=True, **OPTIONS)[1]
    assert ssim_map(hr, sr) == pytest.approx(wanted, abs=1e-12)
    assert np.abs(ssim_map(hr.astype("float32"), sr.astype("float32")) - wanted).max() < 1e-3


def test_ssim_by_plane_is_that_of_scikit_image():
    hr, sr = pair()
    found = ssim_map(hr, sr, (0, 2))
    for place in (0, 7):
        wanted = structural_similarity(hr[:, place], sr[:, place], full=True, **OPTIONS)[1]
        assert found[:, place] == pytest.approx(wanted, abs=1e-12)


def test_laplacian_is_that_of_the_kernel_written_out():
    hr, _ = pair()
    wanted = ndimage.correlate(hr, log_kernel(3), mode="mirror")
    assert laplacian_of_gaussian(hr) == pytest.approx(wanted, abs=1e-12)
    plane = ndimage.correlate(hr[:, :, 5], log_kernel(2), mode="mirror")
    assert laplacian_of_gaussian(hr, (0, 1))[:, :, 5] == pytest.approx(plane, abs=1e-12)


def test_scores_of_a_volume_and_of_its_planes(case):
    hr, white, mask = case.hr.array.astype("float64"), case.white, case.mask
    rng = np.random.default_rng(1)
    sr = hr + 20 * rng.standard_normal(hr.shape)
    found = dict(Scorer(case)(sr.astype("float32")))
    a, b = hr / white, sr / white
    assert found["volume"]["psnr"] == pytest.approx(-10 * np.log10(np.square(a - b)[mask].mean()), abs=1e-4)
    inside = np.zeros_like(mask)
    inside[5:-5, 5:-5, 5:-5] = mask[5:-5, 5:-5, 5:-5]
    ssim = structural_similarity(a, b, full=True, **OPTIONS)[1]
    assert found["volume"]["ssim"] == pytest.approx(ssim[inside].mean(), abs=1e-4)
    error, detail = (ndimage.correlate(x, log_kernel(3), mode="mirror") for x in (b - a, a))
    hfen = np.sqrt(np.square(error)[mask].sum() / np.square(detail)[mask].sum())
    assert found["volume"]["hfen"] == pytest.approx(hfen, rel=1e-4)
    # Axis 0 is right to left: its planes are the sagittal ones.
    planes = [-10 * np.log10(np.square(a - b)[x][mask[x]].mean()) for x in range(4, 18)]
    assert found["sagittal"]["psnr"] == pytest.approx(np.mean(planes), abs=1e-4)
    planes = []
    for z in range(2, 25):
        inside = np.zeros(mask.shape[:2], bool)
        inside[5:-5, 5:-5] = mask[5:-5, 5:-5, z]
        planes.append(structural_similarity(a[..., z], b[..., z], full=True, **OPTIONS)[1][inside].mean())
    assert found["axial"]["ssim"] == pytest.approx(np.mean(planes), abs=1e-4)
    assert set(found) == {"volume", "sagittal", "coronal", "axial"}


def test_an_equal_volume_is_perfect(case):
    found = dict(Scorer(case)(case.hr.array))
    assert found["volume"]["psnr"] == np.inf
    assert found["volume"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert found["volume"]["hfen"] == 0
    assert found["volume"]["sharpness"] == pytest.approx(1)


def test_sharpness_counts_the_detail_that_thick_slices_lose():
    lines, slices = 48, 12
    z = np.arange(lines)
    coarse, fine = np.cos(2 * np.pi * z * 4 / lines), np.cos(2 * np.pi * z * 14 / lines)
    hr = np.broadcast_to(coarse + fine, (5, 6, lines)).astype("float32")
    mask = np.ones(hr.shape, bool)
    for share in (0.0, 0.3, 1.0):
        sr = np.broadcast_to(coarse + share * fine, hr.shape).astype("float32")
        assert detail_recovered(hr, sr, 2, slices, mask) == pytest.approx(share, abs=1e-3)


def test_neither_stair_steps_nor_noise_are_sharp():
    rng = np.random.default_rng(0)
    hr = ndimage.gaussian_filter(rng.standard_normal((16, 16, 48)), 0.8).astype("float32")
    mask = np.ones(hr.shape, bool)
    lr = ThickSlices(4).degrade(hr, 2)
    steps = np.repeat(lr, 4, axis=2)
    noisy = steps + hr.std() * rng.standard_normal(hr.shape).astype("float32")
    for sr in (steps, noisy):
        assert detail_recovered(hr, sr, 2, 12, mask) < 0.35
