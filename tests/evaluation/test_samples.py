import dataclasses

import numpy as np
import pytest

from keras_mrisr.evaluation import MEASURES, ImageScore, Measure, summarise
from keras_mrisr.evaluation.samples import collect
from keras_mrisr.evaluation.summary import per_patient

DICE = Measure("dice", "Dice", "2 |A and B| / (|A| + |B|)", True, ratio=("twice_both", "sum"))


def score(patient, index, method, values, channel="grey", region="whole"):
    return ImageScore(f"{patient}{index}", patient, index, method, channel, region, values, site="X")


def dice(twice_both, total):
    return {"dice": twice_both / total if total else np.nan, "twice_both": twice_both, "sum": total}


def test_a_ratio_is_of_the_sums_of_a_patient():
    """As Dice over a volume: a slice without a lesion has none of its own, but its false pixels count."""
    scores = [
        score("a", 0, "HR", dice(8, 10)),
        score("a", 1, "HR", dice(0, 6)),
        score("a", 2, "HR", dice(0, 0)),
        score("b", 0, "HR", dice(0, 0)),
    ]
    [samples] = collect(scores, [DICE])
    assert samples.patients == ("a",)
    assert samples.patient_values["HR"].tolist() == [0.5]
    assert samples.image_values["HR"].tolist() == [0.8, 0.0]
    assert (samples.images, samples.excluded) == (2, 2)
    [row] = summarise(scores, [DICE])
    assert (row.patients, row.patient_mean) == (1, 0.5) and np.isnan(row.patient_sd)
    rows = per_patient(scores, [DICE])
    assert [(r["patient"], r["site"], r["dice"], r["dice_images"]) for r in rows] == [
        ("a", "X", 0.5, 2),
        ("b", "X", None, 0),
    ]


def test_methods_and_metrics_may_differ_between_channel_sets():
    psnr = {"psnr": 20.0}
    scores = [
        score("a", 0, "SR", psnr),
        score("a", 0, "SR", {"dice": 0.5}, channel="mask"),
        score("a", 0, "HR", {"dice": 0.7}, channel="mask"),
    ]
    plain = dataclasses.replace(DICE, ratio=None)
    found = collect(scores, [MEASURES["psnr"], MEASURES["ssim"], plain])
    assert [(s.channel, s.measure.name, s.methods) for s in found] == [
        ("grey", "psnr", ("SR",)),
        ("mask", "dice", ("SR", "HR")),
    ]


def test_regions_stand_in_reading_order():
    """The first slice of a stack has no tumour."""
    names = [("RGB", "whole"), ("FLAIR", "whole"), ("RGB", "tumour"), ("RGB", "tissue"), ("FLAIR", "edge")]
    scores = [score("a", 0, "SR", {"psnr": 1.0}, *name) for name in names]
    assert [(s.channel, s.region) for s in collect(scores, [MEASURES["psnr"]])] == [
        ("RGB", "whole"),
        ("RGB", "tissue"),
        ("RGB", "tumour"),
        ("FLAIR", "whole"),
        ("FLAIR", "edge"),
    ]


def test_an_image_is_left_out_for_every_method():
    scores = [
        score(patient, index, method, {"psnr": value})
        for (patient, index), values in {
            ("a", 0): (1.0, np.inf),
            ("a", 1): (3.0, 4.0),
            ("b", 0): (np.nan, 1.0),
        }.items()
        for method, value in zip("xy", values, strict=True)
    ]
    [samples] = collect(scores, [MEASURES["psnr"]])
    assert {m: v.tolist() for m, v in samples.image_values.items()} == {"x": [3.0], "y": [4.0]}
    assert samples.patients == ("a",) and samples.counts.tolist() == [1] and samples.excluded == 2
    assert samples.patient_values["y"] == pytest.approx([4.0])
