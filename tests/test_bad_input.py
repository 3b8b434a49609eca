"""Every kind of bad input, through the command: one line with a way out, code 2, and nothing left behind."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_mrisr.data import Split, read_image, write_image

TINY = [
    "--epochs", 1, "--batch-size", 2, "--patch-size", 16, "--generator", "edsr", "--degradation", "bicubic",
    "--set", "generator.blocks=1", "--set", "generator.filters=8", "--set", "training.steps_per_epoch=1",
    "--set", "training.validation_slices=2",
]  # fmt: skip
SPLIT = Split(train=("p0", "p1"), val=("p2",), test=("p3", "p4", "p5"))


@pytest.fixture
def place(tmp_path, monkeypatch, smooth_image, models):
    """The folder to stand in: `data` with 6 patients of 2 grey slices, and models `grey`, `rgb` and `x4`."""
    for patient in range(6):
        for index in range(2):
            image = smooth_image(32, 32, seed=10 * patient + index)
            write_image(tmp_path / f"data/p{patient}/{index}.tif", image)
    for name, folder in models.items():
        shutil.copytree(folder, tmp_path / name)
        info = json.loads((tmp_path / name / "model.json").read_text())
        info["data"] = {} if name == "rgb" else {"split": SPLIT.to_dict()}
        (tmp_path / name / "model.json").write_text(json.dumps(info))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(mrisr, listing, place):
    """A function (words, parts of the message) that runs a command which must be refused properly."""

    def check(words, *parts):
        before = listing(place)
        code, _, err = mrisr(*words)
        assert err.count("\n") == 1, err
        assert err.startswith("mrisr"), err
        for part in parts:
            assert part in err
        assert code == 2
        assert listing(place) == before

    return check


def train(*words, data="data", out="run"):
    return ["train", "--data", data, "--out", out, *TINY, *words]


def adversarial(key):
    return train("--adversarial", "--set", f"adversarial.{key}")


def evaluate(*words, data="data", model="grey", out="scores"):
    return ["evaluate", "--data", data, "--model", model, "--out", out, *words]


def upscale(*words, source="data", model="grey", out="sr"):
    return ["upscale", source, out, "--model", model, *words]


def write_float(path, image):
    Image.fromarray(image.astype("float32")).save(path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


def with_nan(path):
    image = np.ones((32, 32), "float32")
    image[3, 4] = np.nan
    write_float(path, image)


BREAKERS = {
    "text": (lambda path: path.write_text("not an image"), "is not a PNG, TIFF or JPEG image. Convert it or"),
    "truncated": (truncate, "is broken or cut short"),
    "empty": (lambda path: path.write_bytes(b""), "is empty (0 bytes). Copy it again"),
    "nan": (with_nan, "holds 1 NaN or infinite values. Mend the file"),
}


@pytest.mark.parametrize("broken", BREAKERS)
@pytest.mark.parametrize("command", ["train", "evaluate", "upscale"])
def test_broken_images_alone(place, refused, broken, command):
    breaker, message = BREAKERS[broken]
    for path in (place / "data").rglob("*.tif"):
        breaker(path)
    words = {
        "train": train(),
        "evaluate": evaluate(),
        "upscale": upscale(source="data/p3/1.tif", out="sr.tif"),
    }
    refused(words[command], "data/p", ".tif", message)


def test_broken_images_of_a_training_and_an_evaluation(place, mrisr):
    """Each is named, and the others are used; patterns leave them out in silence."""
    for number, (breaker, _) in enumerate(BREAKERS.values()):
        breaker(place / f"data/p{number}/1.tif")
    code, out, err = mrisr(*train())
    assert code == 1 and "Trained model in run" in out, err
    assert err.splitlines()[-1].startswith("mrisr: error: 4 files could not be read; all others are done.")
    assert all(
        message in err and f"data/p{n}/1.tif" in err for n, (_, message) in enumerate(BREAKERS.values())
    )
    code, out, err = mrisr(*evaluate())  # Of the patients to test on, p3 has a bad one.
    assert code == 1 and "Wrote scores" in out, err
    assert "data/p3/1.tif holds 1 NaN" in err and "1 file could not be scored" in err
    notes = json.loads((place / "scores/metrics.json").read_text())["notes"]
    assert [note for note in notes if note.startswith("Not scored: data/p3/1.tif")]
    code, _, err = mrisr(*evaluate("--exclude", "1.tif", out="again"))
    assert (code, err) == (0, "")
    code, out, err = mrisr(*train("--exclude", "1.tif", out="fewer"))
    assert (code, err) == (0, "") and "--exclude 1.tif" in out
    assert json.loads((place / "fewer/model.json").read_text())["data"]["exclude"] == ["1.tif"]


@pytest.mark.parametrize("broken", BREAKERS)
def test_broken_images_of_a_folder(place, mrisr, broken):
    """Each is named, and all others are upscaled."""
    breaker, message = BREAKERS[broken]
    names = {path.relative_to(place / "data").as_posix() for path in (place / "data").rglob("*.tif")}
    bad = {name for name in names if name.endswith("/1.tif")}
    for name in bad:
        breaker(place / "data" / name)
    code, _, err = mrisr(*upscale())
    assert (code, err.count(message)) == (1, len(bad) + 1), err  # The first again in the last line.
    assert all(f"data/{name}" in err for name in bad)
    assert {path.relative_to(place / "sr").as_posix() for path in (place / "sr").rglob("*.*")} == names - bad


def test_broken_images_of_a_folder_without_a_model(place, mrisr):
    """The choice of a model looks at all of them, and none stops it."""
    for number, (breaker, _) in enumerate(BREAKERS.values()):
        breaker(place / f"data/p{number}/1.tif")
    code, _, err = mrisr("upscale", "data", "sr")
    assert code == 1 and err.splitlines()[-1].startswith("mrisr: error: 4 "), err
    assert len(list((place / "sr").rglob("*.tif"))) == len(list((place / "data").rglob("*.tif"))) - 4


@pytest.mark.parametrize("source", ["data/p0/1.tif", "data"])
def test_nan_for_background_without_a_model(place, mrisr, source):
    with_nan(place / "data/p0/1.tif")
    target = "sr.tif" if source.endswith(".tif") else "sr"
    code, _, err = mrisr("upscale", source, target, "--nan", "zero")
    assert code == 0, err
    result = read_image(place / ("sr.tif" if source.endswith(".tif") else "sr/p0/1.tif"))
    assert result.shape == (64, 64, 1) and not result[6:8, 8:10].any()


def test_what_is_of_a_folder_is_refused_of_a_file(place, refused):
    refused(
        upscale("--skip-existing", source="data/p3/1.tif", out="sr.tif"), "--skip-existing is for a folder"
    )


def test_weights_that_are_not_there(refused):
    refused(evaluate("--metrics", "psnr", "--backbone", "none.h5"), "none.h5 does not exist")


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "data/p0/0.tif", "--model", "grey", "--out", "data/p0/0.tif", "--dpi", 50],
        ["data", "inspect", "data", "--sheet", "data/p1/1.tif"],
        ["readers", "score", "answers.csv", "--key", "study.key.json", "--out", "answers.csv"],
        ["readers", "score", "answers.csv", "--key", "study.key.json", "--out", "study.key.json"],
        ["models", "pack", "grey", "grey", "--licence", "CC0"],
    ],
)
def test_overwrite_replaces_no_source(place, refused, words):
    (place / "answers.csv").write_text("study,reader,trial,answer,seconds\n")
    (place / "study.key.json").write_text("{}")
    refused([*words, "--overwrite"], "is the source itself. Choose another name")


def test_outputs_are_checked_before_tensorflow_is_loaded(place, refused, monkeypatch):
    def load():
        raise AssertionError("loaded")

    monkeypatch.setattr("keras_mrisr.terminal.load_tensorflow", load)
    (place / "mine").mkdir()
    (place / "mine/thesis.txt").write_text("years of work")
    for words in (
        train(out="mine"), evaluate(out="mine"), evaluate("--report", "mine/thesis.txt"), upscale(out="mine"),
        ["segment", "predict", "data", "mine", "--model", "grey"],
        ["segment", "evaluate", "--data", "data", "--model", "grey", "--out", "mine"],
    ):  # fmt: skip
        refused(words, "exists")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (train(data="nothing"), ["nothing does not exist. Give the folder"]),
        (evaluate(data="nothing"), ["nothing does not exist. Check the path"]),
        (evaluate(model="nothing"), ["No model at nothing: give the path of a trained model", "(any-x2"]),
        (upscale(source="nothing"), ["nothing does not exist. Check the path"]),
        (upscale(model="nothing"), ["No model at nothing: give the path of a trained model", "(any-x2"]),
        (["data", "inspect", "nothing"], ["nothing does not exist. Give the folder"]),
        (train("--config", "nothing.yaml"), ["Cannot read the config nothing.yaml: No such file"]),
        (train("--init", "nothing"), ["No model at nothing"]),
        (train(data="data/p0/0.tif"), ["0.tif is a file. Give the folder"]),
        (["train", "--out", "run"], ["No data: give --data ROOT"]),
        (["train", "--data", "data"], ["--out", "see mrisr train --help"]),
        (["upscal"], ["invalid choice: 'upscal'", "see mrisr --help"]),
        (["data", "download", "brats", "x"], ["Unknown data set 'brats'. Known: lgg"]),
    ],
)
def test_missing(refused, words, parts):
    refused(words, *parts)


@pytest.mark.parametrize("command", ["train", "evaluate", "upscale", "inspect", "lgg"])
def test_empty_folder(place, refused, command):
    (place / "empty/below").mkdir(parents=True)
    (place / "empty/notes.txt").write_text("no image")
    words = {
        "train": train(data="empty"),
        "evaluate": evaluate(data="empty"),
        "upscale": upscale(source="empty"),
        "inspect": ["data", "inspect", "empty", "--sheet", "sheet.png"],
        "lgg": train("--kind", "lgg", data="empty"),
    }
    message = {"lgg": "holds no TCGA_", "upscale": "holds no images (.png"}.get(
        command, "holds no images. Expected"
    )
    refused(words[command], f"empty {message}")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (train("--scale", 5), ["scale must be one of 2, 3, 4, 8. Received: 5"]),
        (train("--scale", "two"), ["argument --scale: invalid scale value: 'two'"]),
        (train("--preset", "huge"), ["Unknown preset 'huge'. Known: compact, full, paper"]),
        (train("--generator", "unet"), ["Unknown generator 'unet'. Known: edsr, srresnet"]),
        (
            train("--degradation", "fog"),
            ["Unknown degradation 'fog'. Known: acquisition, bicubic, kspace, paired, paper"],
        ),
        (train("--kind", "dicom"), ["data.kind must be one of auto, lgg, images, volumes."]),
        (train("--set", "training.epoch=1"), ["Unknown config key 'training.epoch'", "'training.epochs'"]),
        (train("--set", "epochs=1"), ["Unknown config key 'epochs'", "'training.epochs'"]),
        (train("--set", "scale.x=3"), ["scale is one value, without keys of its own. Received: 'scale.x'"]),
        (train("--set", "training.loss.x=3"), ["training.loss is one value", "'training.loss.x'"]),
        (train("--set", "epochs"), ["Expected KEY=VALUE", "'epochs'"]),
        (
            train("--adversarial", "wild"),
            ["Unknown adversarial preset 'wild'. Known: paper, projected, stable"],
        ),
        (adversarial("rampe=3"), ["Unknown config key 'adversarial.rampe'", "'adversarial.ramp'"]),
        (adversarial("discriminator.name=gan"), ["Unknown discriminator 'gan'. Known: patchgan"]),
        (adversarial("features.weights=no.h5"), ["No feature weights at no.h5: give an .h5 or .keras file"]),
        (adversarial("features.weights=data/p0/0.tif"), ["data/p0/0.tif cannot be read as weights of vgg19"]),
        (train("--adversarial", "--loss", "psnr"), ["training.loss must be mean_absolute_error"]),
        (train("--set", "generator.depth=3"), ["Unknown option 'depth' of 'edsr'. Allowed: blocks"]),
        (train("--set", "generator.name=[1]"), ["Unknown generator [1]. Known: edsr, srresnet"]),
        (train("--set", "generator.residual_scaling=x"), ["residual_scaling must be a number. Received: "]),
        (train("--set", "degradation.sigma=x"), ["sigma must be 0 or more", "Received: sigma='x'"]),
        (train("--set", "degradation.blur=3"), ["Unknown option 'blur'", "Allowed: sigma"]),
        (train("--patch-size", 15), ["training.patch_size must be a multiple of the scale 2"]),
        (train("--patient-pattern", "p("), ["'p(' is not a regular expression"]),
        (train("--patient-pattern", "x([0-9])"), ["does not match the patient pattern"]),
        (train("--scale", 2, "--init", "x4"), ["training.init: x4 is", "scale 4", "scale 2"]),
        (train("--init", "rgb"), ["training.init: rgb has 3 channels, the data 1"]),
        (evaluate("--part", "all"), ["Unknown part 'all' of the split. Choose one of test, val, all-unseen"]),
        (evaluate("--limit", 0), ["limit must be 1 or more"]),
        (evaluate("--kind", "dicom"), ["Unknown kind of data 'dicom'"]),
        (evaluate("--scale", 4), ["grey is a x2 model, not x4. Choose another model"]),
        (evaluate("--scale", 2, model="x4"), ["x4 is a x4 model, not x2"]),
        (upscale("--scale", 4), ["grey is a model for x2. Received: --scale 4. Leave that out, or"]),
        (evaluate(model="rgb"), ["data/p0/0.tif has 1 channels, but rgb takes 3"]),
        (upscale(model="rgb"), ["data/p0/0.tif: The model takes 3 channel(s)"]),
        (evaluate(model="data"), ["data is no model directory: model.json is missing. Give a folder"]),
        (upscale(model="data/p0/0.tif"), ["is no model directory: model.json is missing. Give a folder"]),
        (upscale(source="data/p0/0.tif", out="sr.gif"), ["sr.gif is no folder and no image name"]),
    ],
)
def test_wrong_option(refused, words, parts):
    refused(words, *parts)


def test_an_unknown_generator_option_is_refused_before_the_slices_are_read(place, refused):
    for path in place.glob("data/p*/*.tif"):
        path.write_bytes(b"")
    refused(train("--set", "generator.depth=3"), "Unknown option 'depth' of 'edsr'")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training: {epoch: 3}", ["config.yaml: Unknown config key 'training.epoch'", "'training.epochs'"]),
        ("scael: 2", ["Unknown config key 'scael'", "'scale'"]),
        ("scale: 5", ["config.yaml: scale must be one of 2, 3, 4, 8"]),
        ("training: {epochs: many}", ["training.epochs must be of type int. Received: 'many'"]),
        ("training: 3", ["config.yaml"]),
        ("- 1", ["config.yaml must hold keys and values"]),
        ("a: [", ["config.yaml is not valid YAML"]),
        ("", ["config.yaml must hold keys and values"]),
    ],
)
def test_bad_config(place, refused, text, parts):
    (place / "config.yaml").write_text(text)
    refused(["train", "--data", "data", "--out", "run", "--config", "config.yaml"], *parts)


def test_rgb_among_grey(place, refused, smooth_image, mrisr):
    for patient in range(6):
        write_image(place / f"data/p{patient}/1.tif", smooth_image(32, 32, 3))
    code, _, err = mrisr(*train())
    assert (code, err.count("1.tif has 3 channel(s), and most have 1.")) == (0, 6)
    code, _, err = mrisr(*evaluate())
    assert code == 1 and "data/p3/1.tif has 3 channels, but grey takes 1. Convert the images" in err
    assert "mrisr: error: 3 files could not be scored; all others are done." in err
    code, _, err = mrisr(*upscale())  # Of a folder, what fits is upscaled.
    assert code == 1 and "mrisr: error: 6 files could not be upscaled; all others are done." in err
    assert "data/p0/1.tif: The model takes 1 channel(s)" in err
    assert len(list((place / "sr").rglob("*.tif"))) == 6


def test_small_slices(place, refused, smooth_image, mrisr):
    for patient in range(6):
        write_image(place / f"data/p{patient}/1.tif", smooth_image(8, 8))
    refused(train("--degradation", "paper"), "1.tif: A slice of 8x8 is too small", "at least 14x14")
    refused(train("--patch-size", 0), "1.tif")
    refused(train(), "1.tif is 8x8, smaller than the patch of 16: choose a smaller patch")
    code, _, err = mrisr(*evaluate())
    assert code == 1 and "data/p3/1.tif is too small for SSIM (8x8 pixels)" in err
    for patient in range(6):
        write_image(place / f"data/p{patient}/0.tif", np.ones((1, 1), "uint8"))
    refused(train(), "/0.tif: A slice of 1x1 is too small", "Leave such slices out")


def test_mixed_sizes(place, refused, mrisr, smooth_image):
    for patient in range(6):
        write_image(place / f"data/p{patient}/1.tif", smooth_image(32, 41))
    refused(train("--patch-size", 0), "Slices of mixed sizes", "32x32", "32x40", "Set a patch size")
    # Anything else takes them.
    assert mrisr(*train())[::2] == (0, "")
    assert mrisr(*evaluate())[::2] == (0, "")
    assert mrisr(*upscale())[::2] == (0, "")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_all_black(place, mrisr, dtype):
    black = np.zeros((32, 32), dtype)
    for patient in range(6):
        for index in range(2):
            write_image(place / f"data/p{patient}/{index}.tif", black)
    assert mrisr(*upscale())[::2] == (0, "")
    sr = read_image(place / "sr/p0/0.tif")
    assert (sr.shape, sr.dtype, sr.max()) == ((64, 64, 1), black.dtype, 0)
    code, out, err = mrisr(*evaluate())
    assert (code, err) == (0, "")
    assert re.search("6 images per row of PSNR.* have no finite value", out)
    summary = json.loads((place / "scores/metrics.json").read_text())["summary"]
    assert {row["image_mean"] for row in summary if row["metric"] == "psnr"} == {None}
    if dtype == "uint8":
        code, _, err = mrisr(*train())
        assert (code, err.count("\n")) == (2, 1)
        assert "The validation slices are all empty" in err and "data.split_seed" in err
        assert not (place / "run").exists()
        assert mrisr("data", "inspect", "data", "--sheet", "sheet.png")[::2] == (0, "")


@pytest.mark.parametrize("loss", ["mean_absolute_error", "psnr"])
def test_some_black(place, mrisr, loss):
    for patient in range(6):
        write_image(place / f"data/p{patient}/1.tif", np.zeros((32, 32), "uint8"))
    assert mrisr(*train("--loss", loss))[::2] == (0, "")
    info = json.loads((place / "run/model.json").read_text())
    assert np.isfinite(info["metrics"]["val_psnr"])


@pytest.mark.parametrize("command", ["train", "evaluate", "upscale", "demo", "download"])
def test_output_that_exists(place, refused, command):
    (place / "old").mkdir()
    (place / "old/thesis.txt").write_text("years of work")
    words = {
        "train": train(out="old"),
        "evaluate": evaluate(out="old"),
        "upscale": upscale(out="old"),
        "demo": ["demo", "--out", "old"],
        "download": ["data", "download", "lgg", "old"],
    }[command]
    refused(words, "old exists and is not empty. Choose another folder", "--overwrite")
    if command != "upscale":  # Which replaces its own results and nothing else.
        # What is not the command's own is not replaced with it either.
        refused([*words, "--overwrite"], "old", "Choose another folder")
    refused([word if word != "old" else "old/thesis.txt" for word in words], "thesis.txt is a file")


def test_output_image_that_exists(refused):
    words = upscale(source="data/p0/0.tif", out="data/p1/0.tif")
    refused(words, "data/p1/0.tif exists. Choose another name or pass --overwrite")


@pytest.mark.parametrize("command", ["train", "evaluate", "upscale", "upscale file", "inspect", "demo"])
def test_output_that_cannot_be_written(place, refused, command):
    """A path below a file, because tests may run as root, who writes to read-only folders."""
    (place / "file").write_text("x")
    words = {
        "train": train(out="file/run"),
        "evaluate": evaluate(out="file/run"),
        "upscale": upscale(out="file/run"),
        "upscale file": upscale(source="data/p0/0.tif", out="file/run.tif"),
        "inspect": ["data", "inspect", "data", "--sheet", "file/run.png"],
        "demo": ["demo", "--out", "file/run"],
    }
    refused(words[command], "Cannot write file/run", "Choose")


def test_contact_sheet_that_exists_or_cannot_be_an_image(place, refused, mrisr):
    (place / "old.png").write_text("years of work")
    words = ["data", "inspect", "data", "--sheet"]
    refused([*words, "old.png"], "old.png exists. Choose another name or pass --overwrite")
    assert mrisr(*words, "old.png", "--overwrite")[::2] == (0, "")
    assert read_image(place / "old.png").shape[-1] == 3
    # Said before the data are looked at.
    refused(["data", "inspect", "none", "--sheet", "sheet.gif"], "sheet.gif does not end in a known image")
    refused(["data", "inspect", "none", "--sheet", "old.png/a.png"], "Cannot write old.png/a.png")


def test_new_parents_of_an_output_go_too(refused):
    refused(evaluate(model="rgb", out="new/deep/scores"), "takes 3")
    refused(upscale(model="rgb", out="new/deep/sr"), "takes 3")
    refused(train("--init", "rgb", out="new/deep/run"), "has 3 channels")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", b"{", "grey/model.json is no model description"),
        ("model.json", b"\xff\xfe", "grey/model.json is no model description"),
        ("model.json", b"[]", "grey/model.json is no model description"),
        ("model.json", b'{"scale": 2}', "channels is missing"),
        ("model.json", None, "model.json is missing. Give a folder that mrisr train wrote"),
        ("generator.keras", b"PK\x03\x04 half", "grey/generator.keras cannot be loaded"),
        ("generator.keras", b"", "grey/generator.keras cannot be loaded"),
        ("generator.keras", None, "grey holds no generator.keras"),
    ],
)
def test_broken_model(place, refused, name, content, message):
    (place / "grey" / name).unlink()
    if content is not None:
        (place / "grey" / name).write_bytes(content)
    refused(upscale(), message)
    refused(evaluate(), message)


def test_model_json_of_another_model(place, refused):
    for key, value, message in (("scale", 4, "says scale 4"), ("channels", 3, "says 3")):
        info = json.loads((place / "x4/model.json").read_text()) | {"scale": 2, key: value}
        info["degradation"]["scale"] = info["scale"]
        (place / "grey/model.json").write_text(json.dumps(info))
        refused(upscale(), "grey/generator.keras", message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("degradation", {"name": "bicubic", "scale": 3}, "degradation.scale must be 2 as the model's, not 3"),
        ("degradation", {"name": "bicubic"}, "degradation.scale must be 2 as the model's, not None"),
        ("degradation", {"scale": 2}, "degradation.name is missing"),
        ("data", {"split": 3}, "data.split must hold lists of patients, not 3"),
    ],
)
def test_model_json_that_contradicts_itself(place, refused, key, value, message):
    info = json.loads((place / "grey/model.json").read_text())
    (place / "grey/model.json").write_text(json.dumps(info | {key: value}))
    refused(evaluate(), f"grey/model.json is no model description: {message}. Copy the model again")


def test_too_few_patients(place, refused):
    for patient in range(2, 6):
        shutil.rmtree(place / f"data/p{patient}")
    refused(train(), "2 patient(s) are too few to split into 3 parts", "give more patients")


def test_no_patient_left_to_evaluate(place, refused):
    for patient in range(2, 6):
        shutil.rmtree(place / f"data/p{patient}")
    refused(evaluate(), "The data holds no patient of the part 'test'", "Choose another part")


def test_broken_images_do_not_stop_inspect(place, mrisr):
    for name, (breaker, _) in zip(("p0", "p1", "p2", "p3"), BREAKERS.values(), strict=True):
        breaker(place / f"data/{name}/1.tif")
    code, out, err = mrisr("data", "inspect", "data", "--sheet", "sheet.png")
    assert code == 1 and "4 files could not be read" in err
    assert "unreadable: 4" in out
    assert (place / "sheet.png").is_file()


def test_no_nilearn(refused, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nilearn.datasets", None)
    refused(["demo", "--out", "demo"], "The demo needs nilearn: pip install nilearn")
    refused(["demo", "--epochs", 0, "--out", "demo"], "training.epochs must be 1 or more. Received: 0")
