import numpy as np
import pytest
from scipy import ndimage

from keras_mrisr.data.normalize import volume_normalizer
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.inference import SuperResolver, upscale_volume
from keras_mrisr.inference.volume import surely_background
from keras_mrisr.models.storage import ModelInfo
from keras_mrisr.volumes import Volume

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 0, 5.0, -30], [0, -2.0, 0, 60], [0, 0, 0, 1]])  # Coronal slices.


def upscale(lr, factors=(2, 2)):
    for axis, factor in enumerate(factors):
        lr = lr.repeat(factor, axis=axis)
    return lr


class Function:
    """Stands in for a generator; counts the slices that it is given."""

    def __init__(self, function):
        self.function = function
        self.calls = []

    def predict_on_batch(self, lr):
        self.calls.append(len(lr))
        return np.stack([self.function(one) for one in lr])


def resolver(function=upscale, channels=1, **info):
    info = ModelInfo(2, channels, generator={}, **{"degradation": {}, **info})
    return SuperResolver(Function(function), info, name="a-model")


@pytest.fixture
def volume():
    """A head of 9 x 7 x 5 voxels of 2 x 2 x 5 mm in black air, up to 1000."""
    rng = np.random.default_rng(0)
    array = np.zeros((9, 7, 5), "int16")
    array[2:8, 1:6, 1:4] = rng.integers(100, 1001, (6, 5, 3))
    return Volume(array, AFFINE, name="head.nii")


