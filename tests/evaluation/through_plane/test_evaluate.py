"""The whole evaluation of thick slices made thin: whom, what, and the files."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest

from keras_mrisr.data import read_dataset
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation import evaluate_through_plane
from keras_mrisr.folders import Choice
from keras_mrisr.inference.resample import apply_matrix, spline_matrix


@pytest.fixture(scope="module")
def evaluation(scans, resolver, tmp_path_factory):
    """Of three unseen patients at two factors, with its files in `out`."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    done = []
    found = evaluate_through_plane(
        {"SR": resolver},
        scans,
        out,
        factors=(4, 2),
        report=out / "page.html",
        figure_cases=2,
        progress=lambda *step: done.append(step),
    )
    assert done == [(place, 24) for place in range(1, 25)]  # 3 patients, 2 factors, 4 methods.
    return found, out


def test_patients_that_trained_the_model_are_left_out(evaluation):
    found, _ = evaluation
    assert found.protocol.patients == ("sub-01", "sub-02", "sub-03")
    assert any("trained the model and is left out" in note for note in found.notes)


def test_every_factor_has_scores_in_3d_and_by_plane(evaluation):
    found, _ = evaluation
    sections = {(one.channel, one.region) for one in found.samples}
    assert sections == {(x, r) for x in ("x4", "x2") for r in ("volume", "sagittal", "coronal", "axial")}
    methods = {one.method for one in found.summary}
    assert methods == {"nearest", "linear", "cubic", "SR"}
    values = [row.patient_mean for row in found.summary]
    assert np.isfinite(values).all()
    assert found.mean("cubic", channel="x2") > found.mean("cubic", channel="x4")
    assert found.mean("SR", "sharpness") > 0


def test_the_spline_is_scored_by_hand(evaluation, scans):
    found, _ = evaluation
    array = nibabel.load(scans / "sub-01/anat/sub-01_T1w.nii.gz").get_fdata()
    white = np.percentile(array, 99.9)
    from keras_mrisr.degrade.thick_slices import ThickSlices
    from keras_mrisr.evaluation.through_plane.volumes import tissue_mask

    hr, mask = array[:, :, :24] / white, tissue_mask(array, white)[:, :, :24]
    sr = apply_matrix(spline_matrix(6, 24), ThickSlices(4).degrade(hr, 2), 2)
    wanted = -10 * np.log10(np.square(sr - hr)[mask].mean())
    [score] = [
        one
        for one in found.scores
        if (one.patient, one.method, one.channel, one.region) == ("sub-01", "cubic", "x4", "volume")
    ]
    assert score.values["psnr"] == pytest.approx(wanted, abs=1e-3)


def test_differences_are_taken_to_the_spline(evaluation):
    found, _ = evaluation
    rows = {(r.method, r.channel): r for r in found.summary if (r.metric, r.region) == ("psnr", "volume")}
    delta = rows["SR", "x4"].patient_mean - rows["cubic", "x4"].patient_mean
    assert rows["SR", "x4"].patient_delta == pytest.approx(delta)
    assert found.mean("SR", delta=True) == pytest.approx(delta)


