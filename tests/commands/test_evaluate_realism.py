"""`mrisr evaluate --realism`, from end to end."""

import json

import pytest


def test_realism(mrisr, models, image_root, tmp_path):
    from keras_mrisr.models.vgg import vgg, write_weights

    write_weights(vgg("vgg16", "block2_conv2"), tmp_path / "vgg16.h5")
    words = ["--realism", f"vgg16:{tmp_path / 'vgg16.h5'}:block2_conv2", "--metrics", "psnr", "--limit", 8]
    words += ["--methods", "bicubic", "--out", tmp_path / "out", "--report", tmp_path / "page.html"]
    words += ["--cases", 0]
    code, out, err = mrisr("evaluate", "--model", f"A={models['grey']}", "--data", image_root, *words)
    assert (code, err) == (0, "")
    assert "KID" in out and "band by band" in out
    values = json.loads((tmp_path / "out/metrics.json").read_text())["realism"]
    assert {one["network"] for one in values["scores"]} == {"", "vgg16"} and values["patients"] == 8
    # The network is untrained: it has nothing of what HR has.
    kid = {one["method"]: one["value"] for one in values["scores"] if one["measure"] == "kid"}
    assert kid["A"] != pytest.approx(kid["bicubic"])
    assert "Perception and distortion" in (tmp_path / "page.html").read_text()


def test_bad_input(mrisr, models, image_root):
    words = ["evaluate", "--model", f"A={models['grey']}", "--data", image_root]
    for more, message in (
        (["--metrics", "dists"], "The metric 'dists' needs the weights of VGG16"),
        (["--realism", "vgg16"], "Expected NETWORK:WEIGHTS"),
        (["--task", "through-plane", "--realism"], "--realism is no option of --task through-plane"),
        (["--realism", "vgg16:nothing.h5"], "No feature weights at nothing.h5"),
    ):
        code, _, err = mrisr(*words, *more)
        assert code == 2 and message in err and err.count("\n") == 1
