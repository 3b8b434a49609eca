"""Scores of answers that are known."""

import csv
import math

import numpy as np
import pytest
from scipy import stats

from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.readers import Study, Trial, score_study

COLUMNS = ("study", "reader", "trial", "answer", "seconds")


def pairs(cases=12):
    """A study of two methods: a case each of 6 patients and a second one of each, and two catch trials."""
    trials = [
        Trial(f"t{n}", f"p{n % 6}", f"case{n}", ("A", "B") if n % 2 else ("B", "A")) for n in range(cases)
    ]
    trials += [Trial(f"c{n}", f"p{n}", f"case{n}", ("coarse", "original"), True) for n in range(2)]
    return Study("s", "nearer", ("A", "B"), {}, 0, tuple(trials))


def scores(cases=8):
    trials = [
        Trial(f"{method}{n}", f"p{n}", f"case{n}", (method,))
        for n in range(cases)
        for method in ("A", "B", "original")
    ]
    return Study(
        "s", "scores", ("A", "B", "original"), {}, 0, (*trials, Trial("c", "p0", "case0", ("coarse",), True))
    )


def write(path, study, reader, answer):
    """The file of a reader who answers with `answer(trial)`; None leaves a trial out."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for place, trial in enumerate(study.trials):
            if (given := answer(trial)) is not None:
                writer.writerow((study.name, reader, trial.code, given, 1 + place % 3))
    return path


def choose(method):
    return lambda trial: ("left", "right")[trial.methods.index("original" if trial.catch else method)]


def test_a_reader_who_always_takes_one(tmp_path):
    study = pairs()
    found = score_study([write(tmp_path / "1.csv", study, "R", choose("A"))], study)
    assert [(one.method, one.mean, one.answers) for one in found.methods] == [("A", 1, 12), ("B", 0, 12)]
    [pair] = found.preferences
    assert (pair.first, pair.second, pair.difference, pair.low, pair.high) == ("A", "B", 1, 1, 1)
    assert pair.by_patient.patients == 6 and pair.by_patient.p == 2 / 2**6 and pair.by_patient.effect == 1
    assert math.isnan(pair.by_reader.p) and math.isnan(found.agreement)
    [reader] = found.readers
    assert (reader.answers, reader.trials, reader.passed, reader.catches, reader.seconds) == (12, 12, 2, 2, 2)


def test_shares_are_means_of_patients(tmp_path):
    study = pairs()
    # For B in the second case of three patients: of those A has half, of the others all.
    files = [
        write(
            tmp_path / "1.csv", study, "R", lambda t: choose("B" if t.code in ("t6", "t7", "t8") else "A")(t)
        )
    ]
    found = score_study(files, study)
    assert found.methods[0].mean == 0.75 and found.preferences[0].difference == 0.5
    assert found.methods[0].low < 0.75 < found.methods[0].high


def test_scores_and_tests(tmp_path):
    study = scores()
    rng = np.random.default_rng(0)
    given = {(r, t.code): {"A": 3, "B": 2, "original": 4}.get(t.methods[0], 1) + int(rng.integers(2))
             for r in range(5) for t in study.trials}  # fmt: skip
    files = [write(tmp_path / f"{r}.csv", study, f"R{r}", lambda t, r=r: given[r, t.code]) for r in range(5)]
    found = score_study(files, study)
    table = np.array(
        [[[given[r, f"{m}{n}"] for n in range(8)] for r in range(5)] for m in ("A", "B", "original")]
    )
    np.testing.assert_allclose([one.mean for one in found.methods], table.mean(axis=(1, 2)))
    pair = found.preferences[0]
    difference = table[0] - table[1]
    np.testing.assert_allclose(pair.difference, difference.mean())
    assert pair.by_patient.p == pytest.approx(stats.wilcoxon(difference.mean(axis=0)).pvalue)
    assert pair.by_reader.p == pytest.approx(stats.wilcoxon(difference.mean(axis=1)).pvalue)
    assert all(one.passed == 1 for one in found.readers) and len(found.preferences) == 3


def alpha(table):
    """Krippendorff's alpha of ordinal values by its definition: 1 - observed / expected disagreement."""
    table = np.asarray(table, float)
    values = np.unique(table[~np.isnan(table)])
    units = [column[~np.isnan(column)] for column in table.T]
    units = [unit for unit in units if len(unit) > 1]
    everything = np.concatenate(units)
    count = np.array([(everything == value).sum() for value in values])

    def distance(a, b):
        low, high = sorted((np.searchsorted(values, a), np.searchsorted(values, b)))
        return (count[low : high + 1].sum() - (count[low] + count[high]) / 2) ** 2

    observed = sum(
        distance(a, b) / (len(u) - 1)
        for u in units
        for i, a in enumerate(u)
        for j, b in enumerate(u)
        if i != j
    )
    expected = sum(
        distance(a, b) for i, a in enumerate(everything) for j, b in enumerate(everything) if i != j
    )
    return 1 - observed / (expected / (len(everything) - 1))


