"""Models that come with the package: found by name, chosen, shown."""

import json
import shutil

import numpy as np
import pytest
import yaml

from keras_mrisr import pretrained
from keras_mrisr.config import read_config
from keras_mrisr.data import read_image, write_image
from keras_mrisr.degrade import DEGRADATIONS, get_degradation
from keras_mrisr.degrade.thick_slices import ThickSlices
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation.compatibility import split_of
from keras_mrisr.inference import SuperResolver
from keras_mrisr.inference.resample import resample_axis
from keras_mrisr.inference.through_plane_resolver import ThroughPlaneResolver
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.models.storage import load_info
from keras_mrisr.presets import PRESETS, preset_config
from keras_mrisr.pretrained import choose_model, find_model, held_out_text, pretrained_models
from keras_mrisr.through_plane_config import ThroughPlaneConfig
from keras_mrisr.volumes import Volume, write_volume

LICENCE = "CC BY-NC-SA 4.0"


@pytest.fixture
def shipped(packed_models, monkeypatch, tmp_path):
    """As if `packed` came with the package, seen from an empty folder."""
    monkeypatch.setattr(pretrained, "FOLDER", packed_models)
    monkeypatch.chdir(tmp_path)
    return packed_models


def test_packing_what_was_packed(shipped, tmp_path, mrisr):
    code, _, err = mrisr("models", "pack", "tiny", tmp_path / "again", "--licence", LICENCE)
    assert (code, err) == (0, "")
    assert (tmp_path / "again/config.yaml").read_text() == (shipped / "tiny/config.yaml").read_text()
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe\x00")
    code, _, err = mrisr(
        "models", "pack", "tiny", "x", "--licence", LICENCE, "--notes", tmp_path / "notes.md"
    )
    assert code == 2 and "notes.md is no text in UTF-8" in err and err.count("\n") == 1


def test_find_model(shipped, tmp_path, caplog):
    assert find_model("tiny") == shipped / "tiny"
    pretrained._say_once.cache_clear()
    caplog.set_level("INFO", "keras_mrisr")
    (tmp_path / "tiny").mkdir()
    assert find_model("tiny") == shipped / "tiny"
    assert "tiny: the folder of this name holds no model; the bundled one is taken" in caplog.text
    for mark in ("model.onnx", "model.json"):
        (tmp_path / "tiny" / mark).touch()
        assert find_model("tiny").resolve() == tmp_path / "tiny"  # One's own comes first.
        (tmp_path / "tiny" / mark).unlink()
    assert caplog.text.count("tiny: what lies at this path is taken, not the bundled model of this name") == 1
    with pytest.raises(
        MrisrError, match=r"No model at nothing.* name of a bundled one \(a-gan, grey, tiny\)"
    ):
        find_model("nothing")
    for name in ("..", "../tiny/model.json", "", "tiny/generator"):
        with pytest.raises(MrisrError):
            assert find_model(name).exists() and name in ("..", "")
            raise MrisrError("A path that exists.")


def test_choose_model(shipped):
    model, reason = choose_model(2, 3)
    assert model.name == "tiny"  # Not a-gan, which may invent detail.
    assert reason.startswith(f"tiny (x2, 3 channel(s), degraded by paper); weights under {LICENCE}; `model`")
    assert choose_model(2, 1)[0].name == choose_model(2, 1, volume=True)[0].name == "grey"
    with pytest.raises(MrisrError, match=r"for x4 and 3 channel\(s\): grey .*Train one"):
        choose_model(4, 3)


def test_only_colour_has_a_scale(packed_models, monkeypatch, tmp_path):
    shutil.copytree(packed_models / "tiny", tmp_path / "rgb")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(MrisrError, match=r"for x2 and volumes: only RGB slices like .* have x2 \(rgb\)"):
        choose_model(2, 1, volume=True)
    with pytest.raises(MrisrError, match=r"for x2 and grey images: only RGB"):
        choose_model(2, 1)


def test_the_choice_is_the_least_harmful_one(packed_models, monkeypatch, tmp_path):
    """A blur that is not there is not undone, whatever the names."""
    shutil.copytree(packed_models / "tiny", tmp_path / "a-paper")
    for name, degradation in (("b-bicubic", "bicubic"), ("c-random", "random-blur")):
        shutil.copytree(packed_models / "tiny", tmp_path / name)
        values = json.loads((tmp_path / name / "model.json").read_text())
        values["degradation"] = get_degradation(degradation, 2).to_dict()
        (tmp_path / name / "model.json").write_text(json.dumps(values))
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert choose_model(2, 3)[0].name == "c-random"
    shutil.rmtree(tmp_path / "c-random")
    assert choose_model(2, 3)[0].name == "b-bicubic"


