"""Training of 3-D generators."""

import csv

import nibabel
import numpy as np
import pytest

from keras_mrisr.config import RunConfig
from keras_mrisr.data import read_dataset
from keras_mrisr.data.volume_pairs import load_volume_pairs
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.metrics import psnr, ssim
from keras_mrisr.models import build_generator
from keras_mrisr.models.storage import load_trained
from keras_mrisr.models.volume_layers import CubicUpsampling
from keras_mrisr.training import train
from keras_mrisr.training.volumes import volume_sampler


@pytest.fixture(scope="module")
def config(tmp_path_factory, smooth_image):
    """The smallest config that trains on 5 NIfTI volumes of 24x24x8."""
    root = tmp_path_factory.mktemp("volumes")
    for patient in range(5):
        noise = np.stack([smooth_image(24, 24, seed=8 * patient + z)[..., 0] for z in range(8)], axis=2)
        values = (noise.astype("int16") * 10 + np.arange(8) * 50).astype("int16")
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 2, 1])), root / f"sub-{patient}.nii.gz")
    return RunConfig.from_dict(
        {
            "scale": [1, 1, 2],
            "degradation": {"name": "slice-profile"},
            "generator": {"name": "srresnet3d", "blocks": 1, "filters": 4},
            "data": {"root": str(root)},
            "training": {
                "patch_size": 8, "patch_slices": 4, "batch_size": 2, "steps_per_epoch": 3, "epochs": 2,
                "learning_rate": 1e-3,
            },
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def test_the_trained_model(run, config):
    generator, info = load_trained(run)
    assert (info.scale, info.factors, info.channels) == (2, (1, 1, 2), 1)
    assert info.degradation["scale"] == [1, 1, 2]
    assert info.data["kind"] == "volumes"
    assert info.training["train_slices"] == 8 * len(info.data["split"]["train"])
    card = (run / "card.md").read_text()
    assert "# srresnet3d x1x1x2, 1 channel(s)" in card and "8 px and 4 slices" in card
    with (run / "history.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    assert generator(np.zeros((1, 3, 4, 5, 1), "float32")).shape == (1, 3, 4, 10, 1)


def test_scores_are_those_of_unseen_volumes(run, config):
    generator, info = load_trained(run)
    dataset = read_dataset(config.data.root).select(info.data["split"]["val"])
    (pair,) = load_volume_pairs(dataset, get_degradation(**info.degradation))
    lr, hr = (pair.normalizer.normalize(volume) for volume in (pair.lr, pair.hr))
    sr = np.asarray(generator(lr[np.newaxis]))[0]
    sr = (np.rint(np.clip(sr, 0, 1) * 255) / 255).astype("float32")
    slices = [np.moveaxis(volume, 2, 0) for volume in (hr, sr)]
    assert info.metrics["slices"] == 8
    assert info.metrics["val_psnr"] == pytest.approx(np.mean(psnr(*slices, 1.0)), abs=1e-3)
    assert info.metrics["val_ssim"] == pytest.approx(np.mean(ssim(*slices, 1.0)), abs=1e-4)
    cubic = np.clip(np.asarray(CubicUpsampling((1, 1, 2))(lr[np.newaxis]))[0], 0, 1)
    cubic = np.moveaxis((np.rint(cubic * 255) / 255).astype("float32"), 2, 0)
    assert info.metrics["cubic_psnr"] == pytest.approx(np.mean(psnr(slices[0], cubic, 1.0)), abs=1e-3)
    assert f"PSNR {info.metrics['cubic_psnr']:.2f} dB" in (run / "card.md").read_text()


def test_stacks_of_slices_in_both_directions(tmp_path, config, lgg_root):
    overrides = {
        "scale": [2, 2, 1],
        "data.root": str(lgg_root),
        "training.patch_slices": 2,
        "training.epochs": 1,
        "training.precision": "mixed_bfloat16",
    }
    generator, info = load_trained(train(config.replace(overrides), tmp_path / "run"))
    assert (info.scale, info.factors, info.channels) == (2, (2, 2, 1), 3)
    assert info.degradation["in_plane"]["name"] == "bicubic"
    assert {layer.dtype_policy.name for layer in generator.layers} == {"float32"}
    assert np.isfinite(info.metrics["val_psnr"])


def test_picture(config):
    (pair,) = load_volume_pairs(
        read_dataset(config.data.root).select(["sub-0"]), get_degradation("slice-profile", (1, 1, 2))
    )
    generator = build_generator("srresnet3d", (1, 1, 2), 1, blocks=1, filters=4)
    picture = volume_sampler(generator, [pair])()
    # LR, cubic, SR and HR side by side: the middle sagittal plane, the last slice on top.
    assert picture.shape == (1, 8, 4 * 24, 1)
    lr, cubic, sr, hr = np.split(picture[0, ..., 0], 4, axis=1)
    expected = np.clip(pair.normalizer.normalize(pair.hr)[12, :, ::-1, 0].T, 0, 1)
    np.testing.assert_array_equal(hr, expected)
    np.testing.assert_array_equal(lr[::2], lr[1::2])
    np.testing.assert_allclose(cubic, sr, atol=1e-6)  # Which the untrained generator is.


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scale": 2}, r"'srresnet3d' takes a scale of three factors"),
        ({"scale": 2, "generator.name": "edsr"}, "scale must be three whole factors of 1 or more"),
        ({"generator.name": "edsr"}, r"'edsr' takes a scale of one number"),
        ({"degradation.name": "paper"}, r"'paper' is for slices .* choose slice-profile"),
        ({"training.patch_slices": 12}, r"smaller than the block of 8x8x12"),
    ],
)
def test_what_must_not_start(tmp_path, config, overrides, message):
    with pytest.raises(MrisrError, match=message):
        train(config.replace(overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
