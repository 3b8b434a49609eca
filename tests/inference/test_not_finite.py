"""Nothing that is not finite is written, and what is not finite in the input is refused or background."""

import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_image, write_image
from keras_mrisr.errors import DataError, ModelError, MrisrError
from keras_mrisr.inference import SuperResolver, upscale_path, upscale_volume
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.volumes import Volume, read_volume

AFFINE = np.diag([0.5, 0.5, 3.0, 1.0])


class Network:
    """Repeats pixels; where the input is brighter than `limit`, its whole result is `bad`."""

    def __init__(self, limit=np.inf, bad=np.nan, reach=0):
        self.limit, self.bad, self.reach = limit, bad, reach

    def predict_on_batch(self, lr):
        sr = lr.repeat(2, axis=1).repeat(2, axis=2)
        sr[lr.max(axis=(1, 2, 3)) > self.limit] = self.bad
        if self.reach:  # A mean over neighbours, in single precision as in a network.
            sr = sum(np.roll(sr, shift, axis=1) for shift in range(-self.reach, self.reach + 1))
            sr = sr / np.float32(2 * self.reach + 1)
        return sr


def resolver(network=None):
    return SuperResolver(network or Network(), ModelInfo(2, 1, generator={}, degradation={}), name="a-model")


@pytest.fixture
def array():
    """(8, 10, 5), all over zero; slice 3 is the brightest."""
    values = np.random.default_rng(0).uniform(100, 200, (8, 10, 5))
    values[..., 3] *= 2
    return values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_a_volume_names_its_first_slice_and_nothing_is_written(tmp_path, listing, array, dtype, bad):
    nibabel.save(nibabel.Nifti1Image(array.astype(dtype), AFFINE), tmp_path / "in.nii")
    before = listing(tmp_path)
    with pytest.raises(ModelError, match=r"a-model gives 320 NaN or infinite values, first in slice 3 "):
        upscale_path(tmp_path / "in.nii", tmp_path / "out.nii", resolver(Network(0.9, bad)))
    assert listing(tmp_path) == before


@pytest.mark.parametrize(("name", "dtype"), [("a.png", "uint8"), ("a.tif", "float32"), ("a.png", "uint16")])
def test_an_image_of_a_network_that_diverged(tmp_path, listing, smooth_image, name, dtype):
    write_image(tmp_path / "in" / name, smooth_image(8, 8, 1, dtype))
    before = listing(tmp_path)
    for source, target in ((f"in/{name}", f"out-{name}"), ("in", "out")):
        with pytest.raises(ModelError, match=rf"{name}: a-model gives 256 NaN or infinite values"):
            upscale_path(tmp_path / source, tmp_path / target, resolver(Network(-1)))
    assert listing(tmp_path) == before


def test_a_batch_and_an_ensemble():
    stack = np.random.default_rng(0).uniform(1, 2, (3, 6, 6, 1)).astype("float32")
    for options in ({}, {"ensemble": True}, {"uncertainty": True}):
        with pytest.raises(ModelError, match="NaN or infinite"):
            resolver(Network(0.5)).upscale(stack, **options)


