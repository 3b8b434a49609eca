"""Air is interpolated, and everything else is what the network makes of the whole slice."""

import numpy as np
import pytest

from keras_mrisr import SuperResolver, Volume, upscale_volume
from keras_mrisr.degrade.interpolate import interpolate
from keras_mrisr.inference.air import air_level, inside_air
from keras_mrisr.models import edsr


def head(size=96, sigma=0.004, seed=0):
    """A textured disc off the middle in Rician noise, (1, size, size, 1)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    disc = ((y - 0.4 * size) ** 2 + (x - 0.6 * size) ** 2 < (0.15 * size) ** 2).astype("float32")
    real, imaginary = rng.normal(0, sigma, (2, size, size))
    image = np.hypot(disc * rng.uniform(0.3, 1, (size, size)) + real, imaginary)
    return image.astype("float32")[np.newaxis, ..., np.newaxis], disc > 0


@pytest.fixture(scope="module")
def resolver():
    network = edsr(2, channels=1, blocks=1, filters=8, direct_upsampling=True)
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0, 0.15, weight.shape) for weight in network.get_weights()])
    return SuperResolver(network)


def test_noise_is_air_and_tissue_is_not():
    lr, disc = head()
    level = air_level(lr)
    assert level == pytest.approx(4 * 1.25 * 0.004, rel=0.1)  # Four times the mean of Rayleigh noise.
    inside = inside_air(lr, level, radius=5)
    rows, columns = inside.core
    found = np.argwhere(disc)
    least, most = found.min(axis=0), found.max(axis=0)
    for axis, part in enumerate((rows, columns)):
        # Four pixels over which it blends, and what whole blocks of 8 need.
        assert part.start <= least[axis] - 4 and part.stop > most[axis] + 4
        assert part.stop - part.start <= most[axis] - least[axis] + 1 + 2 * (4 + 8)


def test_noise_beside_what_was_emptied_is_air():
    """Where a face was removed, or a scan was padded, there are zeros; elsewhere there is noise."""
    lr, disc = head()
    level = air_level(lr)
    lr[:, 64:] = 0
    assert not disc[64:].any()
    assert air_level(lr) == pytest.approx(level, rel=0.1)
    inside = inside_air(lr, air_level(lr), radius=5)
    assert inside.core == inside_air(head()[0], level, radius=5).core


def test_where_everything_is_bright_nothing_is_air():
    lr, _ = head()
    assert air_level(np.clip(lr + 0.2, 0, 1)) is None
    assert air_level(np.ones((1, 4, 4, 1), "float32")) is None


def test_zeros_around_are_air_and_a_black_slice_is_all_air():
    lr, _ = head(sigma=0)
    assert air_level(lr) == 0
    black = inside_air(np.zeros_like(lr), 0.0, radius=5)
    assert black is not None and black.core[0].stop - black.core[0].start <= 24


def test_the_network_counts_inside_and_the_interpolation_outside(resolver):
    lr, _ = head()
    level = air_level(lr)
    whole = resolver.predict(lr).sr
    saved = resolver.predict(lr, air=level).sr
    inside = inside_air(lr, level, resolver._field.radius)
    inner = tuple(slice(2 * part.start + 8, 2 * part.stop - 8) for part in inside.core)
    np.testing.assert_allclose(saved[:, *inner], whole[:, *inner], atol=2e-6)
    outside = np.ones(saved.shape[1:3], bool)
    outside[tuple(slice(2 * part.start, 2 * part.stop) for part in inside.core)] = False
    plain = interpolate(lr[0], 2, "bicubic")
    assert outside.sum() > 1000
    np.testing.assert_array_equal(saved[0][outside], plain[outside])
    assert np.abs(whole[0][outside] - plain[outside]).max() > 1e-3  # So the test can fail.


def test_turns_and_volumes_skip_it_too(resolver):
    lr, _ = head()
    seen = []
    forward = resolver._forward

    def noting(batch):
        seen.append(batch.shape[1:3])
        return forward(batch)

    resolver._forward = noting
    try:
        volume = Volume(np.repeat(lr[0], 3, axis=2), np.diag([1.0, 1, 2, 1]))
        progress = []
        upscaled = upscale_volume(
            volume, resolver, progress=lambda done, total: progress.append((done, total))
        )
        assert upscaled.volume.shape == (192, 192, 3)
        assert progress[-1] == (3, 3)
        assert max(map(max, seen)) < 80
        upscale_volume(volume, resolver, ensemble=True)
        assert max(map(max, seen)) < 80
    finally:
        del resolver._forward