def test_what_is_made_for_any_image_comes_first(packed_models, monkeypatch, tmp_path):
    for name in ("tiny", "grey"):
        shutil.copytree(packed_models / name, tmp_path / name)
    shutil.copytree(packed_models / "grey", tmp_path / "z-any")
    values = json.loads((tmp_path / "z-any/model.json").read_text())
    values["degradation"] = get_degradation("random-acquisition", 2).to_dict()
    values["data"]["separate_channels"] = True
    (tmp_path / "z-any/model.json").write_text(json.dumps(values))
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    for channels, volume in ((3, False), (1, False), (1, True)):
        model, reason = choose_model(2, channels, volume)
        assert model.name == "z-any"
        assert reason.startswith("z-any (x2, any number of channels, one by one, degraded in any way)")
        # What undoes no one degradation knows none that a result could be consistent with.
        assert choose_model(2, channels, volume, consistency=True)[0].name != "z-any"


def test_every_degradation_has_its_place_in_the_choice():
    assert set(pretrained._HARMLESS) == set(DEGRADATIONS)


def test_python(shipped, smooth_image):
    resolver = SuperResolver.load("tiny")
    assert resolver.name == "tiny"
    assert resolver(smooth_image(20, 24, 3)).shape == (40, 48, 3)


def test_models_on_the_command_line(shipped, mrisr):
    code, out, err = mrisr("models")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if " MB " in line] == ["a-gan", "grey", "tiny"]
    assert out.count("over bicubic on 2 held-out patients (1 of 2 chose the epoch)") == 2
    assert f"Licence of the weights of a-gan, tiny: {LICENCE}\n" in out
    assert mrisr("models", "list") == (code, out, err)
    assert mrisr("models", "show", "tiny")[1].startswith("# edsr x2, 3 channel(s)")
    code, _, err = mrisr("models", "show", "thing")
    assert code == 2 and "No model at thing" in err and "(a-gan, grey, tiny)" in err
    _, out, _ = mrisr("models", "show", shipped / "tiny")
    assert out.startswith("# edsr x2") and out.rstrip().endswith(f"FOLDER: {shipped / 'tiny'}")
    code, _, err = mrisr("models", "show", shipped)
    assert code == 2 and "holds no card.md" in err


def test_upscale_without_model(shipped, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "colour.png", smooth_image(24, 30, 3))
    code, out, err = mrisr("upscale", "colour.png", "sr.png")
    assert (code, err) == (0, "")
    assert f"Model: tiny (x2, 3 channel(s), degraded by paper); weights under {LICENCE}; --model" in out
    assert read_image(tmp_path / "sr.png").shape == (48, 60, 3)
    volume = Volume(smooth_image(20, 18, 6, "uint16"), np.diag([1.8, 1.8, 4, 1.0]))
    write_volume(volume, tmp_path / "scan.nii.gz")
    code, out, err = mrisr("upscale", "scan.nii.gz", "sr.nii.gz")
    assert (code, err) == (0, "")
    assert "Model: grey" in out
    code, _, err = mrisr("upscale", "colour.png", "x4.png", "--scale", 4)
    assert code == 2 and "No bundled model is for x4" in err
    for scale in (0, -2, 1):
        code, _, err = mrisr("upscale", "colour.png", "no.png", "--scale", scale)
        assert (code, err) == (2, f"mrisr: error: --scale must be 2 or more. Received: {scale}\n")


def test_the_choice_is_no_path_of_its_name(shipped, models, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "colour.png", smooth_image(24, 30, 3))
    shutil.copytree(models["grey"], tmp_path / "tiny")
    assert mrisr("upscale", "colour.png", "sr.png")[::2] == (0, "")
    assert read_image(tmp_path / "sr.png").shape == (48, 60, 3)
    shutil.rmtree(tmp_path / "tiny")
    (tmp_path / "tiny").mkdir()
    assert mrisr("upscale", "colour.png", "named.png", "--model", "tiny")[::2] == (0, "")


def test_every_command_takes_a_name(shipped, mrisr, tmp_path, lgg_root, tiny_run):
    patient = load_info(tiny_run).data["split"]["test"][0]
    image = lgg_root / patient / f"{patient}_1.tif"
    words = ("--data", lgg_root, "--limit", 1, "--methods", "bicubic", "--metrics", "psnr")
    for command in (
        ("evaluate", "--model", "tiny", *words),
        ("compare", image, "--model", "tiny", "--out", tmp_path / "figure.png", "--dpi", 50),
        ("export", "--model", "tiny", "--to", "onnx", "--out", tmp_path / "onnx"),
    ):
        code, _, err = mrisr(*command)
        assert (code, err) == (0, ""), command
    assert (tmp_path / "tiny-evaluation-test/metrics.json").is_file()
    assert (tmp_path / "onnx/card.md").read_text() == (shipped / "tiny/card.md").read_text()
    assert sorted(path.name for path in shipped.iterdir()) == ["a-gan", "grey", "tiny"]


def test_warning_outside_the_domain(shipped, mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "in/small.png", smooth_image(10, 30, 3))
    write_image(tmp_path / "in/right.png", smooth_image(24, 30, 3))
    _, out, err = mrisr("upscale", "in", "out", "--model", "tiny")
    text = " ".join((out + err).split())
    assert "small.png has 10 x 30 pixels; the model was made for 20 to 40." in text
    assert "right.png has" not in text


