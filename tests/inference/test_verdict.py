import numpy as np
import pytest

from keras_mrisr.data import write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.inference import SuperResolver, upscale_volume
from keras_mrisr.inference.inputs import input_at
from keras_mrisr.inference.options import UpscaleOptions
from keras_mrisr.inference.upscale import upscale_input
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.volumes import Volume

BICUBIC = get_degradation("bicubic", 2)
DOMAIN = {"domain": {"lr_size": [10, 20], "lr_spacing": [0.5, 1.5]}}


class Nearest:
    def predict_on_batch(self, lr):
        return lr.repeat(2, axis=1).repeat(2, axis=2)


def resolver(data=DOMAIN, degradation=BICUBIC):
    info = ModelInfo(2, 1, generator={}, degradation=degradation.to_dict() if degradation else {}, data=data)
    return SuperResolver(Nearest(), info, name="a-model")


def test_every_part_has_its_words():
    assert Verdict().sentence("m") == (
        "M does not say which sizes it was made for; it was not checked whether the result degrades to the "
        "input again; uncertainty was not measured."
    )
    good = Verdict("", (0.0, 0.0), 0.012, "in slice 3").sentence("m")
    assert good == (
        "Within what m was made for; the result degrades to the input again; 0.012 of the measured signal is "
        "not reproduced; least certain in slice 3."
    )
    bad = Verdict("9 x 9 pixels; the model was made for 10 to 20", (0.0, 0.25, 0.5)).sentence("m")
    assert "Outside of what m was made for (9 x 9 pixels; the model was made for 10 to 20)" in bad
    assert "does not degrade to the input again on 2 of 3 slices (off by up to 50 %" in bad
    assert "compare it with an interpolation" in bad


def test_verdicts_together():
    joined = Verdict.joined([Verdict("", (0.0,), 0.1), Verdict("small", (0.3,), 0.2), Verdict(None)])
    assert joined == Verdict("small", (0.0, 0.3), 0.2)
    assert Verdict.joined([Verdict(), Verdict()]) == Verdict()
    assert Verdict.joined([Verdict(""), Verdict()]).outside == ""


def test_of_a_volume(smooth_image):
    array = np.stack([smooth_image(12, 14, seed=seed)[..., 0] for seed in range(4)], axis=2).astype("float32")
    array[..., 3] = 7
    one = upscale_volume(Volume(array, np.diag([1, 1, 3, 1])), resolver(), uncertainty=True)
    assert one.verdict.outside == ""
    assert len(one.verdict.mismatches) == 3  # One slice has nothing to check.
    # The network commutes with flips and turns, so that rounding alone tells the slices apart.
    assert "of the result (" in one.verdict.uncertain
    two = upscale_volume(Volume(array, np.diag([2, 2, 3, 1])), resolver(degradation=None))
    assert two.verdict.outside == "2 x 2 mm between pixels; the model was made for 0.5 to 1.5"
    assert two.verdict.mismatches == () and two.verdict.uncertain is None


def test_the_least_certain_slice():
    class Twisted:
        """Adds to the right border, as much as the slice is bright: elsewhere where it is turned."""

        def predict_on_batch(self, lr):
            sr = lr.repeat(2, axis=1).repeat(2, axis=2)
            sr[:, :, -2:] += lr.max(axis=(1, 2, 3))[:, None, None, None] ** 2
            return sr

    array = np.random.default_rng(0).uniform(1, 2, (10, 10, 4)).astype("float32")
    array[..., 2] *= 5
    model = SuperResolver(Twisted(), ModelInfo(2, 1, generator={}, degradation={}))
    upscaled = upscale_volume(Volume(array, np.diag([1, 1, 3, 1])), model, uncertainty=True)
    means = upscaled.uncertainty.array.mean(axis=(0, 1))
    assert int(means.argmax()) == 2
    high = np.percentile(array.astype("float64"), 99.9)
    assert upscaled.verdict.uncertain.startswith(f"in slice 2 of the result ({100 * means[2] / high:.2g} %")


@pytest.mark.parametrize("consistency", [False, True])
def test_of_images(tmp_path, smooth_image, consistency):
    for seed in range(2):
        write_image(tmp_path / f"in/{seed}.png", smooth_image(12, 14, seed=seed))
    write_image(tmp_path / "in/2.png", smooth_image(12, 30))
    model = resolver()
    options = UpscaleOptions(consistency=consistency)
    outcome = upscale_input(input_at(tmp_path / "in"), tmp_path / "out", model, options)
    assert outcome.verdict.outside == "12 x 30 pixels; the model was made for 10 to 20"
    assert len(outcome.verdict.mismatches) == 3
    assert (outcome.verdict.residual is not None) == consistency
    assert "Outside of what a-model" in outcome.verdict.sentence(model.name)
