import itertools

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import Volume, geometry

SHAPE = np.array((20, 16, 9))
FACTORS = [(2, 2, 1), (2, 1, 2), (1, 2, 2), (1, 1, 2), (3, 2, 4), (1, 1, 1)]


@pytest.fixture(params=["axial", "oblique"])
def affine(request):
    return request.getfixturevalue(request.param)


def world(affine, index):
    return affine[:3, :3] @ index + affine[:3, 3]


@pytest.mark.parametrize("factors", FACTORS)
def test_the_finer_grid_covers_the_same_box(affine, factors):
    finer = geometry.scaled_affine(affine, factors)
    np.testing.assert_allclose(geometry.spacing(finer), geometry.spacing(affine) / factors)
    for corner in itertools.product((0, 1), repeat=3):
        before = world(affine, SHAPE * corner - 0.5)
        after = world(finer, SHAPE * factors * corner - 0.5)
        np.testing.assert_allclose(after, before, atol=1e-9)


@pytest.mark.parametrize("factors", FACTORS)
def test_a_coarse_voxel_is_in_the_middle_of_its_fine_ones(affine, factors):
    finer = geometry.scaled_affine(affine, factors)
    voxel = np.array((7, 3, 5))
    own = [np.arange(v * f, (v + 1) * f) for v, f in zip(voxel, factors, strict=True)]
    centres = [world(finer, np.array(index)) for index in itertools.product(*own)]
    np.testing.assert_allclose(np.mean(centres, axis=0), world(affine, voxel), atol=1e-9)


@pytest.mark.parametrize("factors", FACTORS)
def test_anatomy_stays_where_it_is(affine, factors, phantom):
    """Centres of brightness in world space, of a volume and of its interpolation by SciPy's grid mode."""
    lr = phantom(SHAPE, affine)
    sr = ndimage.zoom(lr, factors, order=1, grid_mode=True, mode="nearest")
    finer = geometry.scaled_affine(affine, factors)
    np.testing.assert_allclose(centre(sr, finer), centre(lr, affine), atol=0.02)
    # The usual mistakes, an affine that is only divided or not moved, are further off than that.
    divided = affine @ np.diag([*(1 / np.array(factors)), 1])
    if max(factors) > 1:
        assert np.linalg.norm(centre(sr, divided) - centre(lr, affine)) > 0.1


def centre(array, affine):
    inside = np.stack(np.meshgrid(*[np.arange(n) for n in array.shape], indexing="ij"), -1)
    return world(affine, np.average(inside.reshape(-1, 3), axis=0, weights=array.ravel()))


def test_a_grid_needs_three_positive_factors():
    for factors in [(2, 2), (2, 0, 1), (2, -1, 1), (2, np.nan, 1)]:
        with pytest.raises(MrisrError, match="positive factor"):
            geometry.finer_grid(factors)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_planes_are_found_for_every_order_and_direction_of_axes(order):
    for signs in itertools.product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) * signs)[:, order] * (1.0, 1.1, 3.0)
        for world_axis, plane in enumerate(("sagittal", "coronal", "axial")):
            axis = geometry.plane_axis(affine, plane)
            assert order[axis] == world_axis
            assert geometry.plane_of(affine, axis) == plane


def test_oblique_planes_are_the_nearest(oblique):
    assert [geometry.plane_of(oblique, axis) for axis in range(3)] == ["coronal", "axial", "sagittal"]


def test_every_axis_has_its_own_plane_at_45_degrees():
    c = np.sqrt(0.5)
    affine = np.eye(4)
    affine[:3, :3] = [[c, -c, 0], [c, c, 0], [0, 0, 1]]
    assert {geometry.plane_of(affine, axis) for axis in range(3)} == set(geometry.PLANES)


def test_an_unknown_plane_is_refused():
    with pytest.raises(MrisrError, match=r"Unknown plane 'top'\. Choose one of axial, coronal, sagittal\."):
        geometry.plane_axis(np.eye(4), "top")


@pytest.mark.parametrize(
    ("spacing", "shape", "axis"),
    [
        ((1, 1, 5), (8, 8, 4), 2),
        ((5, 1, 1), (8, 8, 4), 0),
        ((1, 5, 1), (8, 8, 4), 1),
        ((0.7, 0.667, 0.667), (8, 8, 8), 2),  # A 3-D acquisition: rounding makes no slice axis.
        ((1, 1, 1), (1, 8, 8), 0),  # One slice.
        ((1, 1, 0.5), (8, 8, 1), 2),
    ],
)
def test_slice_axis(spacing, shape, axis):
    volume = Volume(np.zeros(shape), np.diag([*spacing, 1.0]))
    assert geometry.slice_axis(volume) == axis


def test_shear(oblique):
    assert not geometry.is_sheared(oblique)
    sheared = oblique.copy()
    sheared[:3, 1] += 0.05 * oblique[:3, 0]
    assert geometry.is_sheared(sheared)
    assert geometry.is_invertible(sheared)


@pytest.mark.parametrize("column", [(0, 0, 0), (2, 0, 0)])
def test_flat_affines_are_not_invertible(column):
    affine = np.eye(4)
    affine[:3, 1] = column
    assert not geometry.is_invertible(affine)
