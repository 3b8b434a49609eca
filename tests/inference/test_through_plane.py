"""Thick slices made thin: geometry, values, and what is refused."""

import dataclasses

import numpy as np
import pytest

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.degrade.thick_slices import ThickSlices
from keras_mrisr.errors import ConfigError, DataError, MrisrError
from keras_mrisr.inference import SuperResolver, ThroughPlaneResolver, upscale_through_plane
from keras_mrisr.inference.target_grid import is_thick, parse_spacing, plan_grid
from keras_mrisr.volumes import Volume

TURNED = np.array([[0, 0, 4.8, -20], [-0.72, 0, 0, 40], [0, -0.72, 0, 60], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def thick(thick_model):
    return ThroughPlaneResolver.load(thick_model)


@pytest.fixture
def sphere():
    """A function (shape, spacing) -> volume of a smooth ball near the middle, 0 to 1000."""

    def make(shape, spacing):
        axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
        x, y, z = np.meshgrid(*axes, indexing="ij")
        distance = np.sqrt((x - 1.3) ** 2 + (y + 0.7) ** 2 + (z - 0.9) ** 2)
        array = 1000 / (1 + np.exp((distance - 11) / 2))
        return Volume(array.astype("float32"), np.diag([*spacing, 1.0]), name="ball.nii")

    return make


def centre_and_mass(volume):
    weights = volume.array.astype("float64")
    places = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    index = (weights[..., np.newaxis] * places).sum((0, 1, 2)) / weights.sum()
    return (volume.affine @ [*index, 1])[:3], weights.sum() * np.prod(volume.spacing)


def test_the_box_stays_where_it_is(thick):
    array = np.random.default_rng(0).integers(1, 900, (10, 9, 6)).astype("int16")
    volume = Volume(array, TURNED)
    sr = upscale_through_plane(volume, thick).volume
    assert sr.shape == (10, 9, 40)
    assert sr.array.dtype == np.int16
    np.testing.assert_allclose(sr.spacing, 0.72)
    for corner in np.ndindex(2, 2, 2):
        old, new = (np.array(corner) * shape - 0.5 for shape in (volume.shape, sr.shape))
        np.testing.assert_allclose(sr.affine @ [*new, 1], volume.affine @ [*old, 1], atol=1e-4)
    assert sr.slice_thickness == pytest.approx(0.72)
    assert "1x1x6.667 through-plane super-resolution by thick" in sr.description


def test_a_sphere_keeps_its_centre_and_volume(thick, sphere):
    volume = sphere((34, 36, 10), (1.0, 1.0, 4.5))
    sr = upscale_through_plane(volume, thick).volume
    assert sr.shape == (34, 36, 45)
    centre, mass = centre_and_mass(volume)
    after, mass_after = centre_and_mass(sr)
    np.testing.assert_allclose(after, centre, atol=0.1)
    assert mass_after == pytest.approx(mass, rel=0.01)


def test_spacing_of_each_axis(thick, sphere):
    volume = sphere((20, 24, 8), (1.0, 1.0, 4.0))
    sr = upscale_through_plane(volume, thick, (2.0, 1.0, 1.6)).volume
    assert sr.shape == (10, 24, 20)
    np.testing.assert_allclose(centre_and_mass(sr)[0], centre_and_mass(volume)[0], atol=0.2)
    every = upscale_through_plane(volume, thick, 0.8).volume
    assert every.shape == (25, 30, 40)


def test_zeros_stay_zeros_and_nothing_is_negative(thick):
    array = np.zeros((9, 10, 5), "uint16")
    array[3:7, 3:8, 2:4] = np.random.default_rng(0).integers(100, 1000, (4, 5, 2))
    sr = upscale_through_plane(Volume(array, np.diag([1, 1, 3, 1])), thick).volume.array
    assert sr.dtype == np.uint16 and sr.any()
    # A voxel that is zero, as are all that touch it, covers three lines.
    assert not sr[:2].any() and not sr[:, :2].any() and not sr[..., :3].any()
    floats = Volume(array.astype("float32"), np.diag([1, 1, 3, 1]))
    assert upscale_through_plane(floats, thick).volume.array.min() == 0


def test_holes(thick):
    array = np.random.default_rng(0).uniform(1, 2, (6, 6, 4)).astype("float32")
    array[2, 3, 1] = np.nan
    volume = Volume(array, np.diag([1, 1, 2, 1]))
    with pytest.raises(DataError, match="1 NaN or infinite"):
        upscale_through_plane(volume, thick)
    for consistency in (False, True):
        sr = upscale_through_plane(volume, thick, nan="zero", consistency=consistency).volume.array
        assert np.isfinite(sr).all()
        assert (sr[2, 3, 2:4] == 0).all() and sr[2, 2, 2] != 0


def test_channels_one_by_one(thick):
    array = np.random.default_rng(0).integers(0, 255, (6, 7, 4, 3)).astype("uint8")
    volume = Volume(array, np.diag([1, 1, 3, 1]))
    both = upscale_through_plane(volume, thick, uncertainty=True)
    assert both.volume.array.shape == both.uncertainty.array.shape == (6, 7, 12, 3)
    one = upscale_through_plane(dataclasses.replace(volume, array=array[..., 1]), thick, ensemble=True)
    np.testing.assert_array_equal(both.volume.array[..., 1], one.volume.array)


def test_uncertainty_is_the_deviation_over_families_and_flips(thick_model):
    thick = ThroughPlaneResolver.load(thick_model)
    rng = np.random.default_rng(0)
    thick.network.set_weights([rng.normal(scale=0.1, size=one.shape) for one in thick.network.get_weights()])
    array = rng.uniform(1, 9, (5, 6, 4)).astype("float32")
    result = upscale_through_plane(Volume(array, np.diag([1, 1, 2, 1])), thick, uncertainty=True)
    normalizer = volume_normalizer(array)
    x = normalizer.normalize(array)
    ways = []
    for turned in (False, True):
        planes = np.transpose(x, (1, 2, 0) if turned else (0, 2, 1))
        for flips in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
            sr = thick.restore(np.ascontiguousarray(planes[:, :: flips[0], :: flips[1]]), 8)
            sr = sr[:, :: flips[0], :: flips[1]]
            ways.append(np.transpose(sr, (2, 0, 1) if turned else (0, 2, 1)))
    unit = normalizer.high - normalizer.low
    expected = np.std(np.array(ways, "float64"), axis=0) * unit
    np.testing.assert_allclose(result.uncertainty.array, expected, atol=1e-3 * unit)
    mean = np.maximum(normalizer.restore(np.mean(ways, axis=0), "float32"), 0)
    np.testing.assert_allclose(result.volume.array, mean, atol=1e-4 * unit)
    place = int(expected.mean((0, 1)).argmax())
    assert result.verdict.uncertain.startswith(f"in slice {place} of the result")


def test_consistency(thick, sphere):
    volume = sphere((12, 14, 6), (1.0, 1.0, 4.0))
    plain = upscale_through_plane(volume, thick)
    result = upscale_through_plane(volume, thick, consistency=True)
    matrix = ThickSlices(4.0).matrix(24)
    level = np.sqrt(np.mean(np.square(volume.array)))

    def difference(sr):
        again = np.einsum("sl,xyl->xys", matrix, sr.array.astype("float64"))
        return np.sqrt(np.mean(np.square(again - volume.array)))

    assert result.residual.written == pytest.approx(difference(result.volume), rel=0.05)
    assert difference(result.volume) < 0.25 * difference(plain.volume)
    assert result.verdict.residual == pytest.approx(difference(result.volume) / level, rel=0.05)
    assert plain.residual is None
    assert plain.verdict.residual == pytest.approx(difference(plain.volume) / level, rel=0.05)
    with pytest.raises(DataError, match="`consistency` is for a grid that is finer along one axis"):
        upscale_through_plane(volume, thick, 0.7, consistency=True)


def test_thickness_of_the_header_and_its_axis():
    volume = Volume(np.zeros((8, 8, 5)), np.diag([1, 1, 5, 1]), slice_thickness=4.0)
    assert plan_grid(volume).thickness == (0.8,)
    assert plan_grid(volume, thickness=5.5).thickness == (1.1,)
    thin = Volume(np.zeros((8, 8, 8)), np.diag([2, 2, 2.0, 1]), slice_thickness=3.0)
    assert plan_grid(thin, 1.0).thickness == (1.0, 1.0, 1.5)
    assert plan_grid(thin, 1.0, plane="sagittal").thickness == (1.5, 1.0, 1.0)
    assert plan_grid(volume).slice_thickness(volume, 2) == pytest.approx(1)
    with pytest.raises(DataError, match="`slice_thickness` is for slices that become thinner"):
        plan_grid(volume, (0.5, 1, 5), thickness=4.0)


def test_the_verdict_knows_what_the_model_was_made_for(thick, sphere):
    volume = sphere((9, 9, 6), (1.0, 1.0, 3.0))
    assert upscale_through_plane(volume, thick).verdict.outside == ""
    outside = upscale_through_plane(volume, thick, thickness=6.0).verdict.outside
    assert outside == "a slice thickness over spacing of 2; the model was made for 0.5 to 1.5"
    outside = upscale_through_plane(volume, thick, (1, 1, 2.25)).verdict.outside
    assert outside == "a factor of 1.33; the model was made for 1.5 to 8"


@pytest.mark.parametrize(
    ("spacing", "shape", "options", "part"),
    [
        ((1, 1, 4), (6, 6, 1), {}, "one slice: nothing lies between slices"),
        ((1, 1, 9), (6, 6, 4), {}, "a factor of 9; at most 8 can be restored"),
        ((1, 1, 1.1), (6, 6, 40), {}, "makes no axis finer by 1.2 or more"),
        ((1, 1, 4), (6, 6, 4), {"spacing": 5}, "makes no axis finer by 1.2 or more"),
        ((1, 1, 4), (6, 6, 4), {"thickness": 13}, "differ by more than 3 times: give the right `slice_th"),
        ((1, 1, 4), (6, 6, 4), {"thickness": 1}, "differ by more than 3 times"),
        ((1, 1, 4), (6, 6, 4), {"thickness": -1}, "`slice_thickness` must be millimetres over 0"),
        ((1, 1, 4), (6, 6, 4), {"memory": "1MB"}, "1 MB of memory are too little"),
    ],
)
def test_bad_input(thick, spacing, shape, options, part):
    array = np.random.default_rng(0).uniform(size=shape)
    with pytest.raises(MrisrError, match=part):
        upscale_through_plane(Volume(array, np.diag([*spacing, 1])), thick, **options)


@pytest.mark.parametrize(
    "spacing", ["", "1x2", "abc", "0", -1, float("nan"), (1, 2), "1x1x1x1", True and "x"]
)
def test_bad_spacing(spacing):
    with pytest.raises(ConfigError, match="`spacing` is one number of millimetres over 0"):
        parse_spacing(spacing)


def test_spacing():
    assert parse_spacing("0.8") == parse_spacing(0.8) == (0.8, 0.8, 0.8)
    assert parse_spacing("1x1x2.5") == parse_spacing([1, 1, 2.5]) == (1, 1, 2.5)


def test_what_is_thick():
    def of(*spacing, shape=(4, 4, 4)):
        return is_thick(Volume(np.zeros(shape), np.diag([*spacing, 1.0])))

    assert of(1, 1, 1.6) and of(3, 1, 1)
    assert not of(1, 1, 1.5) and not of(1, 1, 5, shape=(4, 4, 1))


def test_models_of_the_other_task(thick_model, models):
    with pytest.raises(MrisrError, match="is a model that makes thick slices thin") as error:
        SuperResolver.load(thick_model)
    assert "\n" not in str(error.value)
    with pytest.raises(MrisrError, match="is no model that makes thick slices thin") as error:
        ThroughPlaneResolver.load(models["grey"])
    assert "\n" not in str(error.value)