def test_geometry_type_and_values(volume):
    result = upscale_volume(volume, resolver())
    assert result.uncertainty is None and result.residual is None
    sr = result.volume
    assert sr.array.shape == (18, 14, 5)
    assert sr.array.dtype == np.int16
    np.testing.assert_array_equal(sr.array, upscale(volume.array))
    np.testing.assert_allclose(sr.spacing, (1, 1, 5))
    corner = [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(sr.affine @ corner, volume.affine @ corner)
    assert "x2 super-resolution by a-model" in sr.description


@pytest.mark.parametrize(
    ("plane", "shape"), [("sagittal", (9, 14, 10)), ("axial", (18, 7, 10)), ("coronal", (18, 14, 5))]
)
def test_planes(volume, plane, shape):
    """The axes of this volume run to the left, inferior and anterior."""
    sr = upscale_volume(volume, resolver(), plane).volume
    factors = np.divide(shape, volume.shape)
    assert sr.array.shape == shape
    np.testing.assert_array_equal(sr.array, upscale(volume.array, factors.astype(int)))
    np.testing.assert_allclose(sr.spacing, volume.spacing / factors)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_the_largest_spacing(volume, axis, caplog):
    caplog.set_level("INFO", "keras_mrisr")
    array = np.moveaxis(volume.array, 2, axis)
    affine = np.diag([*np.insert((2.0, 2.0), axis, 5.0), 1])
    sr = upscale_volume(Volume(array, affine), resolver()).volume
    assert sr.array.shape == tuple(np.insert((18, 14), axis, 5))
    assert f"slices are {('sagittal', 'coronal', 'axial')[axis]}" in caplog.text


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_every_type_comes_back(volume, dtype):
    array = (volume.array // (1 if dtype != "uint8" else 4)).astype(dtype)
    sr = upscale_volume(Volume(array, AFFINE), resolver()).volume
    assert sr.array.dtype == dtype
    np.testing.assert_allclose(sr.array, upscale(array), rtol=1e-6)


def test_the_bright_end_is_neither_clipped_nor_wrapped(volume):
    """A bright vessel far over the 99.9th percentile, and a network that overshoots."""
    array = np.tile(volume.array, (4, 4, 4)).astype("int16")
    array[4, 3, 2] = 32000
    sr = upscale_volume(Volume(array, AFFINE), resolver(lambda lr: upscale(lr) * 1.2)).volume.array
    assert sr.dtype == np.int32  # 38400 is no int16.
    np.testing.assert_allclose(sr, upscale(array) * 1.2, atol=0.51)


def test_volumes_without_negative_values_get_none(volume):
    def ringing(lr):
        return upscale(lr) - 0.3

    sr = upscale_volume(volume, resolver(ringing)).volume.array
    assert sr.min() == 0
    # Others do, such as phase images.
    signed = Volume(volume.array - np.int16(500), AFFINE)
    normalizer = volume_normalizer(signed.array)
    sr = upscale_volume(signed, resolver(ringing)).volume.array
    inside = upscale(signed.array)[4:16, 2:12, 1:4] - 0.3 * (normalizer.high - normalizer.low)
    np.testing.assert_allclose(sr[4:16, 2:12, 1:4], inside, atol=0.51)


def test_background_stays_zero_and_edges_are_the_network_s(volume):
    sr = upscale_volume(volume, resolver(lambda lr: upscale(lr) + 0.01)).volume.array
    touched = ndimage.binary_dilation(volume.array != 0, np.ones((3, 3, 1)))
    assert not sr[~upscale(touched)].any()
    # In slices that are black everywhere nothing is added either.
    assert not sr[:, :, [0, 4]].any()
    assert (sr[upscale(touched)] > 0).all()


@pytest.mark.parametrize("shape", [(6, 7, 1), (4, 5, 6, 1), (5, 6, 2)])
def test_what_is_surely_background(shape):
    lr = np.random.default_rng(0).integers(0, 12, shape) // 11
    expected = ~ndimage.binary_dilation((lr != 0).any(axis=-1), np.ones((3,) * (lr.ndim - 1)))
    np.testing.assert_array_equal(surely_background(lr), expected)


def test_slices_of_one_value_stay(volume):
    array = volume.array.copy()
    array[:, :, 2] = 77
    model = resolver(lambda lr: upscale(lr) * 0)
    sr = upscale_volume(Volume(array, AFFINE), model).volume.array
    assert (sr[:, :, 2] == 77).all()
    assert model.generator.calls == [2]  # Together: they are small.


def test_channels(volume):
    array = np.stack([volume.array, volume.array // 2, volume.array // 3], axis=-1)
    rgb = Volume(array, AFFINE, name="rgb.nii")
    sr = upscale_volume(rgb, resolver(channels=3)).volume
    np.testing.assert_array_equal(sr.array, upscale(array))
    with pytest.raises(MrisrError, match=r'head.nii has 1 channel.*a-model.*of 3: use .*"channels": 1 '):
        upscale_volume(volume, resolver(channels=3))
    with pytest.raises(MrisrError, match=r"rgb.nii has 3 channel\(s\)"):
        upscale_volume(rgb, resolver())


def test_a_model_for_grey_images_takes_channels_one_by_one(volume):
    degradation = get_degradation("kspace", 2, magnitude=False).to_dict()
    model = resolver(lambda lr: upscale(lr) * 0.9, degradation=degradation, data={"separate_channels": True})
    volumes = [Volume(volume.array // part, AFFINE, name="rgb.nii") for part in (1, 2, 3)]
    options = {"uncertainty": True, "consistency": True}
    alone = [upscale_volume(one, model, **options) for one in volumes]
    steps = []
    rgb = Volume(np.stack([one.array for one in volumes], axis=-1), AFFINE, name="rgb.nii")
    result = upscale_volume(rgb, model, progress=lambda *step: steps.append(step), **options)
    for channel, one in enumerate(alone):
        np.testing.assert_array_equal(result.volume.array[..., channel], one.volume.array)
        np.testing.assert_array_equal(result.uncertainty.array[..., channel], one.uncertainty.array)
    np.testing.assert_array_equal(result.volume.affine, alone[0].volume.affine)
    before = [one.residual.before for one in alone]
    np.testing.assert_allclose(result.residual.before, np.sqrt(np.mean(np.square(before))))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_neighbours_are_those_of_the_stack(volume):
    def mean(stack):
        return upscale(stack.mean(axis=-1, keepdims=True))

    array = np.random.default_rng(1).integers(1, 100, (6, 7, 5)).astype("float32")
    sr = upscale_volume(Volume(array, AFFINE), resolver(mean, neighbours=1)).volume.array
    padded = np.pad(array, ((0, 0), (0, 0), (1, 1)), mode="edge")
    expected = sum(padded[:, :, i : i + 5] for i in range(3)) / 3
    np.testing.assert_allclose(sr, upscale(expected), rtol=1e-5)


def test_one_slice(volume):
    one = Volume(volume.array[:, :, 2:3], AFFINE)
    for neighbours in (0, 1):
        model = resolver(lambda lr: upscale(lr[..., :1]), neighbours=neighbours)
        np.testing.assert_array_equal(upscale_volume(one, model).volume.array, upscale(one.array))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_models_for_volumes_upscale_their_last_axis_across_the_slices(volume, axis):
    def thinner(lr):
        assert lr.shape == (9, 7, 5, 1)
        return upscale(lr, (1, 1, 2)) + 0.01

    array = np.moveaxis(volume.array, 2, axis)
    affine = np.diag([*np.insert((2.0, 2.0), axis, 5.0), 1])
    model = resolver(thinner, factors=(1, 1, 2))
    calls = []
    sr = upscale_volume(Volume(array, affine), model, progress=lambda *n: calls.append(n)).volume
    expected = np.moveaxis(upscale(volume.array, (1, 1, 2)), 2, axis)
    assert sr.array.shape == expected.shape
    touched = ndimage.binary_dilation(array != 0, np.ones((3, 3, 3)))
    factors = np.insert((1, 1), axis, 2)
    assert not sr.array[~upscale(touched, factors)].any()
    np.testing.assert_allclose(sr.array, expected, atol=0.01 * 1000 + 1)
    np.testing.assert_allclose(sr.spacing, np.insert((2.0, 2.0), axis, 2.5))
    assert calls == [(1, 1)]


def test_uncertainty(volume):
    def rising(lr):
        sr = upscale(lr)
        return sr * (1 + 0.01 * np.arange(sr.shape[0], dtype="float32")[:, None, None])

    calls = []
    result = upscale_volume(volume, resolver(rising), uncertainty=True, progress=lambda *n: calls.append(n))
    assert calls[-1] == (3 * 8, 3 * 8)  # Two slices are black.
    assert result.uncertainty.array.shape == result.volume.array.shape
    assert result.uncertainty.array.dtype == np.float32
    assert result.uncertainty.quantity == "standard deviation"
    np.testing.assert_array_equal(result.uncertainty.affine, result.volume.affine)
    x, y = np.mgrid[:18, :14] * 0.01 + 1
    expected = np.std([x, x[::-1], y, y[:, ::-1]], axis=0)[..., None] * upscale(volume.array)
    np.testing.assert_allclose(result.uncertainty.array, expected, rtol=1e-3, atol=1e-3)
    noisy = upscale_volume(volume, resolver(lambda lr: rising(lr + 0.1)), uncertainty=True)
    touched = ndimage.binary_dilation(volume.array != 0, np.ones((3, 3, 1)))
    assert not noisy.uncertainty.array[~upscale(touched)].any()  # Where the result is made zero.
    assert (noisy.uncertainty.array[upscale(touched)] > 0).any()
    mean = upscale_volume(volume, resolver(rising), ensemble=True).volume.array
    np.testing.assert_array_equal(result.volume.array, mean)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_consistency(volume, dtype):
    degradation = get_degradation("kspace", 2, magnitude=False)
    model = resolver(lambda lr: upscale(lr) * 0.9, degradation=degradation.to_dict())
    volume = Volume(volume.array.astype(dtype), AFFINE)
    result = upscale_volume(volume, model, consistency=True)

    def rms(sr):
        slices = [degradation.degrade(np.float32(sr[:, :, z])[..., None])[..., 0] for z in range(5)]
        return np.sqrt(np.mean((np.stack(slices, axis=2) - volume.array) ** 2))

    residual = result.residual
    np.testing.assert_allclose(residual.before, rms(upscale_volume(volume, model).volume.array), rtol=0.05)
    np.testing.assert_allclose(residual.written, rms(result.volume.array), rtol=0.01, atol=1e-3)
    np.testing.assert_allclose(residual.level, np.sqrt(np.mean(np.float64(volume.array) ** 2)), rtol=1e-5)
    values = residual.to_dict()
    assert values["relative_before"] > 0.02
    assert values["relative_after"] < 1e-4
    assert values["relative_written"] < (1e-4 if dtype == "float32" else 2e-3)


def test_consistency_needs_a_degradation_of_slices(volume):
    with pytest.raises(MrisrError, match="does not say what it was trained to undo"):
        upscale_volume(volume, resolver(), consistency=True)
    model = resolver(lambda lr: upscale(lr, (1, 1, 2)), factors=(1, 1, 2))
    with pytest.raises(MrisrError, match="is a model for volumes: leave out `consistency`"):
        upscale_volume(volume, model, consistency=True)


def test_memory_that_does_not_hold_the_result(volume):
    with pytest.raises(MrisrError, match=r"^1 MB of memory are too little: .* result of head.nii 1 MB"):
        upscale_volume(volume, resolver(), memory=1000)


def test_what_is_needed_in_all_is_said(volume, monkeypatch):
    monkeypatch.setattr("keras_mrisr.inference.volume_result.resident_memory", lambda: 300 * 10**6)
    large = Volume(np.tile(volume.array, (40, 40, 1)), AFFINE)  # 504,000 voxels times 4, of 2 bytes.
    message = r"^100 MB of memory are too little: .* 300 MB, .* 5 MB\. Give `memory` more than 305 MB"
    with pytest.raises(MrisrError, match=message):
        upscale_volume(large, resolver(), memory="100MB")
    with pytest.raises(MrisrError, match=message):
        upscale_volume(large, SuperResolver(Function(upscale), resolver().info, memory="100MB"))
    monkeypatch.setattr("keras_mrisr.inference.volume_result.available_memory", lambda: 10**6)
    with pytest.raises(MrisrError, match=r"takes 5 MB, but only 1 MB of memory are free"):
        upscale_volume(large, resolver())


def test_what_is_no_volume(volume):
    with pytest.raises(MrisrError, match=r"takes a Volume, such as read_volume gives\. Received: ndarray"):
        upscale_volume(volume.array, resolver())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 4), "int16"), "0 in every voxel"),
        (np.full((4, 4, 4), 7.5), "7.5 in every voxel"),
        (np.where(np.eye(4)[..., None] == np.ones(4), np.nan, 1.0), "NaN or infinite"),
    ],
)
def test_nothing_to_upscale(array, message):
    with pytest.raises(MrisrError, match=message):
        upscale_volume(Volume(array, AFFINE), resolver())


def test_a_model_by_its_path(volume, models):
    assert upscale_volume(volume, models["grey"]).volume.array.shape == (18, 14, 5)
    assert upscale_volume(volume, str(models["x4"])).volume.array.shape == (36, 28, 5)


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (np.arange(10001), 0, 9991),
        (np.arange(10001) - 5000, -4990, 4991),
        (np.append(np.arange(10000), -800), 0, 9990),
        (np.append(np.zeros(9999), 300), 0, 300),
        (np.append(np.zeros(9999), -300), -300, 0),
    ],
)
def test_robust_percentiles(array, low, high):
    normalizer = volume_normalizer(array.reshape(-1, 1, 1))
    np.testing.assert_allclose((normalizer.low, normalizer.high), (low, high), atol=1)


def test_percentiles_of_a_large_volume_are_of_a_subset():
    array = np.broadcast_to(np.arange(400, dtype="int16")[:, None, None], (400, 300, 200))
    normalizer = volume_normalizer(array)
    assert normalizer.low == 0
    assert 395 <= normalizer.high <= 399
