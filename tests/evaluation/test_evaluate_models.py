"""Several models, predictions and interpolators on the same patients."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.metrics import normalized_root_mse

from keras_mrisr.data import read_image, write_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import MrisrError
from keras_mrisr.evaluation import MEASURES, Measure, evaluate_models

METHODS = ["nearest", "bicubic", "lanczos", "A", "B"]


@pytest.fixture(scope="module")
def evaluation(study, pattern, upscaler):
    models = {"A": upscaler(0.1), "B": upscaler(0.4)}
    return evaluate_models(models, study, patient_pattern=pattern, figure_cases=0)


def test_every_method_has_every_metric_on_the_same_patients(evaluation):
    assert [p.name for p in evaluation.patients] == list("cdefghij")
    assert [(p.site, p.images, p.tumour_images) for p in evaluation.patients[:2]] == [
        ("X", 3, 1),
        ("Y", 3, 1),
    ]
    assert evaluation.protocol.regions == ("whole", "tissue", "tumour")
    for samples in evaluation.samples:
        assert list(samples.methods) == METHODS
        assert samples.patients == tuple("cdefghij")
        assert samples.images == (8 if samples.region == "tumour" else 24)
        assert all(np.isfinite(values).all() for values in samples.patient_values.values())
    names = [m.name for m in evaluation.measures]
    assert names == ["psnr", "ssim", "ms_ssim", "nrmse", "hfen", "gmsd", "consistency"]
    assert len(evaluation.samples) == len(names) * 2 * 3


def test_numbers_of_one_slice(evaluation, study):
    hr = read_image(study / "X/c/1.png")
    degradation = get_degradation("bicubic", 2)
    lr = degradation.degrade(hr)
    sr = interpolate(lr, 2, "nearest")
    rows = {
        (s.method, s.channel, s.region): s.values for s in evaluation.scores if s.path == study / "X/c/1.png"
    }
    inside = np.s_[12:24, 10:26]
    tumour = rows["nearest", "RGB", "tumour"]
    assert tumour["nrmse"] == pytest.approx(
        normalized_root_mse(hr[inside].astype(float), sr[inside].astype(float)), rel=1e-4
    )
    again = degradation.degrade(sr).astype(float) - lr
    assert rows["nearest", "RGB", "whole"]["consistency"] == pytest.approx(
        np.sqrt(np.mean(again**2)), rel=1e-4
    )
    assert tumour["consistency"] == pytest.approx(np.sqrt(np.mean(again[6:12, 5:13] ** 2)), rel=1e-4)
    assert rows["nearest", "green", "whole"]["consistency"] == pytest.approx(
        np.sqrt(np.mean(again[..., 1] ** 2)), rel=1e-4
    )


def test_consistency_with_a_blur_of_each_slice(study, pattern, upscaler):
    model = upscaler(degradation="random-blur")
    evaluation = evaluate_models(
        {"A": model}, study, patient_pattern=pattern, metrics=["consistency"], limit=2, figure_cases=0
    )
    for score in evaluation.scores:
        if (score.method, score.channel, score.region) == ("A", "RGB", "whole"):
            hr = read_image(score.path)
            degradation = get_degradation("random-blur", 2).of_slice(hr)
            lr = degradation.degrade(hr)
            again = degradation.degrade(model(lr[np.newaxis])[0]).astype(float)
            assert score.values["consistency"] == pytest.approx(np.sqrt(np.mean((again - lr) ** 2)), rel=1e-4)


def test_statistics_are_over_patients(evaluation):
    row = next(r for r in evaluation.summary if (r.method, r.metric, r.region) == ("A", "psnr", "whole"))
    samples = next(s for s in evaluation.samples if (s.measure.name, s.region) == ("psnr", "whole"))
    own = samples.patient_values["A"]
    assert row.patient_median == pytest.approx(np.median(own))
    assert row.patient_low < row.patient_mean < row.patient_high
    pairs = {(c.first, c.second) for c in evaluation.comparisons}
    assert ("A", "bicubic") in pairs and ("B", "A") in pairs and ("bicubic", "nearest") not in pairs
    assert set(evaluation.by_site) == {"X", "Y"}
    assert set(evaluation.by_sharpness) == {"soft", "middle", "sharp"}
    shares = [p.sharpness for p in evaluation.patients]
    assert all(0 < share < 1 for share in shares)


def test_few_patients_are_told_what_tests_cannot_show(study, pattern, upscaler):
    models = {"A": upscaler(test="cdefg"), "B": upscaler(0.4, test="cdefg")}
    evaluation = evaluate_models(
        models, study, patient_pattern=pattern, metrics=["psnr"], methods=("bicubic",), figure_cases=0
    )
    assert "With 5 patients no p-value can be under 0.062, nor, adjusted for 3 pairs, under 0.19" in (
        " ".join(evaluation.footnotes)
    )
    assert min(row.p for row in evaluation.comparisons) == pytest.approx(2 / 2**5)


def test_footnotes_name_the_metric_and_its_own_patients(study, pattern, upscaler, tmp_path):
    for path in study.rglob("*[0-9].png"):
        image = read_image(path)
        same = path.parent.name == "c" or (path.parent.name, path.stem) == ("d", "0")
        write_image(tmp_path / path.relative_to(study), image if same else image // 2)
    evaluation = evaluate_models(
        {"A": upscaler(test="cdefg")}, study, predictions={"B": tmp_path}, patient_pattern=pattern,
        metrics=["psnr", "ssim"], methods=("bicubic",), figure_cases=0,
    )  # fmt: skip
    notes = " ".join(evaluation.footnotes)
    assert "1 to 4 images per row of PSNR have no finite value" in notes
    # Patient c has no PSNR: five patients are behind the tests of SSIM, four behind those of PSNR.
    assert "With 4 to 5 patients no p-value can be under 0.062, nor, adjusted for 3 pairs" in notes


def test_files_hold_the_statistics(evaluation, tmp_path):
    evaluation.save(tmp_path / "out")
    stored = json.loads((tmp_path / "out/metrics.json").read_text())
    assert {row["first"] for row in stored["comparisons"]} == {"A", "B"}
    assert set(stored["by_site"]) == {"X", "Y"} and set(stored["by_sharpness"]) == {"soft", "middle", "sharp"}
    assert stored["patients"][0]["stratum"] in ("soft", "middle", "sharp")
    assert stored["protocol"]["methods"] == {
        "nearest": "Pillow " + Image.__version__,
        "bicubic": "Pillow " + Image.__version__,
        "lanczos": "Pillow " + Image.__version__,
        "A": "Upscaler",
        "B": "Upscaler",
    }
    header = (tmp_path / "out/per_image.csv").read_text().splitlines()[0]
    assert header == (
        "path,patient,site,index,method,channel,region,psnr,ssim,ms_ssim,nrmse,hfen,gmsd,consistency"
    )
    console = Console(width=100, record=True, quiet=True)
    console.print(evaluation.report())


def test_names_that_look_like_markup_stand_in_the_tables(study, pattern, upscaler):
    models = {"[bold]A": upscaler(), "B[/]": upscaler(0.4)}
    options = {"metrics": ["psnr", "ssim", "nrmse"], "methods": ("bicubic",), "limit": 4, "figure_cases": 0}
    evaluation = evaluate_models(models, study, patient_pattern=pattern, **options)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(evaluation.report())
    text = console.export_text()
    assert text.count("[bold]A") >= 4 and "B[/] - [bold]A" in text


def test_predictions_stand_beside_models(study, pattern, upscaler, tmp_path):
    for path in study.rglob("*[0-9].png"):
        write_image(tmp_path / path.relative_to(study), read_image(path))
    evaluation = evaluate_models(
        {"A": upscaler()}, study, predictions={"perfect": tmp_path}, patient_pattern=pattern,
        metrics=["psnr", "ssim", "consistency"], methods=("bicubic",), limit=6, figure_cases=1,
    )  # fmt: skip
    assert list(evaluation.samples[0].methods) == ["bicubic", "A", "perfect"]
    assert evaluation.mean("perfect", "ssim") == pytest.approx(1, abs=1e-6)
    assert evaluation.mean("perfect", "consistency") == 0
    # Every image has an infinite PSNR for one method: no number, and a footnote that says why.
    assert math.isnan(evaluation.mean("A")) and math.isnan(evaluation.mean("perfect"))
    assert any("6 images per row of PSNR have no finite value" in note for note in evaluation.footnotes)
    assert any("A dash stands" in note for note in evaluation.footnotes)
    assert any(note.startswith("perfect: made elsewhere") for note in evaluation.notes)
    assert list(evaluation.cases[0].images) == ["bicubic", "A", "perfect"]


def test_predictions_alone(study, pattern, tmp_path):
    for path in study.rglob("*[0-9].png"):
        write_image(tmp_path / path.relative_to(study), read_image(path) // 2)
    evaluation = evaluate_models(
        {}, study, predictions={"dark": tmp_path}, patient_pattern=pattern, scale=2, degradation="paper",
        metrics=["nrmse"], limit=10,
    )  # fmt: skip
    assert evaluation.mean("dark", "nrmse") == pytest.approx(0.5, abs=0.01)
    assert evaluation.protocol.part == "unknown"
    assert [list(case.images) for case in evaluation.cases] == [["bicubic", "dark"]] * 3


def test_the_report_may_lie_in_the_folder(study, pattern, upscaler, tmp_path):
    out = tmp_path / "out"
    options = {"patient_pattern": pattern, "metrics": ["psnr"], "limit": 2, "figure_cases": 0}
    for overwrite in (False, True):
        evaluate_models(
            {"A": upscaler()}, study, out, report=out / "report.html", overwrite=overwrite, **options
        )
        assert sorted(path.name for path in out.iterdir()) == [
            "metrics.json", "per_image.csv", "per_patient.csv", "report.html",
        ]  # fmt: skip
    (out / "notes.txt").write_text("mine")
    with pytest.raises(MrisrError, match=r"notes\.txt"):
        evaluate_models({"A": upscaler()}, study, out, report=out / "report.html", overwrite=True, **options)


def test_a_feature_network_is_used_whatever_the_metrics(study, pattern, upscaler):
    features = {"network": "vgg16", "weights": None, "layers": "block1_conv1"}
    evaluation = evaluate_models(
        {"A": upscaler()}, study, patient_pattern=pattern, metrics=["psnr"], features=features, limit=2,
        methods=("bicubic",), figure_cases=0,
    )  # fmt: skip
    assert [measure.name for measure in evaluation.measures] == ["psnr", "features"]


class LesionScorer:
    """Joins from outside: the share of tumour pixels that are bright, also in the original."""

    measures = (Measure("bright", "bright", "share of bright pixels", True, ratio=("found", "all")),)

    def __call__(self, images):
        mask = images.masks.get("tumour")
        if mask is None:
            mask = np.zeros(images.hr.shape[:2], bool)
        found = {}
        for name, image in {"HR": images.hr, **images.images}.items():
            both, all_ = int((mask & (image[..., 0] > 100)).sum()), int(mask.sum())
            values = {"bright": both / all_ if all_ else np.nan, "found": both, "all": all_}
            found[name, "lesion", "slice"] = values
        return found


def test_scores_of_another_kind_join(study, pattern, upscaler, tmp_path):
    evaluation = evaluate_models(
        {"A": upscaler()}, study, tmp_path / "out", patient_pattern=pattern, metrics=["psnr"],
        methods=("bicubic",), scorers=[LesionScorer()], limit=12, report=tmp_path / "page.html",
    )  # fmt: skip
    samples = evaluation.samples[-1]
    assert (samples.channel, samples.region, samples.methods) == ("lesion", "slice", ("HR", "bicubic", "A"))
    assert "bright" in evaluation.protocol.metrics
    assert "found" in (tmp_path / "out/per_image.csv").read_text().splitlines()[0]
    assert "lesion, slice" in (tmp_path / "page.html").read_text()


def test_feature_distance(study, pattern, upscaler):
    features = {"network": "vgg16", "weights": None, "layers": "block1_conv1"}
    evaluation = evaluate_models(
        {"A": upscaler()}, study, patient_pattern=pattern, metrics=["psnr", "features"], features=features,
        limit=2, figure_cases=0,
    )  # fmt: skip
    assert evaluation.measures[-1].title == "VGG16 distance"
    assert "vgg16 block1_conv1" in evaluation.measures[-1].definition
    assert evaluation.mean("nearest", "features") > 0


def test_one_patient_has_no_interval(study, pattern, upscaler):
    model = {"A": upscaler(test="c"), "B": upscaler(0.4, test="c")}
    evaluation = evaluate_models(model, study, patient_pattern=pattern, metrics=["psnr"], figure_cases=0)
    assert math.isnan(evaluation.summary[0].patient_low) and math.isnan(evaluation.comparisons[0].p)
    assert "One patient only: no interval and no test between methods can be given." in evaluation.footnotes
    assert not evaluation.by_sharpness


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([{}, {"scale": 4}], r"A and B differ in scale \(x2 and x4\)"),
        ([{}, {"channels": 1}], r"differ in number of channels \(3 and 1\)"),
        ([{}, {"degradation": "paper"}], "A was trained to undo bicubic .* B paper .*`degradation`"),
        ([{"test": "cd"}, {"test": "ef"}], "No patient is in the part 'test' of every model"),
    ],
)
def test_different_protocols_are_refused(study, pattern, upscaler, tmp_path, options, message):
    models = {name: upscaler(**one) for name, one in zip("AB", options, strict=True)}
    with pytest.raises(MrisrError, match=message) as error:
        evaluate_models(models, study, tmp_path / "out", patient_pattern=pattern, report=tmp_path / "p.html")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_one_degradation_for_all(study, pattern, upscaler):
    models = {"A": upscaler(), "B": upscaler(degradation="paper")}
    evaluation = evaluate_models(
        models, study, patient_pattern=pattern, degradation="paper", metrics=["psnr"], limit=2, figure_cases=0
    )
    assert evaluation.protocol.degradation["name"] == "paper"
    [note] = [note for note in evaluation.notes if "another degradation" in note]
    assert note.startswith("A was trained to undo another degradation: bicubic")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["psnr", "beauty"]}, f"Unknown metric 'beauty'. Known: {', '.join(MEASURES)}"),
        ({"metrics": []}, "No metrics"),
        ({"metrics": ["features"]}, "needs a network"),
        ({"predictions": {"A": "."}}, "Two methods are called 'A'"),
        ({"predictions": {"bicubic": "."}}, "Two methods are called 'bicubic'"),
        ({"predictions": {"HR": "."}}, "the name 'HR' is taken"),
        ({"predictions": {"bicubic": "."}, "methods": ["nearest"]}, "the name 'bicubic' is taken"),
        ({"predictions": {"cubic": "."}}, "the name 'cubic' is taken"),
        ({"report": "page.txt"}, "does not end in .html"),
        ({"report": "."}, "is a folder"),
        ({"scale": 3}, "is a x2 model, not x3"),
    ],
)
def test_bad_options(study, pattern, upscaler, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MrisrError, match=message):
        evaluate_models({"A": upscaler()}, study, "out", patient_pattern=pattern, **options)
    assert list(tmp_path.iterdir()) == []


def test_without_anything_to_say_what_is_undone(study, tmp_path):
    with pytest.raises(MrisrError, match="give the scale and the degradation"):
        evaluate_models({}, study, predictions={"tool": tmp_path})


def test_models_with_different_patterns(study, upscaler):
    models = {"A": upscaler(), "B": upscaler()}
    models["B"].info.data["patient_pattern"] = "(.)"
    with pytest.raises(MrisrError, match="different patient patterns"):
        evaluate_models(models, study)
