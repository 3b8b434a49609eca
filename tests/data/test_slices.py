from pathlib import Path

import pytest

from keras_mrisr.data.slices import Finding, SliceDataset, SliceRecord, evenly_spaced, natural_key
from keras_mrisr.errors import MrisrError


def _dataset():
    slices = tuple(
        SliceRecord(Path(f"{patient}_{index}.tif"), patient, index, site)
        for patient, site in (("b", "X"), ("a", None))
        for index in range(2)
    )
    findings = (Finding("size", None, "a", "odd"), Finding("table", None, None, "broken"))
    return SliceDataset(Path("root"), "lgg", slices, findings, {"a": {"age": "1"}, "b": {"age": "2"}})


def test_dataset_knows_its_patients_and_sites():
    dataset = _dataset()
    assert len(dataset) == 4
    assert dataset.patients == ("a", "b")
    assert dataset.sites == {"a": None, "b": "X"}
    assert [record.index for record in dataset.by_patient()["b"]] == [0, 1]


def test_select_keeps_order_and_what_concerns_the_patients():
    chosen = _dataset().select(["b"])
    assert chosen.patients == ("b",)
    assert [finding.kind for finding in chosen.findings] == ["table"]
    assert chosen.table == {"b": {"age": "2"}}


def test_select_names_an_unknown_patient():
    with pytest.raises(MrisrError, match="no patient 'c'"):
        _dataset().select(["a", "c"])


def test_findings_are_not_doubled():
    dataset = _dataset()
    broken = Finding("unreadable", Path("b_1.tif"), "b", "cut short")
    dataset = dataset.with_findings([broken]).with_findings([broken])
    assert len(dataset.findings) == 3


def test_natural_key_counts():
    names = ["s10", "s2", "S1", "2", "a", "s2b", "10"]
    assert sorted(names, key=natural_key) == ["2", "10", "a", "S1", "s2", "s2b", "s10"]


def test_natural_key_compares_a_name_with_the_same_name_and_a_number():
    names = ["brain2", "Brain", "brain", "brain10", "2", "brain2a", ""]
    expected = ["", "2", "Brain", "brain", "brain2", "brain2a", "brain10"]
    assert sorted(names, key=natural_key) == expected
    assert sorted(reversed(names), key=natural_key) == expected


@pytest.mark.parametrize(
    "count, wanted, middles, with_ends",
    [
        (10, 3, [1, 5, 8], [0, 4, 9]),
        (5, 1, [2], [0]),
        (3, 7, [0, 1, 2], [0, 1, 2]),
        (4, 0, [], []),
        (0, 3, [], []),
    ],
)
def test_evenly_spaced_takes_middles_or_ends(count, wanted, middles, with_ends):
    assert evenly_spaced(count, wanted) == middles
    assert evenly_spaced(count, wanted, ends=True) == with_ends
