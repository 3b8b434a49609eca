"""`mrisr tune` from words to a trained model, and what it says of bad input."""

import json
import socket
import sys

import pytest

from keras_mrisr.config import read_config
from keras_mrisr.models.storage import load_info
from keras_mrisr.tuning import read_results

pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)


def test_from_study_to_trained_model(mrisr, study_file, image_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = study_file()
    words = ["tune", "--data", image_root, "--study", study, "--tuner", "random", "--max-trials", 2]
    words += [
        "--fix",
        "training.epochs=2",
        "generator.name=edsr",
        "--budget",
        "parameters=3k",
        "gflops=1",
        "--seed",
        4,
    ]
    code, out, err = mrisr(*words)
    assert (code, err) == (0, "")
    assert (
        "2 of 2 trials done, best score" in out and "mrisr tune results studies/tiny --best best.yaml" in out
    )
    results = read_results("studies/tiny")
    assert [trial.status for trial in results.trials] == ["finished", "finished"]
    assert all(trial.values["generator.blocks"] <= 2 for trial in results.trials)

    code, out, err = mrisr("tune", "results", "studies/tiny", "--best", "best.yaml")
    assert (code, err) == (0, "")
    assert "Trials of studies/tiny, by score" in out and "learning_rate" in out
    assert "mrisr train --config best.yaml --out runs/best" in out
    names = {path.name for path in (tmp_path / "studies/tiny/results").iterdir()}
    assert names == {"trials.csv", "parallel.png", "pareto.png"}

    code, out, err = mrisr("train", "--config", "best.yaml", "--out", "runs/best")
    assert (code, err) == (0, "")
    best = results.best()
    assert read_config("runs/best/config.yaml") == read_config(best.folder / "run/config.yaml")
    assert load_info("runs/best").metrics["val_psnr"] == pytest.approx(best.score, abs=1e-3)


def test_adversarial_study(mrisr, study_file, models, tmp_path, eager):
    space = {"adversarial.adversarial_weight": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True}}
    config = {
        "adversarial.features": {"network": "vgg16", "layers": "block1_conv1", "weights": None},
        "adversarial.discriminator": {"name": "patchgan", "filters": 2, "normalization": "spectral"},
    }
    judge = {"layers": ["block1_conv1", "block2_conv1"]}
    study = study_file(space, "gan", stage="adversarial", config=config, judge=judge)
    words = ["tune", "--study", study, "--init", models["grey"], "--tuner", "random", "--max-trials", 1]
    code, out, err = mrisr(*words, "--out", tmp_path / "out", "--fix", "adversarial.perception=1.5")
    assert code == 0 and "random weights" in err
    [trial] = read_results(tmp_path / "out").trials
    assert trial.score == pytest.approx(trial.facts["psnr"] + 1.5 * trial.facts["perceptual"])
    config = read_config(trial.folder / "run/config.yaml")
    assert config.adversarial.on and config.training.init == str(models["grey"])
    code, out, _ = mrisr("tune", "results", tmp_path / "out")
    assert code == 0 and "features" in out


@pytest.fixture
def refused(mrisr, tmp_path, monkeypatch, listing):
    """A function (words, parts of the message): exit code 2, one line, and nothing written."""
    monkeypatch.chdir(tmp_path)

    def check(words, *parts):
        before = listing(tmp_path)
        code, _, err = mrisr(*words)
        assert code == 2 and err.count("\n") == 1, err
        for part in parts:
            assert part in err
        assert listing(tmp_path) == before

    return check


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["No study: give --study srresnet"]),
        (["--study", "srresnet"], ["No data: give --data ROOT"]),
        (["--study", "srresnet", "--data", "nothing"], ["nothing does not exist. Give the folder"]),
        (["--study", "resnet"], ["Unknown study 'resnet'. Known: srgan, srresnet"]),
        (["--study", "no.yaml"], ["Cannot read the study no.yaml: No such file"]),
        (["--study", "srresnet", "--fix", "epochs=3"], ["Unknown config key 'epochs'", "'training.epochs'"]),
        (["--study", "srresnet", "--fix", "epochs"], ["Expected KEY=VALUE"]),
        (["--study", "srresnet", "--budget", "size=3"], ["Unknown budget 'size=3'. Known: parameters=N"]),
        (
            ["--study", "srresnet", "--objective", "fame"],
            ["objective must be one of psnr, perceptual, weighted"],
        ),
        (["--study", "srresnet", "--max-trials", "many"], ["argument --max-trials: invalid int value"]),
        (["--study", "srresnet", "--chief", "8000"], ["Expected HOST:PORT"]),
        (["results", "nothing"], ["nothing does not exist. Check the path"]),
        (["results"], ["the following arguments are required: DIR"]),
    ],
)
def test_bad_words(refused, words, parts):
    refused(["tune", *words], *parts)


