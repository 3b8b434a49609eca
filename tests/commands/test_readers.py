"""`mrisr readers`, from the data to the scores."""

import csv
import json


def test_make_and_score(mrisr, models, image_root, tmp_path):
    page = tmp_path / "study.html"
    words = [
        "--model",
        f"A={models['grey']}",
        "--data",
        image_root,
        "--cases",
        6,
        "--kind",
        "real",
        "--seed",
        5,
    ]
    code, out, err = mrisr("readers", "make", *words, "--out", page)
    assert (code, err) == (0, "")
    assert "10 questions, 4 of them catch trials" in out and "Keep it from the readers" in out
    key = json.loads((tmp_path / "study.key.json").read_text())
    for reader in ("R", "S"):
        with (tmp_path / f"{reader}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("study", "reader", "trial", "answer", "seconds"))
            for trial in key["trials"]:
                side = ("left", "right")[trial["methods"].index("original")]
                writer.writerow((key["name"], reader, trial["code"], side, 2.5))
    code, out, err = mrisr("readers", "score", *tmp_path.glob("*.csv"), "--out", tmp_path / "scores.json")
    assert (code, err) == (0, "")
    assert "original" in out and "4 of 4" in out and "2.5 s" in out
    values = json.loads((tmp_path / "scores.json").read_text())
    assert {one["method"]: one["mean"] for one in values["methods"]} == {"A": 0, "original": 1}
    code, _, err = mrisr("readers", "make", *words, "--out", page)
    assert code == 2 and "exists. Choose another name or pass --overwrite" in err


def test_bad_input(mrisr, models, image_root, tmp_path):
    words = ["readers", "make", "--model", models["grey"], "--data", image_root, "--out"]
    code, _, err = mrisr(*words, tmp_path / "study.html")
    assert code == 2 and "compares two or more methods" in err and "--methods" in err
    code, _, err = mrisr(*words, tmp_path / "study.pdf")
    assert code == 2 and "does not end in .html" in err
    (tmp_path / "a.csv").write_text("no\nanswer\n")
    code, _, err = mrisr("readers", "score", tmp_path / "a.csv")
    assert code == 2 and "holds no answers" in err and err.count("\n") == 1
