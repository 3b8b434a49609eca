import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.inference.tiles import Tile, plan_tiles, run_tiles, smallest_tile
from keras_mrisr.models import build_generator
from keras_mrisr.models.receptive_field import receptive_field_radius
from keras_mrisr.models.storage import ModelInfo


def spans(parts):
    return [(part.start, part.stop) for part in parts]


def test_tiles_of_a_line():
    tiles = plan_tiles((20,), 10, radius=2)
    windows = [spans(tile.window)[0] for tile in tiles]
    cores = [spans(tile.core)[0] for tile in tiles]
    # Edges of ceil((20 + 2 * 2 * 2) / 3) = 10; a step of 10 - 2 * 2 = 6.
    assert windows == [(0, 10), (6, 16), (10, 20)]
    assert cores == [(0, 8), (8, 14), (14, 20)]


def test_what_fits_is_one_tile():
    whole = (slice(0, 7), slice(0, 9))
    assert plan_tiles((7, 9), 63, radius=40) == [Tile(whole, whole)]


@pytest.mark.parametrize("sizes", [(50,), (64, 30), (31, 64), (5, 80), (20, 24, 9)])
@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("period", [1, 2])
def test_tiles_cover_once_with_margins(sizes, radius, period):
    sizes = tuple(size // period * period for size in sizes)
    margin = math.ceil(radius / period) * period
    smallest = smallest_tile(sizes, radius, period)
    for most in (smallest, 2 * smallest, math.prod(sizes) - 1, math.prod(sizes)):
        covered = np.zeros(sizes, int)
        tiles = plan_tiles(sizes, max(most, smallest), radius, period)
        shapes = {tuple(part.stop - part.start for part in tile.window) for tile in tiles}
        assert len(shapes) == 1
        assert math.prod(shapes.pop()) <= max(most, smallest)
        for tile in tiles:
            covered[tile.core] += 1
            for window, core, size in zip(tile.window, tile.core, sizes, strict=True):
                assert 0 <= window.start <= max(core.start - margin, 0)
                assert min(core.stop + margin, size) <= window.stop <= size
                assert window.start % period == 0
        assert (covered == 1).all()


def test_bad_plans():
    with pytest.raises(ValueError, match="at least 9 pixels"):
        plan_tiles((100,), 8, radius=4)
    with pytest.raises(MrisrError, match="multiples of 4"):
        plan_tiles((30, 32), 500, radius=2, period=4)


def test_zeros_stand_at_true_borders_only():
    """A sum over 5 x 3 pixels with zeros outside, in three items and two channels."""
    rng = np.random.default_rng(0)
    lr = rng.uniform(1, 2, (3, 23, 31, 2)).astype("float32")
    calls, steps = [], []

    def run(batch):
        calls.append(batch.shape)
        total = ndimage.convolve(batch, np.ones((1, 5, 3, 1)), mode="constant")
        return total.repeat(2, axis=1).repeat(3, axis=2)

    tiles = plan_tiles(lr.shape[1:3], 150, radius=2)
    sr = run_tiles(run, lr, tiles, (2, 3), at_once=2, step=steps.append)
    assert len(set(calls)) == 2  # Of one shape, in a pair and alone.
    assert sum(steps) == 3 * len(tiles)
    np.testing.assert_allclose(sr, run(lr), rtol=1e-6)


def random_weights(model, seed=0):
    """Weights for which every layer matters, also where it would start at zero."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        fan_in = math.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 1
        values = rng.normal(0, fan_in**-0.5, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


CASES = [
    *((name, scale, 0) for name, scale in itertools.product(("srresnet", "edsr"), (2, 3, 4, 8))),
    ("srresnet", 2, 1),
    ("edsr", 2, 2),
    ("srresnet3d", (1, 1, 2), 0),
    ("srresnet3d", (2, 2, 2), 0),
]


@pytest.mark.parametrize(("name", "scale", "neighbours"), CASES)
def test_tiled_equals_untiled(name, scale, neighbours):
    in_3d = not isinstance(scale, int)
    model = random_weights(build_generator(name, scale, 1, neighbours, blocks=1, filters=2 if in_3d else 4))
    info = ModelInfo(2 if in_3d else scale, 1, {}, {}, neighbours=neighbours, factors=scale if in_3d else ())
    resolver = SuperResolver(model, info)
    radius = receptive_field_radius(model)
    sizes = (2 * radius + 9, 3 * radius + 5, 3 * radius + 2) if in_3d else (4 * radius + 3, 5 * radius + 1)
    lr = np.random.default_rng(1).uniform(0, 1, (1, *sizes, info.input_channels)).astype("float32")
    most_pixels = smallest_tile(sizes, radius)
    assert resolver.count_tiles(sizes, most_pixels) > 3
    whole, tiled = resolver.predict(lr).sr, resolver.predict(lr, most_pixels=most_pixels).sr
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * max(1, np.abs(whole).max()))


def test_a_smaller_margin_would_show():
    model = random_weights(build_generator("edsr", 2, 1, blocks=1, filters=4))
    resolver = SuperResolver(model, ModelInfo(2, 1, {}, {}))
    radius = receptive_field_radius(model)
    lr = np.random.default_rng(1).uniform(0, 1, (1, 30, 30, 1)).astype("float32")
    tiles = plan_tiles((30, 30), 400, radius - 1)
    wrong = run_tiles(model.predict_on_batch, lr, tiles, (2, 2))
    assert np.abs(wrong - resolver.predict(lr).sr).max() > 1e-4