def test_writers_refuse_what_is_not_finite(tmp_path, array):
    with pytest.raises(DataError, match="holds NaN or infinite values"):
        write_image(tmp_path / "a.tif", np.full((4, 4), np.inf, "float32"))
    bad = array.repeat(2, axis=0)
    bad[3, 4, 2] = np.nan
    with pytest.raises(DataError, match="first at index 2 of its last axis"):
        Volume(array, AFFINE).upscaled(bad, (2, 1, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unit", [1.0, 1e39, 1e300, 1e-300])
def test_values_that_single_precision_does_not_hold(array, unit):
    sr = upscale_volume(Volume(array * unit, AFFINE), resolver()).volume.array
    assert sr.dtype == np.float64
    np.testing.assert_allclose(sr / unit, array.repeat(2, axis=0).repeat(2, axis=1), rtol=1e-6)
    image = array[..., 0]
    np.testing.assert_allclose(resolver()(image * unit) / unit, nearest(image), rtol=1e-6)


def nearest(image):
    return image.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("value", [1e39, 1e300, -1e300])
def test_one_voxel_far_from_all_others_spoils_no_other(value):
    array = np.random.default_rng(0).uniform(100, 200, (40, 40, 5))
    array[4, 5, 2] = value
    sr = upscale_volume(Volume(array, AFFINE), resolver(Network(reach=1))).volume.array
    here = np.zeros(sr.shape, bool)
    here[8:10, 10:12, 2] = True
    np.testing.assert_allclose(sr[here], value, rtol=1e-6)
    near = np.zeros(sr.shape, bool)
    near[7:11, 10:12, 2] = True
    expected = array.repeat(2, axis=0).repeat(2, axis=1)
    expected = sum(np.roll(expected, shift, axis=0) for shift in (-1, 0, 1)) / 3
    np.testing.assert_allclose(sr[~near], expected[~near], rtol=1e-6)
    image = resolver(Network(reach=1))(array[..., 2])
    assert np.isfinite(image).all()
    if value > 0:  # The range of an image begins at its least value, so that all others are one to it.
        np.testing.assert_allclose(image[8:10, 10:12], value, rtol=1e-6)
        np.testing.assert_allclose(image[~near[..., 2]], expected[..., 2][~near[..., 2]], rtol=1e-6)


def test_values_that_only_double_precision_holds_after_the_network(array):
    top = float(np.finfo("float32").max)

    class Doubling:
        def predict_on_batch(self, lr):
            return 2 * lr.repeat(2, axis=1).repeat(2, axis=2)

    values = (array / array.max() * top).astype("float32")
    sr = upscale_volume(Volume(values, AFFINE), resolver(Doubling())).volume.array
    np.testing.assert_allclose(sr, 2 * nearest(values.astype("float64")), rtol=1e-5)


@pytest.mark.parametrize("consistency", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_background_that_is_not_finite_is_zero_and_stays_so(tmp_path, array, value, consistency):
    info = ModelInfo(2, 1, generator={}, degradation={"name": "kspace", "scale": 2, "magnitude": False})

    class Raised(Network):
        def predict_on_batch(self, lr):
            return super().predict_on_batch(lr) + np.float32(0.25)

    model = SuperResolver(Raised(), info)
    model.warns = False
    array = array.astype("float32")
    array[:3] = value
    array[..., 4] = value
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / "in.nii")
    with pytest.raises(DataError, match=r"in.nii holds 200 NaN or infinite voxels.*`nan` zero"):
        upscale_path(tmp_path / "in.nii", tmp_path / "out.nii", model)
    options = {"nan": "zero", "uncertainty": tmp_path / "std.nii", "consistency": consistency}
    upscale_path(tmp_path / "in.nii", tmp_path / "out.nii", model, **options)
    for name in ("out.nii", "std.nii"):
        values = read_volume(tmp_path / name).array
        assert not values[:6].any() and not values[..., 4].any()
    sr = read_volume(tmp_path / "out.nii").array[6:, :, :4]
    assert np.isfinite(sr).all() and (sr != 0).mean() > 0.99


def test_holes_in_an_image(tmp_path, smooth_image):
    image = smooth_image(8, 10, 1, "float32") + 1
    image[2:4, 5] = np.nan
    from PIL import Image

    Image.fromarray(image[..., 0]).save(tmp_path / "in.tif")
    with pytest.raises(DataError, match=r"in.tif holds 2 NaN or infinite values.*`nan` zero"):
        upscale_path(tmp_path / "in.tif", tmp_path / "out.tif", resolver())
    upscale_path(tmp_path / "in.tif", tmp_path / "out.tif", resolver(), nan="zero")
    np.testing.assert_allclose(read_image(tmp_path / "out.tif"), nearest(np.nan_to_num(image)), rtol=1e-6)


def test_what_to_do_with_nan_is_one_of_two(tmp_path, smooth_image):
    write_image(tmp_path / "in.png", smooth_image(8, 8))
    with pytest.raises(MrisrError, match=r"`nan` must be refuse or zero\. Received: 'keep'"):
        upscale_path(tmp_path / "in.png", tmp_path / "out.png", resolver(), nan="keep")
