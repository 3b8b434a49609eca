import json

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import read_image, write_image
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.export.onnx_resolver import OnnxSuperResolver
from keras_mrisr.inference import upscale_path, upscale_volume
from keras_mrisr.inference.consistency import consistency_residual
from keras_mrisr.inference.degradation_check import LEAST
from keras_mrisr.inference.degradation_estimate import (
    AUTO,
    CANDIDATES,
    UNKNOWN,
    DegradationEstimate,
    candidate,
    evidence,
    words,
)
from keras_mrisr.pretrained import find_model
from keras_mrisr.volumes import Volume

# What `any-x2` tells apart with certainty on the image below, whose edges are finer than those of a scan.
CLEAR = {
    "blur-1": {"resampled": "bicubic", "sigma": 1.0},
}


@pytest.fixture(scope="module")
def any_x2():
    return OnnxSuperResolver.load(find_model("any-x2"))


@pytest.fixture(autouse=True)
def as_it_was(any_x2):
    yield
    any_x2.degraded_by = AUTO


@pytest.fixture(scope="module")
def head():
    """A slice like a head: ellipses with edges, texture in them, air around; (160, 144, 1) in [0, 1]."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:160j, -1:1:144j]
    image = np.zeros((160, 144))
    image[(y / 0.85) ** 2 + (x / 0.75) ** 2 < 1] = 0.8
    image[(y / 0.78) ** 2 + (x / 0.68) ** 2 < 1] = 0.45
    for _ in range(40):
        cy, cx, a, b = *rng.uniform(-0.5, 0.5, 2), *rng.uniform(0.02, 0.2, 2)
        image[((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1] += rng.uniform(-0.12, 0.2)
    # As sharp as a scan is: a pixel is the mean of what is in it.
    k = np.fft.fft2(image) * np.exp(-2 * np.pi**2 * 0.45**2 * np.add.outer(*(
        np.fft.fftfreq(n) ** 2 for n in image.shape)))  # fmt: skip
    return np.abs(np.fft.ifft2(k))[..., np.newaxis].clip(0, 1).astype("float32")


def degraded(head, **options):
    lr = get_degradation("acquisition", 2, **options).degrade(head)
    return (np.round(lr.clip(0, 1) * 255) / 255).astype("float32")


def error(sr, head):
    return float(np.sqrt(np.mean((sr - head) ** 2)))


@pytest.mark.parametrize("name", CLEAR)
def test_what_was_told_is_what_the_result_agrees_with(any_x2, head, name):
    lr = degraded(head, **CLEAR[name])
    assert any_x2.tell_degradation(_network(any_x2, lr), lr[np.newaxis]) == name
    told = any_x2.predict(lr[np.newaxis])
    assert told.degraded_by == (words(name),)
    again = candidate(name, 2)
    assert consistency_residual(told.sr[0], lr, again) < 0.5 / 255
    assert consistency_residual(_network(any_x2, lr)[0], lr, again) > 0.6 / 255
    assert error(told.sr[0], head) < 0.99 * error(_network(any_x2, lr)[0], head)


@pytest.mark.parametrize("name", ["kspace", "bicubic", "blur-2"])
def test_what_the_network_undoes_by_itself_is_told_or_left_alone(any_x2, head, name):
    lr = degraded(head, **CANDIDATES[name])
    assert any_x2.tell_degradation(_network(any_x2, lr), lr[np.newaxis]) in (name, UNKNOWN)


@pytest.mark.parametrize("name", ["hamming", "hann", "kaiser"])
def test_a_window_or_blur_that_is_much_like_it_does_no_harm(any_x2, head, name):
    lr = degraded(head, **CANDIDATES[name])
    network = _network(any_x2, lr)
    assert any_x2.tell_degradation(network, lr[np.newaxis]) in (
        UNKNOWN,
        "hamming",
        "hann",
        "kaiser",
        "blur-1",
    )
    assert error(any_x2.predict(lr[np.newaxis]).sr[0], head) < 1.001 * error(network[0], head)


def _network(resolver, lr):
    return resolver.predict(lr[np.newaxis], degraded_by=UNKNOWN).sr


@pytest.mark.parametrize("options", [{"snr": 15.0}, {"ellipse": True}, {"filled": 1.6}])
def test_what_is_no_candidate_is_left_to_the_network(any_x2, head, options):
    lr = degraded(head, **options)
    one = any_x2.predict(lr[np.newaxis])
    assert one.degraded_by == () and one.mismatches == ()
    np.testing.assert_array_equal(one.sr, _network(any_x2, lr))


def test_who_knows_says_it(any_x2, head):
    lr = degraded(head)
    any_x2.degraded_by = "kspace"
    one = any_x2.upscale((lr * 255).astype("uint8"))
    assert one.degraded_by == ("a crop of k-space",) and one.mismatches == (0.0,)
    assert error(one.sr / 255, head) < error(_network(any_x2, lr)[0], head)
    any_x2.degraded_by = "blur-2"  # Which is wrong.
    assert any_x2.predict(lr[np.newaxis]).mismatches[0] > 0.3
    any_x2.degraded_by = UNKNOWN
    np.testing.assert_array_equal(any_x2.predict(lr[np.newaxis]).sr, _network(any_x2, lr))


def test_a_wrong_name_is_refused(head, mrisr, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("keras_mrisr.inference.degradation_check.LEAST", LEAST)
    source, target = tmp_path / "crop.png", tmp_path / "sr.png"
    write_image(source, (255 * degraded(head)).astype("uint8"))
    words = ["upscale", source, target, "--engine", "onnxruntime", "--degraded-by"]
    code, _, err = mrisr(*words, "blur-2")
    assert code == 2 and not target.exists()
    (line,) = [line for line in err.splitlines() if "error:" in line]
    assert "This image was not degraded by a blur of radius 2 and bicubic resizing: on 1 of 1" in line
    assert "Leave out --degraded-by" in line and "--force" in line
    code, _, err = mrisr(*words, "blur-2", "--force")
    assert code == 0 and target.exists() and "was not degraded by a blur of radius 2" in err
    for name in ("kspace", "unknown"):
        assert mrisr(*words, name, "--overwrite")[::2] == (0, "")
    resolver = OnnxSuperResolver.load("any-x2", engine="onnxruntime")
    resolver.degraded_by = "blur-2"
    caplog.clear()
    for _ in range(2):
        resolver(read_image(source))
    assert caplog.text.count("any-x2: the result does not degrade to the image again") == 1
    with pytest.raises(MrisrError, match="was not degraded by"):
        upscale_path(source, tmp_path / "python.png", resolver, refuse_mismatch=True)
    assert not (tmp_path / "python.png").exists()


def test_all_slices_of_a_volume_are_taken_alike(any_x2, head):
    slices = [degraded(head * share, **CLEAR["blur-1"]) for share in (1.0, 0.8, 0.3, 0.9, 0.7)]
    stack = np.concatenate(slices, axis=-1)
    stack[..., 0] = 0.2 * np.random.default_rng(0).random(stack.shape[:2])  # Nothing could be told of it.
    upscaled = upscale_volume(Volume(stack, np.diag([1, 1, 3, 1.0]), "head"), any_x2)
    assert upscaled.verdict.degraded_by == (words("blur-1"),)
    expected = "taken as degraded by a blur of radius 1 and bicubic resizing"
    assert expected in upscaled.verdict.sentence("any-x2")


def test_names_that_are_not_known_and_models_that_undo_one_thing_are_refused(any_x2):
    with pytest.raises(ConfigError, match="must be one of auto, unknown, kspace"):
        any_x2.degraded_by = "gauss"
    other = OnnxSuperResolver.load(find_model("lgg-x4"))
    other.degraded_by = UNKNOWN
    with pytest.raises(ConfigError, match="does not tell"):
        other.degraded_by = "kspace"


def test_consistency_names_the_way_out(any_x2, smooth_image):
    with pytest.raises(ConfigError, match=r"leave out `consistency`.* `degraded_by` names"):
        any_x2.upscale(smooth_image(32, 24, 1), consistency=True)


def test_evidence_of_the_true_candidate_has_the_least_residual(head):
    """Where SR is the original."""
    for place, (name, options) in enumerate(CANDIDATES.items()):
        lr = get_degradation("acquisition", 2, **options).degrade(head)
        seen = evidence(head, lr, 2)
        assert seen.shape == (len(CANDIDATES) + 13,) and np.isfinite(seen).all()
        assert seen[: len(CANDIDATES)].argmin() == place, name


def test_evidence_of_an_empty_slice_is_finite():
    assert np.isfinite(evidence(np.zeros((64, 64, 1)), np.zeros((32, 32, 1)), 2)).all()


def test_the_fit_is_linear_discriminant_analysis():
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 2, (3, 27))
    own = np.arange(300) % 3
    seen = centres[own] + rng.normal(0, 1, (300, 27)) @ rng.normal(0, 0.3, (27, 27))
    kinds = np.array(["hamming", "hann", "none"])[own]
    gains = np.where(own[:, np.newaxis] + 1 == np.arange(len(CANDIDATES)), 0.5, -0.5)
    gains[own == 2] = -0.5
    # No candidate is ruled out by itself.
    seen[:, : len(CANDIDATES)] = rng.normal(0, 0.01, (300, len(CANDIDATES)))
    centres[:, : len(CANDIDATES)] = 0.0
    estimate = DegradationEstimate.fitted(seen, list(kinds), gains, 0.0)
    reference = sklearn.LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(seen, kinds)
    new = centres[own] + rng.normal(0, 1, (300, 27)) @ rng.normal(0, 0.3, (27, 27))
    new[:, : len(CANDIDATES)] = rng.normal(0, 0.01, (300, len(CANDIDATES)))
    scores = new @ estimate.weights[:, :-1].T + estimate.weights[:, -1]
    expected = reference.predict(new)
    assert np.mean(np.array(estimate.kinds)[scores.argmax(axis=1)] == expected) > 0.99
    names = list(CANDIDATES)
    assert estimate.choose([centres[0]]) == names[1] and estimate.choose([centres[1]]) == names[2]
    assert estimate.choose([centres[2]]) is None
    # Several slices count together; a residual beyond what is usual rules a candidate out.
    assert estimate.choose([centres[0], centres[0], centres[2]]) == names[1]
    far = centres[0].copy()
    far[1] = 3.0
    assert estimate.choose([far]) != names[1]


def test_of_other_candidates_nothing_is_told(any_x2, head):
    values = dict(any_x2.info.estimate)
    assert DegradationEstimate.from_dict({**values, "candidates": ["kspace"]}) is None
    again = DegradationEstimate.from_dict(json.loads(json.dumps(values)))
    assert again.to_dict() == values


def test_through_the_command(mrisr, tmp_path, head):
    lr = (degraded(head, **CLEAR["blur-1"]) * 255).round().astype("uint8")
    Image.fromarray(lr[..., 0]).save(tmp_path / "in.png")
    sr = {}
    for name in ("auto", "unknown", "blur-1"):
        code, text, err = mrisr(
            "upscale", tmp_path / "in.png", tmp_path / f"{name}.png", "--degraded-by", name
        )
        assert code == 0, err
        assert ("taken as degraded by a blur of radius 1 and bicubic resizing" in text) == (name != "unknown")
        sr[name] = np.asarray(Image.open(tmp_path / f"{name}.png")) / 255
    np.testing.assert_array_equal(sr["auto"], sr["blur-1"])
    assert error(sr["auto"], head[..., 0]) < error(sr["unknown"], head[..., 0])