def in_plane_models():
    return [model for model in pretrained_models() if isinstance(model.info, ModelInfo)]


def test_bundled_models_know_their_patients_by_digests():
    names = ("TCGA_CS_4941_19960909", "TCGA_HT_7686_19950629", "TCGA_CS_4944_20010208", "TCGA_CS_0000")
    for model in pretrained_models():
        split = split_of(model.info)
        parts = [split.part_of(name) for name in names]
        # What one of them holds out none has trained on.
        assert [part == "train" for part in parts] == [True, False, False, False]
        assert parts[1] and parts[2] and not parts[3]
        for file in model.folder.glob("*.*"):
            assert b"TCGA_" not in file.read_bytes()
    for model in in_plane_models():
        if model.name in ("any-x2", "any-x4"):  # Trained on more patients, by another split.
            continue
        assert [split_of(model.info).part_of(name) for name in names] == ["train", "val", "test", None]
        assert held_out_text(model.scores[0]["patients"], model.info) == (
            "11 held-out patients (5 of 11 chose the epoch)"
        )


def test_what_ships():
    """Small enough for a wheel, and each of them works."""
    models = pretrained_models()
    assert {model.licence for model in models} == {"CC BY-NC-SA 4.0"}
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*") if path.is_file()) < 25e6
    for model in in_plane_models():
        channels = model.info.image_channels or 2
        image = np.random.default_rng(0).integers(0, 255, (16, 18, channels), "uint8")
        sr = SuperResolver.load(model.name)(image)
        assert sr.shape == (16 * model.info.scale, 18 * model.info.scale, channels)
        assert (model.folder / "card.md").read_text().startswith("# ")
        assert model.scores
        # Its config says all that decides the training, whatever the preset that it is read over says.
        configs = [read_config(model.folder / "config.yaml", preset_config(name)) for name in PRESETS]
        assert all(config == configs[0] for config in configs)


def test_models_of_many_degradations_say_the_least_and_the_largest_gain(mrisr):
    code, out, err = mrisr("models")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for name in ("any-x2", "any-x4"):
        [model] = [one for one in pretrained_models() if one.name == name]
        psnr = {(row["degradation"], row["method"]): row["psnr"] for row in model.scores}
        plain = ("bicubic", "lanczos", "zero-filled")
        gains = [
            psnr[way, "SR"] - max(psnr[way, one] for one in plain)
            for way in {row["degradation"] for row in model.scores}
        ]
        assert len(gains) == 16 and min(gains) > -0.05, "it does no harm"
        said = text.split(f"{name} ")[1].split("over the best interpolation on")[0]
        assert f"16 degradations: {min(gains):+.2f} dB (" in said
        assert f" to {max(gains):+.2f} dB (" in said


def test_the_bundled_model_for_thick_slices_works_and_beats_interpolation():
    """On rings whose waves are longer than two slices, but far from smooth."""
    resolver = ThroughPlaneResolver.load("thick")
    y, x = np.mgrid[:96, :80] - 40.0
    hr = (0.5 + 0.4 * np.sign(np.sin(np.hypot(y, x) / 3))).astype("float32")
    lr = ThickSlices(4).degrade(hr, axis=0)
    sr = resolver.restore(lr[np.newaxis], 96)[0]
    errors = [np.square(image - hr)[8:-8].mean() for image in (sr, resample_axis(lr, 0, 96))]
    assert errors[0] < 0.8 * errors[1]
    folder = pretrained.find_model("thick")
    assert (folder / "card.md").read_text().startswith("# ")
    written = yaml.safe_load((folder / "config.yaml").read_text())
    config = ThroughPlaneConfig.from_dict(written).to_dict()
    assert {**config["training"], **written["training"]} == config["training"]


def test_configs_train_from_the_beginning():
    """On a machine without the weights, too; and without paths of the one that trained them."""
    for model in pretrained_models():
        config = yaml.safe_load((model.folder / "config.yaml").read_text())
        assert config["training"]["init"] is None, model.name
        assert "root" not in config["data"], model.name


def test_the_dial_names_the_models_that_have_one(mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "grey.png", smooth_image(24, 30))
    code, _, err = mrisr("upscale", tmp_path / "grey.png", tmp_path / "sr.png", "--perception", 0.5)
    assert code == 2 and err.count("\n") == 1
    assert "give it with --model (kspace-x2 or lgg-x4)" in err


def test_consistency_with_what_is_said_already(mrisr, tmp_path, smooth_image):
    write_image(tmp_path / "grey.png", smooth_image(24, 30))
    words = ["upscale", tmp_path / "grey.png", tmp_path / "sr.png", "--consistency"]
    code, _, err = mrisr(*words, "--degraded-by", "hamming")
    assert code == 2 and "leave out --consistency" in err and err.count("\n") == 1
    code, _, err = mrisr(*words, "--scale", 4)
    assert code == 2 and "of one known degradation, as --consistency needs, is for x4 and grey" in err