def test_bad_study_files(refused, tmp_path, image_root):
    for text, part in (
        ("space: [", "is not valid YAML"),
        ("space: {training.learning_rate: {type: float, min: 0.1, max: 0.01}}", "min must be less than max"),
        ("space: {training.rate: {type: boolean}}", "Unknown config key 'training.rate'"),
        ("space: {generator.width: {type: int, min: 1, max: 3}}", "'edsr' has no option 'width'"),
    ):
        (tmp_path / "my.yaml").write_text(text)
        refused(["tune", "--data", image_root, "--study", "my.yaml"], part)
    refused(
        ["tune", "--data", image_root, "--study", "srgan"], "starts from a trained generator: give one with"
    )
    refused(["tune", "--data", image_root, "--study", "srgan", "--init", "nowhere"], "No model at nowhere")


def test_bad_searches(refused, made_search, study_file, image_root, mrisr):
    made_search([{"status": "RUNNING"}], "begun")
    refused(["tune", "results", "begun"], "No trial of begun has finished yet")
    made_search([{"score": 0.0, "ill": "the discriminator has won."}], "sick")
    refused(["tune", "results", "sick"], "All 1 trials of sick that ended fell ill")
    folder = made_search([{"score": 31.0}], "good")
    (folder / "search.json").write_text(json.dumps({"tuner": "random", "seed": 0, "budget": {}}))
    words = ["tune", "--data", image_root, "--study", study_file(), "--out", "good", "--tuner", "random"]
    refused([*words, "--seed", 1], "good holds another search (seed: 0 there, 1 now)")
    refused([*words, "--fix", "generator.name=edsr"], "good holds another search (", "generator.name")
    (folder / "best.yaml").write_text("mine")
    refused(
        ["tune", "results", "good", "--best", folder / "best.yaml"], "best.yaml exists. Choose another name"
    )


def test_results_into_a_folder_of_ones_own(refused, made_search, mrisr, tmp_path):
    made_search([{"score": 31.0}, {"score": 30.0}], "good")
    words = ["tune", "results", "good", "--out", "mine"]
    (tmp_path / "mine").mkdir()
    assert mrisr(*words)[0] == 0
    (tmp_path / "mine/trials.csv").write_text("of another study")
    refused(words, "mine exists and is not empty. Choose another folder or pass --overwrite")
    assert mrisr(*words, "--overwrite")[0] == 0
    assert (tmp_path / "mine/trials.csv").read_text().startswith("trial,status")
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    refused([*words, "--overwrite"], "mine holds thesis.txt, which does not come from this command")


def test_no_keras_tuner(refused, study_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    words = ["tune", "--study", study_file(), "--out", "out"]
    refused(words, "The search needs KerasTuner: pip install keras-tuner")


def test_no_chief_and_no_port(refused, study_file):
    words = ["tune", "--study", study_file(), "--out", "out"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        refused([*words, "--chief", address], f"No chief can listen at {address}: ")
    refused([*words, "--worker", address, "--wait", 0.2], f"No chief answers at {address} after 0.2 s")
    refused([*words, "--worker", address, "--wait", -1], "--wait must be more than 0 seconds. Received: -1")
    refused([*words, "--worker", address, "--chief", address], "A process is chief or worker")
    for option in (["--lease", 5], ["--wait", 5], ["--name", "w1"]):
        message = "is of a search on several machines: give --chief or --worker, too"
        refused([*words, *option], f"{option[0]} {message}")
