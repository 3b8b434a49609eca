"""LR is made anew for every patch, and is what the whole slice gives."""

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data.normalize import RangeNormalizer
from keras_mrisr.data.pipeline import SlicePair
from keras_mrisr.degrade.random_acquisition import RandomAcquisition
from keras_mrisr.errors import MrisrError
from keras_mrisr.training.fresh_patches import FreshPatches


@pytest.fixture
def pairs(smooth_image):
    images = [smooth_image(40, 48, 1), smooth_image(36, 33, 1)[::-1]]
    return [SlicePair(image, image[::2, ::2], RangeNormalizer(0, 255), record=None) for image in images]


def patches(pairs, scale=2, **options):
    options = {"patch_size": 16, "batch_size": 4, "steps": 3, "seed": 5, **options}
    return FreshPatches(pairs, scale, RandomAcquisition(scale), **options)


def test_shapes_and_repetition(pairs):
    data = patches(pairs, rescale=(0.7, 1.5))
    lr, hr = data[1]
    assert (lr.shape, hr.shape, lr.dtype, hr.dtype) == ((4, 8, 8, 1), (4, 16, 16, 1), "float32", "float32")
    assert np.isfinite(lr).all() and lr.min() >= 0 and hr.min() >= 0
    for one, same in zip(data[1], patches(pairs, rescale=(0.7, 1.5))[1], strict=True):
        np.testing.assert_array_equal(one, same)
    data.start(1)
    assert np.abs(data[1][0] - lr).max() > 0.01


def test_lr_is_that_of_the_whole_slice(pairs):
    """Without what changes slices: the acquisition of each is that which its pixels draw."""
    data = patches(pairs[:1], contrasts=False, augment=False, batch_size=16)
    hr = pairs[0].hr.astype("float32") / np.float32(255)
    whole = RandomAcquisition(2).of_slice(hr).degrade(hr)
    exact = 0
    for lr, patch in zip(*data[0], strict=True):
        found = [
            (y, x)
            for y in range(0, 25, 2)
            for x in range(0, 33, 2)
            if np.array_equal(hr[y : y + 16, x : x + 16], patch)
        ]
        ((y, x),) = found
        expected = whole[y // 2 : y // 2 + 8, x // 2 : x // 2 + 8]
        np.testing.assert_allclose(lr, expected, atol=0.5 / 255 + 1e-6)  # Half of them are rounded.
        exact += np.array_equal(lr, expected)
    assert 2 <= exact <= 14


def test_rescaling_is_that_of_pillow(pairs):
    data = patches(pairs)
    hr = pairs[0].hr[..., 0].astype("float32")
    expected = np.asarray(Image.fromarray(hr).resize((72, 60), Image.Resampling.LANCZOS)).clip(0)
    np.testing.assert_array_equal(data._rescaled(pairs[0].hr, 1.5)[..., 0], expected)
    assert data._rescaled(pairs[0].hr, 0.01).shape == (16, 16, 1)


def test_contrasts_change_brightness(pairs):
    dull = [float(hr.mean()) for hr in patches(pairs, contrasts=False, batch_size=32)[0][1]]
    drawn = [float(hr.mean()) for hr in patches(pairs, contrasts=True, batch_size=32)[0][1]]
    assert np.std(drawn) > 1.2 * np.std(dull)


def test_the_command_trains_on_them(mrisr, image_root, tmp_path):
    words = ["--generator", "edsr", "--set", "generator.blocks=1", "--set", "generator.filters=8"]
    values = {
        "degradation.name": "random-acquisition", "data.separate_channels": "true",
        "training.rescale": "[0.7,1.5]", "training.contrasts": "true", "training.patch_size": "16",
        "training.epochs": "1", "training.steps_per_epoch": "2", "training.batch_size": "2",
    }  # fmt: skip
    for key, value in values.items():
        words += ["--set", f"{key}={value}"]
    code, _, err = mrisr("train", "--data", image_root, "--out", tmp_path / "run", *words)
    assert code == 0, err
    source = next(image_root.rglob("*.png"))
    code, _, err = mrisr("upscale", source, tmp_path / "sr.png", "--model", tmp_path / "run")
    assert code == 0, err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["training.contrasts=true"], "training.contrasts is for the degradation random-acquisition"),
        (
            ["degradation.name=random-acquisition", "training.gain=[0.5,2]"],
            "training.gain is not for the degradation random-acquisition",
        ),
        (
            ["degradation.name=random-acquisition", "training.rescale=[0.5,2]", "training.patch_size=0"],
            "training.rescale needs training.patch_size",
        ),
        (["training.rescale=[2,1]"], "training.rescale"),
    ],
)
def test_bad_settings(mrisr, image_root, tmp_path, values, message):
    words = [word for value in values for word in ("--set", value)]
    code, _, err = mrisr("train", "--data", image_root, "--out", tmp_path / "run", *words)
    assert (code, (tmp_path / "run").exists()) == (2, False)
    assert message in err


def test_neighbours_are_refused(pairs):
    with_neighbours = [SlicePair(p.hr, p.middle_lr, p.normalizer, None, (p.middle_lr,) * 3) for p in pairs]
    with pytest.raises(MrisrError, match="no neighbours"):
        patches(with_neighbours)
