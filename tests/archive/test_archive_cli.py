"""`mrisr upscale --studies`: every MR series of an archive, once."""

import csv
import gzip
import json
import os
import shutil

import numpy as np
import pydicom
import pytest

from keras_mrisr import pretrained
from keras_mrisr.archive import Ledger, ledger as ledger_module, upscale_archive
from keras_mrisr.archive.ledger import digest_of
from keras_mrisr.errors import DataError
from keras_mrisr.inference import SuperResolver
from keras_mrisr.volumes import read_volume

AFFINE = np.diag([1.0, 1, 1, 1])


def head(shape, seed):
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    return (900 * np.exp(-3 * np.square(places).sum(axis=0)) + 60 * places[seed] + 60).astype("int16")


@pytest.fixture
def archive(tmp_path, dicom_series, models, monkeypatch):
    """`pacs`: two series in one folder, one in another, a CT, one of two echoes, and a text file."""
    bundled = tmp_path / "bundled"
    shutil.copytree(models["grey"], bundled / "grey")
    info = json.loads((bundled / "grey/model.json").read_text())
    (bundled / "grey/model.json").write_text(json.dumps({**info, "data": {"separate_channels": True}}))
    monkeypatch.setattr(pretrained, "FOLDER", bundled)
    root = tmp_path / "pacs"
    shape = (9, 8, 3)
    dicom_series(root / "a/deep", head(shape, 0), AFFINE, uid="1.2.1", SeriesNumber=1, StudyInstanceUID="1.9")
    for path in dicom_series(
        tmp_path / "other", head(shape, 1), AFFINE, uid="1.2.2", SeriesNumber=2, StudyInstanceUID="1.9"
    ):
        shutil.move(path, root / "a/deep" / f"{path.name}.dcm")
    dicom_series(root / "b", head(shape, 2), AFFINE, uid="1.2.3", SeriesNumber=3, StudyInstanceUID="1.8")
    dicom_series(root / "ct", head(shape, 0), AFFINE, uid="1.2.4", Modality="CT", StudyInstanceUID="1.8")
    for echo in (1, 2):
        for path in dicom_series(
            root / f"echoes/{echo}", head(shape, echo), AFFINE, uid="1.2.5", EchoTime=echo, EchoNumbers=echo,
            StudyInstanceUID="1.7",
        ):  # fmt: skip
            path.rename(path.with_name(f"{path.name}.{echo}"))
    (root / "notes.txt").write_text("no DICOM")
    monkeypatch.chdir(tmp_path)
    return root


def report(out):
    with open(out / "report.csv", newline="") as file:
        return {row["series"] or row["place"]: row for row in csv.DictReader(file)}


def times(out):
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("*.dcm")}


def test_an_archive(archive, mrisr, tmp_path):
    code, out, err = mrisr("upscale", "pacs", "sr", "--studies")
    assert (code, err) == (0, "")
    assert "3 series made, 0 were done before, 2 left out, 0 failed: sr/report.csv" in out
    rows = report(tmp_path / "sr")
    assert [rows[f"1.2.{n}"]["state"] for n in (1, 2, 3, 4, 5)] == ["done"] * 3 + ["left out"] * 2
    assert "its modality is CT, not MR" in rows["1.2.4"]["reason"] and "4-D" in rows["1.2.5"]["reason"]
    assert [rows[f"1.2.{n}"]["target"] for n in (1, 2, 3)] == ["a/deep/1.2.1", "a/deep/1.2.2", "b"]
    alone = tmp_path / "alone"
    assert mrisr("upscale", "pacs/b", "alone", "--in-plane")[0] == 0
    np.testing.assert_array_equal(read_volume(tmp_path / "sr/b").array, read_volume(alone).array)
    assert read_volume(tmp_path / "sr/a/deep/1.2.2").shape == (18, 16, 3)
    derived = pydicom.dcmread(next((tmp_path / "sr/b").iterdir()))
    assert derived.StudyInstanceUID == "1.8" and derived.SeriesInstanceUID != "1.2.3"

    before = times(tmp_path / "sr")
    for path in (archive / "b").iterdir():
        path.touch()  # Another time, the same content.
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 0 and "0 series made, 3 were done before, 2 left out" in out
    assert times(tmp_path / "sr") == before
    changed = next((archive / "b").iterdir())
    dataset = pydicom.dcmread(changed)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(changed)
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 0 and "1 series made, 2 were done before" in out
    after = times(tmp_path / "sr")
    assert {name.split("/")[0] for name in set(after) - set(before)} <= {"b"}
    assert all(after[name] == time for name, time in before.items() if name.startswith("a/"))