def test_files(evaluation):
    _, out = evaluation
    names = {path.name for path in out.iterdir()}
    assert names == {"metrics.json", "per_image.csv", "per_patient.csv", "figure.png", "page.html"}
    stored = json.loads((out / "metrics.json").read_text())
    protocol = stored["protocol"]
    assert protocol["images"] == 3 and protocol["factors"] == {"4": [4.0, 4.0], "2": [2.0, 2.0]}
    assert "Otsu" in protocol["mask"] and protocol["degradation"]["profile"] == "gaussian"
    psnr = [
        row
        for row in stored["summary"]
        if (row["metric"], row["channel"], row["region"], row["method"]) == ("psnr", "x4", "volume", "SR")
    ]
    assert len(psnr) == 1 and psnr[0]["patient_low"] < psnr[0]["patient_mean"] < psnr[0]["patient_high"]
    with (out / "per_image.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 2 * 4 * 4  # Patients, factors, methods, regions.
    assert rows[0]["path"] == "sub-01/anat/sub-01_T1w.nii.gz"
    page = (out / "page.html").read_text()
    for text in ("thick slices x4, x2, gaussian profile", "against cubic", "3 volumes of 3 patients",
                 "sagittal plane", "coronal plane", "worst patient"):  # fmt: skip
        assert text in page
    assert "With tumour" not in page and "slices of 3" not in page


def test_the_figure_shows_both_families_of_planes(evaluation):
    found, _ = evaluation
    assert [case.label.split(" · ")[1].split()[0] for case in found.cases] == ["sagittal", "coronal"] * 2
    for case in found.cases:
        assert case.hr.shape[0] == 24 and case.lr.shape[0] == 6 and case.hr.shape[1] == case.lr.shape[1]
        assert list(case.images) == ["cubic", "SR"]


def test_all_axes_are_images_of_one_volume(scans, resolver):
    found = evaluate_through_plane(
        {"SR": resolver}, scans, factors=(3,), axis="all", methods=["cubic"], limit=1, figure_cases=0
    )
    assert found.protocol.images == 3 and {one.index for one in found.scores} == {0, 1, 2}
    assert found.summary[0].images == 3 and found.summary[0].patients == 1


def test_a_single_file_and_another_program(scans, resolver, write, tmp_path, head):
    path = scans / "sub-01/anat/sub-01_T1w.nii.gz"
    affine = nibabel.load(path).affine
    made = tmp_path / "made" / path.name
    write(made, head(seed=1), affine)
    mask = np.zeros((22, 24, 26), "uint8")
    mask[4:18, 4:20, 4:20] = 1
    found = evaluate_through_plane(
        {},
        path,
        predictions={"tool": tmp_path / "made"},
        mask=write(tmp_path / "mask.nii", mask, affine),
        lr_out=tmp_path / "lr",
        figure_cases=1,
    )
    assert found.protocol.patients == ("sub-01",) and str(tmp_path / "mask.nii") in found.protocol.mask
    assert found.protocol.models == ("tool",)
    scores = {one.method: one.values for one in found.scores if one.region == "volume"}
    assert scores["tool"]["psnr"] == np.inf and scores["tool"]["sharpness"] == pytest.approx(1)
    lr = nibabel.load(tmp_path / "lr" / path.name)
    assert lr.shape == (22, 24, 6)
    assert lr.affine[2, 3] == pytest.approx(affine[2, 3] + 1.5) and lr.header.get_zooms()[2] == 4


def test_the_folder_for_thick_volumes_is_never_replaced(scans, tmp_path):
    (tmp_path / "lr").mkdir()
    (tmp_path / "lr/precious").write_text("")
    with pytest.raises(DataError, match="lr"):
        evaluate_through_plane({}, scans, lr_out=tmp_path / "lr", overwrite=True)
    assert (tmp_path / "lr/precious").is_file()


def test_refusals(scans, resolver, tmp_path, write):
    with pytest.raises(DataError, match="no volumes"):
        (tmp_path / "empty").mkdir()
        evaluate_through_plane({}, tmp_path / "empty")
    with pytest.raises(DataError, match="is itself thick"):
        evaluate_through_plane({}, write(tmp_path / "a.nii", affine=np.diag([1, 1, 5, 1])))
    with pytest.raises(DataError, match="4-D"):
        evaluate_through_plane(
            {}, write(tmp_path / "b.nii", np.random.default_rng(0).random((12, 12, 12, 2)))
        )
    with pytest.raises(ConfigError, match="name 'lanczos' is taken"):
        evaluate_through_plane({"lanczos": resolver}, scans)
    with pytest.raises(ConfigError, match="Two methods are called 'cubic'"):
        evaluate_through_plane({"cubic": resolver}, scans)
    with pytest.raises(ConfigError, match=r"factors of 1.2 to 6, not 7"):
        evaluate_through_plane({"SR": resolver}, scans, factors=(7,))
    with pytest.raises(DataError, match="mask is empty"):
        empty = write(tmp_path / "mask.nii", np.zeros((22, 24, 26), "uint8"))
        evaluate_through_plane({}, scans / "sub-00/anat/sub-00_T1w.nii.gz", mask=empty)


def test_a_bad_volume_stops_no_other(scans, tmp_path, write, caplog):
    root = shutil.copytree(scans, tmp_path / "scans")
    broken, thick, *others = sorted(record.path for record in read_dataset(root, "volumes").slices)
    broken.write_bytes(broken.read_bytes()[:-50])
    write(thick, affine=np.diag([1.0, 1, 4, 1]))
    options = {"methods": ("linear",), "factors": (2.0,), "figure_cases": 0}
    evaluation = evaluate_through_plane({}, root, **options)
    assert {score.path for score in evaluation.scores} == set(others)
    assert [failure.path for failure in evaluation.failures] == [broken, thick]
    assert len(evaluation.protocol.patients) == len(evaluation.patients) == len(others)
    assert sum(note.startswith("Not scored: ") for note in evaluation.notes) == 2
    alone = evaluate_through_plane({}, root, choice=Choice([others[0].name]), **options)
    assert [score.values for score in alone.scores] == [
        score.values for score in evaluation.scores if score.path == others[0]
    ]
    assert "is itself thick" in caplog.text
