"""`mrisr bids` as a BIDS App: from a raw data set to a derivative one that the validator accepts."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_mrisr.bids import app, find_scans
from keras_mrisr.bids.pages import Row
from keras_mrisr.errors import DataError, IncompleteError
from keras_mrisr.volumes import read_volume

FIRST = "sub-01/ses-a/anat/sub-01_ses-a_acq-mprage_run-01_res-hi_desc-sr_T1w"
SECOND = "sub-01/ses-b/anat/sub-01_ses-b_res-hi_desc-sr_T1w"
THICK = "sub-2/anat/sub-2_res-hi_desc-sr_FLAIR"


def sidecar(out, name):
    return json.loads((out / f"{name}.json").read_text())


def problems(out):
    """The errors that the validator of BIDS finds in a data set."""
    places = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    validator = shutil.which("bids-validator-deno", path=places)
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run(
        [validator, "--json", "--recursive", out], capture_output=True, text=True, timeout=120
    )
    found = json.loads(done.stdout)
    parts = [found, *found.get("derivativesSummary", {}).values()]
    issues = [issue for part in parts for issue in part["issues"]["issues"]]
    return [issue for issue in issues if issue["severity"] == "error"]


def test_a_data_set(dataset, bundled, mrisr, tmp_path, listing):
    code, out, err = mrisr("bids", "raw", "sr", "participant", "--skip-bids-validation", "--consistency")
    assert (code, err) == (0, "")
    assert "3 anatomical scans of 2 participants" in out
    assert "Model: grey" in out and "Model: thick" in out
    assert "Wrote 3 scans to sr; summary: sr/docs/index.html" in out
    sr = tmp_path / "sr"
    assert sorted(path.name for path in sr.iterdir()) == [
        "README.md", "dataset_description.json", "docs", "sub-01", "sub-2",
    ]  # fmt: skip
    assert sorted(path.name for path in (sr / "docs").iterdir()) == [
        "figures", "index.html", "sub-01.html", "sub-2.html",
    ]  # fmt: skip
    described = json.loads((sr / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "keras-mrisr"
    assert described["DatasetLinks"]["raw"] == described["SourceDatasets"][0]["URL"]
    raw = read_volume(dataset / f"{FIRST.replace('_res-hi_desc-sr', '')}.nii.gz")
    first = read_volume(sr / f"{FIRST}.nii.gz")
    assert first.shape == (18, 16, 7)
    np.testing.assert_allclose(first.spacing * first.shape, raw.spacing * raw.shape, rtol=1e-6)
    said = sidecar(sr, FIRST)
    assert said["Sources"] == ["bids:raw:sub-01/ses-a/anat/sub-01_ses-a_acq-mprage_run-01_T1w.nii.gz"]
    assert said["Resolution"] == "Voxels of 0.5 x 0.5 x 1 mm, made from 1 x 1 x 1 mm"
    assert (said["Manufacturer"], said["EchoTime"], said["SkullStripped"]) == ("ACME", 0.003, False)
    made = said["SuperResolution"]
    assert made["Model"] == "grey" and made["Protocol"]["scale"] == 2 and made["RelativeResidual"] < 0.5
    said = sidecar(sr, THICK)
    assert said["SliceThickness"] == 0.75 and "SliceTiming" not in said
    assert said["SuperResolution"]["Protocol"]["name"] == "thick-slices"
    assert read_volume(sr / f"{THICK}.nii.gz").shape == (12, 10, 24)
    page = (sr / "docs/sub-01.html").read_text()
    assert page.count("<img src=") == 2 and page.count(made["Verdict"][:20]) == 2
    assert "3 scans of 2 participants" in (sr / "docs/index.html").read_text()
    assert problems(sr) == []

    before = {path: path.stat().st_mtime_ns for path in sr.rglob("*.nii.gz")}
    (sr / f"{SECOND}.json").unlink()  # As of a run that was killed between the two.
    code, out, err = mrisr("bids", "raw", "sr", "participant", "--consistency")
    assert (code, err) == (0, "")
    assert "2 of 3 results are there already" in out and "Wrote 1 scans" in out
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [sr / f"{SECOND}.nii.gz"] and (sr / f"{SECOND}.json").is_file()


def test_a_bad_scan_stops_no_other_and_the_next_call_makes_it(dataset, bundled, mrisr, tmp_path):
    scan = dataset / "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz"
    good = scan.read_bytes()
    scan.write_bytes(good[: len(good) // 2])
    place = "raw/derivatives/keras-mrisr"
    code, _, err = mrisr("bids", "raw", place, "participant", "--suffix", "T1w")
    assert code == 1
    assert err.splitlines()[-1].startswith(
        "mrisr: error: 1 of 2 scans could not be upscaled; all others are done"
    )
    summary = (tmp_path / place / "docs/index.html").read_text()
    assert "1 failed" in summary and "1 done" in summary and scan.name in summary
    for other in ("derivatives/other", "sub-2/func"):  # Neither is whole.
        shutil.rmtree(dataset / other)
    scan.write_bytes(good)
    assert problems(dataset) == []  # Of the raw data set and of the derivative in it.
    links = json.loads((tmp_path / place / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"raw": "../../"}
    code, out, err = mrisr("bids", "raw", place, "participant", "--participant-label", "01")
    assert (code, err) == (0, "") and "Wrote 1 scans" in out
    code, _, _ = mrisr("bids", "raw", place, "participant", "--participant-label", "2")
    summary = (tmp_path / place / "docs/index.html").read_text()  # Also of those that were made before.
    assert code == 0 and "3 scans of 2 participants" in summary and "3 done" in summary


@pytest.mark.parametrize("content", [b'{"SliceThickness": 5', '{"Name": "Jürgen"}'.encode("latin-1")])
def test_a_broken_sidecar_stops_no_other(dataset, bundled, mrisr, tmp_path, content):
    (dataset / "sub-01/ses-b/anat/sub-01_ses-b_T1w.json").write_bytes(content)
    code, _, err = mrisr("bids", "raw", "sr", "participant", "--suffix", "T1w")
    assert code == 1 and "1 of 2 scans could not be upscaled; all others are done" in err, err
    assert "sub-01_ses-b_T1w.json cannot be read as JSON" in err
    assert (tmp_path / "sr" / f"{FIRST}.nii.gz").exists()
    assert not (tmp_path / "sr" / f"{SECOND}.nii.gz").exists()


def test_a_full_disk_of_a_worker_ends_the_run(dataset, monkeypatch):
    """What a worker sends is pickled, and an error loses its cause on the way."""
    scan = find_scans(dataset)[0]
    error = DataError("Cannot write it: No space left on device.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(app, "upscale_each", lambda jobs, models: [(jobs[0], error)])
    sent = pickle.loads(pickle.dumps(app._upscale((scan, None), None)))
    row = Row(scan.place, scan.place)
    with pytest.raises(IncompleteError, match=r"No space left on device\. Make room and call the same again"):
        app._finished(scan, dataset, row, sent, {})


def test_slice_thickness_of_a_sidecar_above(dataset, bundled, mrisr, tmp_path):
    """What stands above a scan counts as what stands beside it."""
    beside = dataset / "sub-2/anat/sub-2_FLAIR.json"
    words = ["participant", "--participant-label", "2", "--consistency"]
    assert mrisr("bids", "raw", "beside", *words)[0] == 0
    beside.rename(dataset / "FLAIR.json")
    assert mrisr("bids", "raw", "above", *words)[0] == 0
    (dataset / "FLAIR.json").unlink()
    assert mrisr("bids", "raw", "without", *words)[0] == 0
    arrays = [read_volume(tmp_path / f"{out}/{THICK}.nii.gz").array for out in ("beside", "above", "without")]
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert (arrays[0] != arrays[2]).any()


def test_results_of_other_options_are_not_kept(dataset, bundled, mrisr, tmp_path, listing, monkeypatch):
    words = ["bids", "raw", "sr", "participant", "--suffix", "T1w", "--session-label", "b"]
    assert mrisr(*words, "--model", "bundled/grey")[0] == 0
    options = sidecar(tmp_path / "sr", SECOND)["SuperResolution"]["Options"]
    assert list(options) == ["model"] and options["model"].startswith("grey (")
    before = listing(tmp_path)
    assert mrisr(*words, "--model", "bundled/grey")[0] == 0
    for more, part in (
        (
            [],
            f"{SECOND}.nii.gz was made with --model {options['model']}, not {options['model']} and thick (",
        ),
        (["--model", "bundled/grey", "--ensemble"], "was made with --ensemble by default, not True."),
    ):
        code, _, err = mrisr(*words, *more)
        assert code == 2 and part in err and err.count("\n") == 1
    weights = tmp_path / "bundled/grey/extra.onnx"
    weights.write_bytes(b"0")  # Another model under the same name.
    code, _, err = mrisr(*words, "--model", "bundled/grey")
    assert code == 2 and f"{options['model']}, not grey (" in err
    weights.unlink()
    assert listing(tmp_path) == before
    monkeypatch.setattr("keras_mrisr.bids.derivative.__version__", "0.0.1")
    code, _, err = mrisr(*words, "--model", "bundled/grey")
    assert code == 2 and "was made with keras-mrisr " in err and ", not 0.0.1." in err
    assert mrisr(*words, "--ensemble", "--overwrite")[0] == 0
    said = sidecar(tmp_path / "sr", SECOND)["SuperResolution"]
    assert said["Options"].pop("model").startswith("grey (")
    assert (said["Options"], said["Version"]) == ({"ensemble": True}, "0.0.1")


def test_spacings_lie_beside_each_other(dataset, bundled, mrisr, tmp_path):
    words = ["bids", "raw", "sr", "participant", "--participant-label", "2"]
    for more in ([], ["--spacing", "1"], ["--spacing", "0.75x0.75x1.5"]):
        assert mrisr(*words, *more)[0] == 0
    names = sorted(path.name for path in (tmp_path / "sr/sub-2/anat").glob("*.json"))
    assert names == [f"sub-2_res-{label}_desc-sr_FLAIR.json" for label in ("0p75x0p75x1p5mm", "1mm", "hi")]
    said = sidecar(tmp_path / "sr", "sub-2/anat/sub-2_res-0p75x0p75x1p5mm_desc-sr_FLAIR")
    assert said["Resolution"] == "Voxels of 0.75 x 0.75 x 1.5 mm, made from 0.75 x 0.75 x 3 mm"
    assert problems(tmp_path / "sr") == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["raw", "raw", "participant"], "raw is or holds the raw data set"),
        (
            ["raw", "raw/sr", "participant"],
            "raw/sr lies among the raw data. Choose raw/derivatives/keras-mrisr",
        ),
        (["raw", "mine", "participant"], "mine is not empty, and no derivative of keras-mrisr"),
        (["raw", "mine/thesis.txt", "participant"], "mine/thesis.txt is a file"),
        (["raw/sub-2", "sr", "participant"], "raw/sub-2 is no data set in BIDS"),
        (
            ["raw", "sr", "participant", "--participant-label", "7"],
            "raw has no participant 7. There are: 01, 2",
        ),
        (["raw", "sr", "group"], "invalid choice: 'group'"),
        (["raw", "sr", "participant", "--scale", "1"], "--scale must be 2 or more"),
        (["raw", "sr", "participant", "--model", "nothing"], "nothing"),
    ],
)
def test_what_is_refused(dataset, bundled, mrisr, tmp_path, listing, words, part):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    before = listing(tmp_path)
    code, _, err = mrisr("bids", *words)
    assert code == 2 and part in err and len(err.splitlines()) == 1
    assert listing(tmp_path) == before