def test_by_identifiers(archive, mrisr, tmp_path):
    assert mrisr("upscale", "pacs", "sr", "--studies", "--layout", "uid")[0] == 0
    assert {row["target"] for row in report(tmp_path / "sr").values()} == {
        "", "1.9/1.2.1", "1.9/1.2.2", "1.8/1.2.3",
    }  # fmt: skip
    code, _, err = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 2 and 'made with --layout "uid", not "place". Choose another OUT' in err


def test_a_broken_series_stops_no_other_and_is_tried_again(archive, mrisr, tmp_path):
    first = sorted((archive / "b").iterdir())[1]
    whole = first.read_bytes()
    first.write_bytes(whole[:-20])
    (archive / "c").mkdir()
    (archive / "c/empty.dcm").write_bytes(bytes(128) + b"DICM")
    code, out, err = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 1 and "2 series made, 0 were done before, 2 left out, 2 failed" in out
    assert err.splitlines()[-1].startswith("mrisr: error: 2 could not be upscaled; sr/report.csv says why")
    assert (
        report(tmp_path / "sr")["1.2.3"]["state"]
        == report(tmp_path / "sr")["c/empty.dcm"]["state"]
        == "failed"
    )
    first.write_bytes(whole)
    (archive / "c/empty.dcm").unlink()
    code, out, err = mrisr("upscale", "pacs", "sr", "--studies")
    assert (code, err) == (0, "") and "1 series made, 2 were done before" in out


@pytest.mark.parametrize("content", [b"", gzip.compress(bytes(400), mtime=0)[:7]], ids=["empty", "cut"])
def test_a_slice_that_holds_nothing_is_missed(archive, mrisr, tmp_path, content):
    """Not left out in silence, as a file beside the series would be."""
    last = sorted((archive / "b").iterdir())[-1]
    last.write_bytes(content)
    (archive / "a/empty.txt").touch()  # Which is no slice by its name.
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 1 and "2 series made, 0 were done before, 2 left out, 1 failed" in out
    row = report(tmp_path / "sr")["1.2.3"]
    assert row["state"] == "failed" and f"{last.name} is empty or cut off" in row["reason"]


def test_one_series_of_two_studies_is_refused(archive, mrisr, tmp_path, dicom_series):
    beyond = np.diag([1.0, 1, 1, 1])
    beyond[2, 3] = 3  # Where the other one ends.
    dicom_series(archive / "copy", head((9, 8, 3), 0), beyond, uid="1.2.3", StudyInstanceUID="1.5")
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 1 and "2 series made" in out and "1 failed" in out
    row = report(tmp_path / "sr")["1.2.3"]
    assert row["state"] == "failed" and "are of 2 studies" in row["reason"]
    code, _, err = mrisr("upscale", "pacs", "one", "--series", "1.2.3")
    assert code == 2 and "its images are of 2 studies" in err and not (tmp_path / "one").exists()


def test_images_without_a_series_are_named(archive, mrisr, tmp_path):
    for path in (archive / "b").iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.SeriesInstanceUID
        dataset.save_as(path)
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 1 and "2 series made" in out and "3 failed" in out
    reasons = [row["reason"] for row in report(tmp_path / "sr").values() if row["state"] == "failed"]
    assert len(reasons) == 3 and all("does not say to which series it belongs" in one for one in reasons)


