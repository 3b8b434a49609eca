"""Slices that were interpolated are told from slices that were acquired."""

import logging

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.inference.interpolated import interpolated_by


def scan(slices=40, seed=0):
    """Slices with the spectrum of images (amplitude 1 / f) and a little noise, (24, 24, slices)."""
    rng = np.random.default_rng(seed)
    shape = (24, 24, 4 * slices)
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    amplitude = np.where(frequency > 0, 1 / np.maximum(frequency, 1e-9), 0)
    detail = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * amplitude).real
    thick = detail[..., : 4 * slices].reshape(24, 24, slices, 4).mean(axis=3)
    thick = 500 + 100 * thick / thick.std()
    return np.rint(thick + rng.normal(0, 2, thick.shape)).astype("int16")


def zero_filled(array, factor):
    count = array.shape[2]
    k = np.fft.fftshift(np.fft.fft(array, axis=2), axes=2)
    more = round(count * factor) - count
    k = np.pad(k, ((0, 0), (0, 0), (more // 2, more - more // 2)))
    return np.rint(np.abs(np.fft.ifft(np.fft.ifftshift(k, axes=2), axis=2)) * factor)


def test_slices_as_acquired():
    for seed in range(3):
        assert interpolated_by(scan(seed=seed), 2) is None


@pytest.mark.parametrize("order", [1, 3])
def test_interpolated_twice(order):
    stored = np.rint(
        ndimage.zoom(scan().astype("float32"), (1, 1, 2), order=order, grid_mode=True, mode="nearest")
    )
    assert 1.4 < interpolated_by(stored, 2) < 2.3
    assert interpolated_by(stored, 0) is None  # The other axes are as acquired.


def test_filled_with_zeros():
    assert interpolated_by(zero_filled(scan(), 2), 2) == pytest.approx(2, abs=0.25)
    assert interpolated_by(zero_filled(scan(), 1.6), 2) == pytest.approx(1.6, abs=0.2)


def test_what_cannot_be_told():
    assert interpolated_by(scan()[..., :8], 2) is None
    assert interpolated_by(np.zeros((8, 8, 30)), 2) is None
    assert interpolated_by(np.full((8, 8, 30), 7), 2) is None


def test_upscale_says_it(mrisr, tmp_path, save_model, caplog):
    from keras_mrisr import Volume, write_volume

    stored = zero_filled(scan(20), 2).astype("int16")
    write_volume(Volume(stored, np.diag([1.0, 1, 2.5, 1])), tmp_path / "in.nii.gz")
    caplog.set_level(logging.INFO)
    code, _, err = mrisr("upscale", tmp_path / "in.nii.gz", tmp_path / "out.nii.gz", "--spacing", "1.25")
    assert code == 0, err
    assert "looks interpolated along its slices" in err
    assert "slice_thickness" not in err and "--slice-thickness" in err
