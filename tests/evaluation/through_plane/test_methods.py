"""Interpolators along the axis, models, and volumes of other programs on several grids."""

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.errors import ConfigError, DataError, ModelError
from keras_mrisr.evaluation.through_plane.methods import Interpolator, Model, Predictions
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.volumes import find_volumes, read_thin, thicken
from keras_mrisr.inference.through_plane_resolver import restore_axis
from keras_mrisr.volumes.geometry import scaled_affine


@pytest.fixture(scope="module")
def case(scans):
    record = find_volumes(scans).slices[1]
    volume = read_thin(record)
    return thicken(record, volume, volume.array > 100, 2, 4, ThroughPlaneOptions())


@pytest.mark.parametrize(("name", "order"), [("linear", 1), ("cubic", 3)])
def test_interpolators_are_those_of_scipy(case, name, order):
    places = np.indices(case.hr.shape, float)
    places[2] = np.clip((places[2] + 0.5) / 4 - 0.5, 0, case.lr.shape[2] - 1)  # Nothing is known beyond.
    wanted = ndimage.map_coordinates(case.lr.array.astype("float64"), places, order=order, mode="mirror")
    assert Interpolator(name)(case) == pytest.approx(wanted, abs=0.05)


def test_nearest_repeats_slices(case):
    assert np.array_equal(Interpolator("nearest")(case), np.repeat(case.lr.array, 4, axis=2))


def test_a_model_gives_what_both_families_of_planes_give(case, resolver):
    found = Model("tiny", resolver)(case)
    assert found.shape == case.hr.shape
    low, high = 0.0, float(np.percentile(case.lr.array.astype("float64"), 99.9))
    unit = ((case.lr.array - low) / (high - low)).astype("float32")
    wanted, _ = restore_axis(resolver, unit, 2, 24, 1.0)
    assert found == pytest.approx(np.maximum(wanted * (high - low), 0), abs=0.05)


def test_a_model_refuses_factors_that_it_does_not_know(resolver):
    with pytest.raises(ConfigError, match=r"trained for factors of 1.2 to 6, not 8"):
        Model("tiny", resolver).check([2, 8])


def test_a_model_of_another_task_is_refused():
    with pytest.raises(ModelError, match="is no model that makes thick slices thin"):
        Model("other", "kspace-x2")


@pytest.fixture
def predict(case, write, tmp_path, scans):
    """A function (array, affine) -> what `Predictions` make of a volume with the case's name."""
    name = case.record.path.relative_to(scans)

    def make(array, affine):
        write(tmp_path / "made" / name, array, affine)
        return Predictions("tool", tmp_path / "made", scans)(case)

    return make


def test_predictions_on_the_own_grid_are_taken_as_they_are(case, predict, head):
    array = head(seed=5)
    assert np.array_equal(predict(array, case.hr.affine), array[:, :, :24])  # The whole original's grid.
    cut = array[:, :, :24]
    assert np.array_equal(predict(cut, case.hr.affine), cut)


def test_predictions_on_another_grid_are_resampled_by_their_affine(case, predict, head):
    smooth = ndimage.gaussian_filter(head(seed=5), 2)[:, :, :24]
    # Turned around and with exchanged axes, the same voxels lie at the same places.
    turned = np.transpose(smooth[::-1], (1, 0, 2))
    swap = np.eye(4)[[1, 0, 2, 3]]
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[0, 3] = smooth.shape[0] - 1
    assert predict(turned, case.hr.affine @ mirror @ swap) == pytest.approx(smooth, abs=0.5)
    # Half as many voxels along one axis.
    coarse = (smooth[::2] + smooth[1::2]) / 2
    found = predict(coarse, scaled_affine(case.hr.affine, (0.5, 1, 1)))
    assert np.abs(found - smooth)[2:-2].max() < 12
    assert np.abs(np.roll(found, 1, axis=0) - smooth)[2:-2].max() > 24  # Of another place it would be this.


def test_predictions_of_another_place_are_refused(case, predict, head):
    with pytest.raises(DataError, match="covers another part of the world"):
        predict(head(), np.eye(4))
    with pytest.raises(DataError, match="covers another part of the world"):
        predict(head()[:, :, :20], case.hr.affine)


def test_missing_predictions_are_refused_before_the_work(scans, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        Predictions("tool", tmp_path / "none", scans)
    with pytest.raises(DataError, match=r"lacks sub-00/anat/sub-00_T1w.nii.gz, the prediction of"):
        Predictions("tool", tmp_path, scans).check(find_volumes(scans).slices)