def test_names_that_are_not_in_utf8(archive, mrisr, tmp_path):
    path = next((archive / "b").iterdir())
    shutil.copy(path, os.fsencode(archive / "b") + b"/M\xfcller")
    with open(os.fsencode(archive / "b") + b"/Bef\xfcnde.txt", "w") as file:
        file.write("no DICOM")
    code, out, _ = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 1 and "3 series made" in out and "1 failed" in out
    (reason,) = [row["reason"] for row in report(tmp_path / "sr").values() if row["state"] == "failed"]
    assert "is not in UTF-8. Rename it" in reason


@pytest.mark.parametrize("name", ["T1.dcm", "raw.data", "v1.5"])
def test_folders_that_are_called_like_files(archive, mrisr, tmp_path, name):
    (archive / "b").rename(archive / name)
    assert mrisr("upscale", "pacs", "sr", "--studies")[0] == 0
    target = report(tmp_path / "sr")["1.2.3"]["target"]
    assert target == (name if name == "v1.5" else f"{name}/1.2.3")
    assert len(list((tmp_path / "sr" / target).glob("*.dcm"))) == 3


def test_results_stay_where_they_are_when_series_come_and_go(archive, mrisr, tmp_path, dicom_series):
    """No result lies in another, or twice."""

    def targets():
        code, _, err = mrisr("upscale", "pacs", "sr", "--studies")
        assert code == 0, err
        return {uid: row["target"] for uid, row in report(tmp_path / "sr").items() if row["target"]}

    before = targets()
    assert (before["1.2.1"], before["1.2.3"]) == ("a/deep/1.2.1", "b")
    for path in dicom_series(
        tmp_path / "new", head((9, 8, 3), 1), AFFINE, uid="1.2.7", StudyInstanceUID="1.8"
    ):
        shutil.move(path, archive / "b" / f"{path.name}.dcm")
    for path in list((archive / "a/deep").iterdir()):
        if pydicom.dcmread(path).SeriesInstanceUID == "1.2.2":
            path.unlink()
    changed = [archive / "b/image999", archive / "a/deep/image999"]
    for path in changed:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(path)
    after = targets()
    assert after == {"1.2.1": before["1.2.1"], "1.2.3": "b", "1.2.7": "b-1.2.7"}
    assert {len(list((tmp_path / "sr" / target).iterdir())) for target in after.values()} == {3}


def test_an_archive_of_nothing(archive, mrisr, tmp_path):
    (tmp_path / "mistyped").mkdir()
    (tmp_path / "mistyped/notes.txt").write_text("no DICOM")
    code, _, err = mrisr("upscale", "mistyped", "sr", "--studies")
    assert code == 2 and "mistyped holds no DICOM image" in err and err.count("\n") == 1


def test_a_run_that_was_stopped_goes_on(archive, models, tmp_path, monkeypatch):
    resolver, calls = SuperResolver.load(models["grey"]), []
    upscale = SuperResolver._forward

    def stopped(self, lr):
        calls.append(lr.shape)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return upscale(self, lr)

    monkeypatch.setattr(SuperResolver, "_forward", stopped)
    with pytest.raises(KeyboardInterrupt):
        upscale_archive(archive, tmp_path / "sr", resolver)
    states = [row["state"] for row in report(tmp_path / "sr").values()]
    assert "done" in states and "not made" in states
    before = times(tmp_path / "sr")
    outcome = upscale_archive(archive, tmp_path / "sr", resolver)
    assert (outcome.made + outcome.kept, outcome.failures) == (3, {}) and outcome.kept >= 1
    assert all(times(tmp_path / "sr")[name] == time for name, time in before.items())


def test_the_ledger_knows_what_is_gone_or_new(archive, tmp_path):
    with Ledger(tmp_path / "ledger", {}) as ledger:
        ledger.scan(archive)
        assert [one.study for one in ledger.series()] == ["1.7", "1.8", "1.8", "1.9", "1.9"]
        assert all(one.changed for one in ledger.series()) and ledger.broken() == []
        cut = next((archive / "a/deep").glob("*.dcm"))
        whole = cut.read_bytes()
        cut.write_bytes(whole[: whole.index(b"1.2.2") + 4])  # Within its SeriesInstanceUID.
        ledger.scan(archive)
        broken = {one.uid: [name for name, _ in one.broken] for one in ledger.series()}
        assert set(broken) == {"1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"}
        assert broken["1.2.2"] == [cut.relative_to(archive).as_posix()]
        shutil.rmtree(archive / "b")
        ledger.scan(archive)
        assert "1.2.3" not in {one.uid for one in ledger.series()}


