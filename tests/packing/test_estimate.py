import json
import sys

import numpy as np
import pytest

from keras_mrisr.data.splits import Split
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError
from keras_mrisr.export import OnnxSuperResolver
from keras_mrisr.export.packed import write_packed_onnx
from keras_mrisr.inference import SuperResolver
from keras_mrisr.inference.degradation_estimate import CANDIDATES, DegradationEstimate
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.models.registry import build_generator
from keras_mrisr.models.storage import load_trained, save_trained
from keras_mrisr.packing.estimate import add_estimate, kinds

GENERATOR = {"name": "edsr", "blocks": 1, "filters": 8}


def model(folder, degradation="random-acquisition", **data):
    info = ModelInfo(
        2, 1, GENERATOR, get_degradation(degradation, 2).to_dict(),
        {"separate_channels": True, **data},
    )  # fmt: skip
    save_trained(folder, build_generator(channels=1, scale=2, **GENERATOR), info, "A card.")
    return folder


def test_every_candidate_is_a_kind_of_its_own():
    drawn = kinds(np.random.default_rng(0))
    assert set(CANDIDATES) <= set(drawn)
    assert set(drawn) - set(CANDIDATES) == {
        "ellipse", "partial", "zero-filled", "noise", "noisy-kspace", "soft-noise"
    }  # fmt: skip
    for name, options in drawn.items():
        degradation = get_degradation("acquisition", 2, **options)
        assert degradation.linear == (degradation.fixed and name not in ("ellipse", "partial"))
        assert degradation.fixed == (name not in ("noise", "noisy-kspace", "soft-noise")), name


def test_the_command_writes_what_the_model_then_tells_by(mrisr, tmp_path, lgg_root):
    folder = model(tmp_path / "any")
    write_packed_onnx(*load_trained(folder), folder / "model.onnx")
    before = json.loads((folder / "model.json").read_text())
    code, out, err = mrisr("models", "estimate", folder, "--data", lgg_root, "--slices", 60)
    assert code == 0 and "model.json" in out, err
    after = json.loads((folder / "model.json").read_text())
    estimate = after.pop("estimate")
    assert after == before
    assert len(DegradationEstimate.from_dict(estimate).kinds) == len(kinds(np.random.default_rng(0)))
    assert OnnxSuperResolver.load(folder, engine="onnxruntime").info.estimate == estimate
    resolver = SuperResolver.load(folder)
    resolver.degraded_by = "hamming"
    lr = np.random.default_rng(0).random((16, 16), "float32")
    assert resolver.upscale(lr).degraded_by == ("a crop of k-space with a Hamming window",)


@pytest.mark.parametrize(
    ("degradation", "data", "words", "message"),
    [
        ("bicubic", {}, [], "how its images were degraded is known"),
        ("random-acquisition", {}, ["--slices", 20], "--slices must be 60 or more"),
        ("random-acquisition", {"split": "all of them held out"}, [], "holds out"),
    ],
)
def test_bad_input_leaves_the_model_as_it_was(
    mrisr, tmp_path, lgg_root, listing, degradation, data, words, message
):
    if "split" in data:
        patients = [path.name for path in lgg_root.iterdir()]
        data = {"split": Split((), (), tuple(patients)).to_dict()}
    folder = model(tmp_path / "any", degradation, **data)
    before = listing(folder)
    code, _, err = mrisr("models", "estimate", folder, "--data", lgg_root, *words)
    assert code and message in err and listing(folder) == before


def test_what_is_needed_is_asked_for_before_the_work(tmp_path, lgg_root, listing, monkeypatch):
    folder = model(tmp_path / "any")
    (folder / "model.onnx").write_bytes(b"a network")
    before = listing(folder)
    monkeypatch.setitem(sys.modules, "keras_mrisr.export.onnx_file", None)  # As where onnx is missing.
    with pytest.raises(MrisrError, match="pip install onnx, or remove it"):
        add_estimate(folder, lgg_root)
    assert listing(folder) == before
