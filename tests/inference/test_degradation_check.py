import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.inference import SuperResolver
from keras_mrisr.inference.degradation_check import LEAST, degradation_mismatch
from keras_mrisr.models.storage import ModelInfo
from keras_mrisr.volumes import Volume, write_volume

PAPER, BICUBIC = (get_degradation(name, 2) for name in ("paper", "bicubic"))


@pytest.fixture
def hr(smooth_image):
    return smooth_image(64, 80, 2, "float32")


def test_the_share(hr):
    assert degradation_mismatch(hr, PAPER.degrade(hr), PAPER) == 0
    sharp = BICUBIC.degrade(hr)
    rows, columns = (PAPER.axis_matrix(size) for size in hr.shape[:2])
    again = np.einsum("ih,hwc,jw->ijc", rows, hr, columns)
    steps = np.concatenate([np.diff(sharp, axis=axis).ravel() for axis in (0, 1)])
    expected = np.sqrt(np.mean((again - sharp) ** 2) / np.mean(steps**2))
    assert expected > 0.12
    np.testing.assert_allclose(degradation_mismatch(hr, sharp, PAPER), expected, rtol=1e-5)
    assert degradation_mismatch(hr / 100, sharp / 100, PAPER) == 0  # Less than a grey level.


def test_what_cannot_be_told(hr):
    lr = np.zeros_like(BICUBIC.degrade(hr))
    assert degradation_mismatch(hr, lr, get_degradation("random-blur", 2)) is None
    large = np.zeros((1040, 16, 1), "float32")
    assert degradation_mismatch(large, large[::2, ::2] + 1, get_degradation("kspace", 2)) is None
    assert degradation_mismatch(np.full((2, 2, 1), np.nan), np.ones((1, 1, 1)), PAPER) is None


def test_of_large_slices_the_middle(smooth_image):
    hr = smooth_image(1200, 64, 1, "float32")
    lr = BICUBIC.degrade(hr)
    assert degradation_mismatch(hr, lr, BICUBIC) == 0
    hr[:80] = hr[1120:] = 0
    assert degradation_mismatch(hr, lr, BICUBIC) == 0
    hr[500:600] = 0
    assert degradation_mismatch(hr, lr, BICUBIC) > 0.12


@pytest.mark.parametrize("shape", [(64, 80, 2), (2, 64, 80, 2)])
def test_one_warning(hr, shape, caplog):
    """As with a model that undoes a blur, given a sharp image."""

    hr = np.rint(hr * 255).astype("uint8")

    class Sharpener:
        def predict_on_batch(self, lr):
            return np.stack([hr / np.float32(255)] * len(lr))

    def resolver(degradation, **options):
        info = ModelInfo(2, 2, generator={}, degradation=degradation.to_dict(), **options)
        return SuperResolver(Sharpener(), info, name="sharpener")

    sharp, blurred = (np.broadcast_to(one.degrade(hr), (*shape[:-3], 32, 40, 2)) for one in (BICUBIC, PAPER))
    resolver(PAPER)(blurred)
    assert not caplog.text
    model = resolver(PAPER)
    for _ in range(2):
        model(sharp)
    assert caplog.text.count("sharpener: the result does not degrade to the image again (off by ") == 1
    assert "the image was not degraded by `paper`, which this model undoes" in caplog.text


def test_a_shipped_model(smooth_image, caplog):
    hr = smooth_image(96, 96, 3)
    resolver = SuperResolver.load("lgg-x2")
    resolver(PAPER.degrade(hr))
    assert not caplog.text
    resolver(BICUBIC.degrade(hr))
    assert "lgg-x2: the result does not degrade" in caplog.text


@pytest.mark.parametrize("kind", ["image", "folder"])
def test_a_named_model_that_does_not_fit_is_refused(smooth_image, mrisr, monkeypatch, tmp_path, kind):
    monkeypatch.setattr("keras_mrisr.inference.degradation_check.LEAST", LEAST)
    source, target = tmp_path / "sharp.png", tmp_path / "sr.png"
    write_image(source, smooth_image(96, 96, 3))
    if kind == "folder":
        (tmp_path / "in").mkdir()
        source, target = source.rename(tmp_path / "in/sharp.png").parent, tmp_path / "out"
    words = ["upscale", source, target, "--model", "lgg-x2"]
    code, _, err = mrisr(*words)
    assert code == 2 and not target.exists()
    (line,) = [line for line in err.splitlines() if "error:" in line]
    assert "lgg-x2 does not fit this image: on " in line and "--force" in line
    assert "Look at the result" not in err
    code, _, err = mrisr(*words, "--force")
    assert code == 0 and target.exists()
    assert "lgg-x2: the result does not degrade to the image again" in err


def test_a_model_that_fits_is_not_refused(smooth_image, mrisr, monkeypatch, tmp_path):
    monkeypatch.setattr("keras_mrisr.inference.degradation_check.LEAST", LEAST)
    write_image(tmp_path / "blurred.png", PAPER.degrade(smooth_image(96, 96, 3)))
    code, _, err = mrisr("upscale", tmp_path / "blurred.png", tmp_path / "sr.png", "--model", "lgg-x2")
    assert code == 0 and (tmp_path / "sr.png").exists(), err


def test_a_volume_is_refused_where_most_slices_do_not_fit(
    smooth_image, mrisr, monkeypatch, tmp_path, save_model
):
    save_model(tmp_path / "model", 2, 1)
    source, target = tmp_path / "scan.nii.gz", tmp_path / "sr.nii.gz"
    volume = np.concatenate([smooth_image(16, 20, 1, "float32")] * 4, axis=2)
    write_volume(Volume(volume, np.diag([1.0, 1, 1.2, 1])), source)
    words = ["upscale", source, target, "--model", tmp_path / "model", "--overwrite"]
    for shares, expected in (((0, 0.5, 0, 0.5), 0), ((0.5, 0.5, 0, 0.5), 2)):
        found = iter(shares)
        monkeypatch.setattr(
            "keras_mrisr.inference.super_resolver.degradation_mismatch", lambda *_, found=found: next(found)
        )
        target.unlink(missing_ok=True)
        code, _, err = mrisr(*words)
        assert (code, target.exists()) == (expected, not expected), err
    assert "does not fit this image: on 3 of 4 slices" in err