def test_headers_are_read_in_parts(archive, tmp_path, monkeypatch):
    """In threads, a few at a time: the same as one by one, and a scan that is stopped goes on."""
    with Ledger(tmp_path / "whole", {}) as ledger:
        ledger.scan(archive)
        expected = ledger.series()
    monkeypatch.setattr(ledger_module, "_BATCH", 2)
    with Ledger(tmp_path / "batches", {}) as ledger:
        ledger.scan(archive)
        assert ledger.series() == expected
    monkeypatch.setattr(ledger_module, "_THREADS", 1)
    described, read = ledger_module._described, []

    def stopped(path):
        read.append(path)
        if len(read) == 7:
            raise KeyboardInterrupt
        return described(path)

    monkeypatch.setattr(ledger_module, "_described", stopped)
    with Ledger(tmp_path / "parts", {}) as ledger:
        with pytest.raises(KeyboardInterrupt):
            ledger.scan(archive)
        count = len(read)
        ledger.scan(archive)
        assert ledger.series() == expected
        files = sum(path.is_file() for path in archive.rglob("*"))
        assert count >= 7 and len(read) - count < files  # Not all of them again.


def test_a_digest_is_of_names_and_contents(tmp_path):
    for name, text in {"a": "1", "b": "2"}.items():
        (tmp_path / name).write_text(text)
    first = digest_of(tmp_path, ["a", "b"])
    assert digest_of(tmp_path, ["b", "a"]) == first != digest_of(tmp_path, ["a"])
    (tmp_path / "b").write_text("3")
    assert digest_of(tmp_path, ["a", "b"]) != first


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nothing", "sr"], "nothing does not exist"),
        (["pacs/notes.txt", "sr"], "pacs/notes.txt is no folder"),
        (["pacs", "pacs/sr"], "lie in each other"),
        (["pacs", "mine"], "mine is not empty, and holds no ledger"),
        (["pacs", "mine/thesis.txt"], "mine/thesis.txt is a file"),
        (["pacs", "sr", "--series", "1"], "--series is for one series: leave it out with --studies"),
        (["pacs", "sr", "--overwrite"], "--overwrite is not for an archive"),
        (["pacs", "sr", "--layout", "x"], "--layout: invalid choice"),
    ],
)
def test_what_is_refused(archive, mrisr, tmp_path, listing, words, part):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    before = listing(tmp_path)
    code, _, err = mrisr("upscale", *words, "--studies")
    assert code == 2 and part in err and len(err.splitlines()) == 1
    assert listing(tmp_path) == before


def test_results_of_another_default_model_are_not_mixed(archive, mrisr, tmp_path):
    assert mrisr("upscale", "pacs", "sr", "--studies")[0] in (0, 1)
    info = tmp_path / "bundled/grey/model.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "version": "0.0.9"}))
    code, _, err = mrisr("upscale", "pacs", "sr", "--studies")
    assert code == 2 and 'were made with --model "grey (' in err and err.count("\n") == 1


def test_an_option_that_is_newer_than_the_ledger(tmp_path):
    with Ledger(tmp_path / "ledger", {"scale": 2}):
        pass
    with Ledger(tmp_path / "ledger", {"scale": 2, "precision": None}):
        pass
    with pytest.raises(DataError, match=r'made with `plane` null, not "axial"'):
        Ledger(tmp_path / "ledger", {"scale": 2, "plane": "axial"})


def test_what_is_no_ledger(tmp_path):
    (tmp_path / "ledger").write_text("years of work, in plain text, of some length" * 50)
    with pytest.raises(DataError, match="is no ledger"):
        Ledger(tmp_path / "ledger", {})
