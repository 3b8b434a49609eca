import json
import math

import pytest

from keras_mrisr.evaluation import ImageScore, choose_cases, summarise
from keras_mrisr.evaluation.summary import per_patient


def scores(values, region="whole"):
    """`values`: {(patient, index): {method: psnr}}; the SSIM is a hundredth of the PSNR."""
    return [
        ImageScore(
            f"{patient}{index}.png",
            patient,
            index,
            method,
            "grey",
            region,
            {"psnr": psnr, "ssim": psnr / 100},
        )
        for (patient, index), methods in values.items()
        for method, psnr in methods.items()
    ]


VALUES = {
    ("a", 0): {"bicubic": 20.0, "SR": 24.0},
    ("a", 1): {"bicubic": 22.0, "SR": 26.0},
    ("b", 0): {"bicubic": 30.0, "SR": 31.0},
    ("b", 1): {"bicubic": 35.0, "SR": math.inf},
}


def row(method, metric="psnr", values=VALUES):
    return next(r for r in summarise(scores(values)) if (r.method, r.metric) == (method, metric))


def test_means_by_hand():
    sr = row("SR")
    assert (sr.images, sr.excluded, sr.patients) == (3, 1, 2)
    assert sr.image_mean == pytest.approx(27)
    assert sr.image_sd == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert sr.patient_mean == pytest.approx(28)
    assert sr.patient_sd == pytest.approx(math.sqrt(18))
    assert sr.image_delta == pytest.approx(27 - 24)
    assert sr.patient_delta == pytest.approx(28 - 25.5)


def test_every_method_is_averaged_over_the_same_images():
    assert (row("bicubic").images, row("bicubic").image_mean) == (3, 24.0)


def test_ssim_is_excluded_for_itself():
    values = {key: {**methods, "SR": min(methods["SR"], 90.0)} for key, methods in VALUES.items()}
    assert row("SR", "ssim", values).excluded == 0


def test_nothing_finite():
    sr = row("SR", values={("a", 0): {"bicubic": 1.0, "SR": math.inf}})
    assert (sr.images, sr.excluded, sr.patients) == (0, 1, 0)
    assert math.isnan(sr.image_mean) and math.isnan(sr.patient_sd)
    assert json.loads(json.dumps(sr.to_dict(), allow_nan=False))["image_mean"] is None


def test_without_the_baseline():
    assert math.isnan(row("SR", values={("a", 0): {"SR": 3.0}}).image_delta)


def test_per_patient():
    rows = {(r["patient"], r["method"]): r for r in per_patient(scores(VALUES))}
    assert rows["a", "SR"]["psnr"] == pytest.approx(25)
    assert (rows["b", "SR"]["images"], rows["b", "SR"]["psnr_images"]) == (2, 1)
    assert rows["b", "bicubic"]["psnr"] == pytest.approx(30)


def test_worst_median_and_best_patient():
    levels = {"c": 10, "a": 20, "d": 30, "b": 40, "e": 50}
    values = {(p, i): {"SR": level + i} for p, level in levels.items() for i in range(8)}
    cases = choose_cases(scores(values, "tissue"))
    assert [label for label, _ in cases] == [
        "c · slice 3 · worst patient",
        "d · slice 3 · median patient",
        "e · slice 3 · best patient",
    ]
    assert [path for _, path in cases] == ["c3.png", "d3.png", "e3.png"]


def test_no_cases():
    assert choose_cases(scores({("a", 0): {"SR": math.nan}}, "tissue")) == []


def test_cases_by_a_metric_of_which_less_is_better():
    values = {(p, i): {"SR": level} for p, level in {"a": 3.0, "b": 1.0, "c": 2.0}.items() for i in range(3)}
    chosen = choose_cases(scores(values, "tissue"), metric="ssim", higher=False)
    assert [label.split(" · ")[0] for label, _ in chosen] == ["a", "c", "b"]
    assert choose_cases(scores(values, "tissue"), metric="dice") == []
