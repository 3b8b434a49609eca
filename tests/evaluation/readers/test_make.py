"""The page of a reader study: what it shows, what it hides, and its key."""

import base64
import collections
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import read_image
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.readers import Study
from keras_mrisr.evaluation.readers.make import _coarse
from keras_mrisr.evaluation.readers.study import key_path


def page_data(page):
    text = page.read_text()
    return text, json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    )


def picture(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def test_the_page_tells_nothing(make):
    page, study = make()
    text, data = page_data(page)
    names = {name for trial in study.trials for name in (trial.case, trial.patient + "/")}
    for word in ("model-alpha", "model-beta", "coarse", *names):
        assert word not in re.sub(r"data:image/[^\"']+", "", text), word
    assert "http" not in re.sub(r"data:image/[^\"']+", "", text).replace("http-equiv", "")
    assert [trial["code"] for trial in data["trials"]] == [f"t{place:03}" for place in range(1, 7)]
    assert data["study"] == study.name and set(data["trials"][0]) == {"code", "images", "original"}


def test_the_key_says_what_is_shown(make, study):
    page, made = make()
    _, data = page_data(page)
    key = Study.load(key_path(page))
    assert key == made and key.methods == ("model-alpha", "model-beta")
    for trial, shown in zip(key.trials, data["trials"], strict=True):
        hr = read_image(study / trial.case)[..., 1].astype("float32")
        original = np.clip(hr / np.percentile(hr, 99.7), 0, 1) * 255
        np.testing.assert_allclose(picture(data["images"][shown["original"]]), original, atol=0.6)
        images = dict(zip(trial.methods, (picture(data["images"][n]) for n in shown["images"]), strict=True))
        errors = {name: np.abs(image - original).mean() for name, image in images.items()}
        if trial.catch:
            assert set(errors) == {"original", "coarse"} and errors["original"] < 0.6 < errors["coarse"]
        else:
            assert errors["model-alpha"] < errors["model-beta"]  # The second one is blurred.


@pytest.mark.parametrize(("kind", "sets"), [("nearer", 1), ("real", 3), ("scores", 3)])
def test_every_case_is_shown_with_all_methods(make, kind, sets):
    _, study = make(kind, cases=16, catch=3)
    asked = [trial for trial in study.trials if not trial.catch]
    assert len(asked) == 16 * sets and len(study.trials) == 16 * sets + 3
    assert len({(trial.case, frozenset(trial.methods)) for trial in asked}) == len(asked)
    assert ("original" in study.methods) == (kind != "nearer")
    patients = collections.Counter(case.split("/")[1] for case in {trial.case for trial in asked})
    assert len(patients) == 8 and set(patients.values()) == {2}
    if kind != "scores":
        left = sum(trial.methods[0] == study.methods[0] for trial in asked)
        assert 0 < left < len(asked) * 2 / sets


def test_the_seed_draws(make):
    first, again, other = (make(seed=seed)[1] for seed in (1, 1, 2))
    assert first == again and [t.methods for t in first.trials] != [t.methods for t in other.trials]


def test_other_pictures_are_another_study(make):
    """Or answers to one would be taken for answers to the other, and a browser would go on with them."""
    names = {make(degradation=name)[1].name for name in ("bicubic", "bicubic", "kspace")}
    assert len(names) == 2


def test_coarse_image():
    plane = np.random.default_rng(0).random((20, 17)).astype("float32")
    coarse = _coarse(plane)
    assert coarse.shape == plane.shape
    np.testing.assert_allclose(coarse[:8, :8], plane[:8, :8].mean(), rtol=1e-5)
    np.testing.assert_allclose(coarse[16:, 16:], plane[16:, 16:].mean(), rtol=1e-5)


def test_bad_input(make, tmp_path, caplog):
    with pytest.raises(ConfigError, match="Unknown kind of study 'best'"):
        make("best")
    with pytest.raises(ConfigError, match="`cases` must be 1 or more"):
        make(cases=0)
    with pytest.raises(DataError, match="is no key of a reader study"):
        Study.load(tmp_path / "none.json")
    make(cases=40)
    assert "Only 24 of 40 cases" in caplog.text