def test_agreement(tmp_path):
    pytest.importorskip("krippendorff")
    study, rng = scores(), np.random.default_rng(1)
    truth = {trial.code: int(rng.integers(1, 6)) for trial in study.trials}

    def noisy(reader):
        noise = np.random.default_rng(reader)
        given = {code: int(np.clip(value + noise.integers(-1, 2), 1, 5)) for code, value in truth.items()}
        if reader == 0:
            given["A3"] = None
        return given

    given = [noisy(reader) for reader in range(3)]
    files = [write(tmp_path / f"{r}.csv", study, f"R{r}", lambda t, r=r: given[r][t.code]) for r in range(3)]
    found = score_study(files, study)
    codes = [trial.code for trial in study.trials if not trial.catch]
    table = [[np.nan if each[code] is None else each[code] for code in codes] for each in given]
    assert found.agreement == pytest.approx(alpha(table)) and 0.3 < found.agreement < 0.95
    assert any("R0 answered 23 of 24 questions" in note for note in found.notes)


def test_who_does_not_look_is_named_and_can_be_left_out(tmp_path):
    study = pairs()
    files = [
        write(tmp_path / "1.csv", study, "R", choose("A")),
        write(tmp_path / "2.csv", study, "S", lambda _: "left"),
    ]
    found = score_study(files, study)
    assert any("S answered 0 of 2 catch trials right" in note for note in found.notes)
    assert score_study(files, study, exclude=["S"]).methods[0].mean == 1
    with pytest.raises(ConfigError, match=r"No answers are by 'T'. Readers: R, S"):
        score_study(files, study, exclude=["T"])


def test_the_key_is_found_beside_the_answers(tmp_path):
    study = pairs()
    study.save(tmp_path / "mine.key.json")
    path = write(tmp_path / "1.csv", study, "R", choose("B"))
    assert score_study([path, path]).methods[1].mean == 1
    (tmp_path / "mine.key.json").unlink()
    with pytest.raises(ConfigError, match="No key beside"):
        score_study([path])


def test_a_key_of_something_else_beside_them(tmp_path):
    study = pairs()
    (tmp_path / "a.key.json").write_text("{}")
    study.save(tmp_path / "z.key.json")
    assert score_study([write(tmp_path / "1.csv", study, "R", choose("B"))]).methods[1].mean == 1


@pytest.mark.parametrize("separator", [";", "\t"])
def test_answers_that_excel_saved(tmp_path, separator):
    study = pairs()
    plain = write(tmp_path / "plain.csv", study, "R", choose("A")).read_text()
    rows = [line.split(",") for line in plain.splitlines()]
    rows[1:] = [[*row[:4], "1,5"] for row in rows[1:]]
    path = tmp_path / "excel.csv"
    path.write_text("\r\n".join(map(separator.join, rows)) + "\r\n", encoding="utf-8-sig")
    found = score_study([path], study)
    assert found.methods[0].mean == 1 and found.readers[0].seconds == 1.5


def test_times_below_zero_are_no_times(tmp_path):
    study = pairs()
    path = write(tmp_path / "1.csv", study, "R", choose("A"))
    path.write_text(path.read_text().replace(",3\n", ",-5\n").replace(",1\n", ",-5\n"))
    assert score_study([path], study).readers[0].seconds == 2


def test_an_answer_of_nobody(tmp_path):
    study = pairs()
    with pytest.raises(DataError, match="does not say who answered t0"):
        score_study([write(tmp_path / "1.csv", study, " ", choose("A"))], study)


def test_bad_answers(tmp_path):
    study = pairs()
    other = Study("other", *list(vars(study).values())[1:])
    cases = [
        (write(tmp_path / "1.csv", other, "R", choose("A")), "is of the study other, the key is of s"),
        (
            write(tmp_path / "2.csv", study, "R", lambda _: "middle"),
            "the answer 'middle' to 't0', which the study has not",
        ),
    ]
    (tmp_path / "3.csv").write_text("a,b\n1,2\n")
    cases.append((tmp_path / "3.csv", "holds no answers"))
    for path, message in cases:
        with pytest.raises(DataError, match=message):
            score_study([path], study)
    files = [write(tmp_path / f"{m}.csv", study, "R", choose(m)) for m in "AB"]
    with pytest.raises(DataError, match="in another way than a file before it"):
        score_study(files, study)
    with pytest.raises(ConfigError, match="No answers"):
        score_study([], study)
