import json
import math

import pytest

from keras_mrisr.evaluation import MEASURES, ImageScore
from keras_mrisr.evaluation.comparisons import compare_methods, summarise_groups
from keras_mrisr.evaluation.samples import collect


def scores(values):
    """`values`: {patient: {method: psnr}}."""
    return [
        ImageScore(patient, patient, 0, method, "grey", "whole", {"psnr": psnr})
        for patient, methods in values.items()
        for method, psnr in methods.items()
    ]


VALUES = {
    f"p{i}": {"nearest": 20.0 + i, "bicubic": 21.0 + i, "A": 25.0 + 1.1 * i, "B": 25.5 + 1.1 * i}
    for i in range(7)
}


def test_pairs_differences_and_tests():
    rows = compare_methods(collect(scores(VALUES), [MEASURES["psnr"]]), ("nearest", "bicubic"))
    assert [(row.first, row.second) for row in rows] == [
        ("A", "nearest"), ("A", "bicubic"), ("B", "nearest"), ("B", "bicubic"), ("B", "A"),
    ]  # fmt: skip
    last = rows[-1]
    assert (last.patients, last.effect) == (7, 1.0)
    assert last.difference == pytest.approx(0.5)
    assert (last.low, last.high) == (pytest.approx(0.5), pytest.approx(0.5))
    gain = rows[1]
    assert gain.difference == pytest.approx(4 + 0.1 * 3)
    assert gain.low < gain.difference < gain.high
    assert gain.p == pytest.approx(2 / 2**7)
    assert gain.p_holm == pytest.approx(5 * gain.p)


def test_one_patient_has_no_interval_and_no_test():
    [row] = compare_methods(collect(scores({"p": {"A": 1.0, "B": 3.0}}), [MEASURES["psnr"]]))
    assert (row.difference, row.patients, row.effect) == (2.0, 1, 1.0)
    assert math.isnan(row.low) and math.isnan(row.p) and math.isnan(row.p_holm)
    stored = json.loads(json.dumps(row.to_dict(), allow_nan=False))
    assert stored["p"] is None and stored["low"] is None


def test_groups_of_patients():
    groups = {"p0": "X", "p1": "Y", "p2": "X", "p3": None}
    found = summarise_groups(scores(VALUES), [MEASURES["psnr"]], groups)
    assert list(found) == ["X", "Y"]
    means = {row.method: row.patient_mean for row in found["X"]}
    assert means["bicubic"] == pytest.approx(22.0)
    assert [row.patients for row in found["Y"]] == [1, 1, 1, 1]
    assert summarise_groups(scores(VALUES), [MEASURES["psnr"]], {}) == {}
