"""What the answers of readers say: mean scores, paired tests, agreement, and who looked."""

import collections
import contextlib
import csv
import dataclasses
import itertools
import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.readers.study import Study, Trial
from keras_mrisr.evaluation.statistics import PairedTest, bootstrap_interval, paired_wilcoxon
from keras_mrisr.types import PathLike

_COLUMNS = ("study", "reader", "trial", "answer", "seconds")
_LEAST_CAUGHT = 0.75


@dataclasses.dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: As it was given.
        answers: Number of answers, without those to catch trials.
        trials: Number of such trials.
        passed: Number of catch trials that were answered right.
        catches: Number of catch trials that were answered.
        seconds: Median time for an answer.
    """

    name: str
    answers: int
    trials: int
    passed: int
    catches: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class MethodScore:
    """The mean of one method: of its scores, or the share of its questions in which it was chosen.

    Attributes:
        method: The method.
        answers: Number of answers.
        mean: Mean over patients, of each the mean over its cases and the readers.
        low: Lower end of its 95 % interval (BCa bootstrap of patients); nan under three patients.
        high: Upper end.
    """

    method: str
    answers: int
    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Preference:
    """One method against another, on the same cases by the same readers.

    Attributes:
        first: The method.
        second: What it is compared with.
        difference: Mean over patients of first minus second: of scores, or of the shares in which each of the
            two was chosen from this pair (1: always the first, -1: always the second).
        low: Lower end of its 95 % interval over patients.
        high: Upper end.
        by_patient: Wilcoxon's signed-rank test over patients, their cases and the readers averaged.
        by_reader: The same over readers, all cases averaged.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    by_patient: PairedTest
    by_reader: PairedTest


@dataclasses.dataclass(frozen=True)
class StudyScore:
    """What a reader study found.

    Attributes:
        study: The `Study`.
        readers: A `Reader` each.
        methods: A `MethodScore` each.
        preferences: A `Preference` for every two methods.
        agreement: Krippendorff's alpha between readers: 1 is perfect, 0 is chance; nan for one reader, for
            answers that are all alike, or without the package krippendorff.
        notes: What a reader of these numbers must know.
    """

    study: Study
    readers: tuple[Reader, ...]
    methods: tuple[MethodScore, ...]
    preferences: tuple[Preference, ...]
    agreement: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain values; None for what is not finite."""
        values = dataclasses.asdict(self)
        del values["study"]
        return _plain({"study": self.study.name, "kind": self.study.kind, **values})

    def report(self) -> Any:
        """Tables and notes as a rich renderable."""
        from rich.console import Group
        from rich.text import Text

        methods = [
            (one.method, f"{one.mean:.2f}", _interval(one.low, one.high), str(one.answers))
            for one in self.methods
        ]
        pairs = [
            (
                f"{one.first} - {one.second}",
                f"{one.difference:+.2f}",
                _interval(one.low, one.high, "+"),
                _number(one.by_patient.p, 3),
                _number(one.by_reader.p, 3),
            )
            for one in self.preferences
        ]
        readers = [
            (
                one.name,
                f"{one.answers} of {one.trials}",
                f"{one.passed} of {one.catches}",
                f"{_number(one.seconds, 1)} s",
            )
            for one in self.readers
        ]
        title = "Scores, 1 to 5" if self.study.kind == "scores" else "How often it was chosen, 0 to 1"
        return Group(
            _table(title, methods, ("mean", "95 % interval", "answers")),
            _table("Differences, paired", pairs, ("mean", "95 % interval", "p, patients", "p, readers")),
            _table("Readers", readers, ("answers", "catch trials", "median time")),
            Text(f"Agreement between readers (Krippendorff's alpha): {_number(self.agreement, 2)}"),
            *(Text(f"Note: {note}", style="yellow") for note in self.notes),
        )


@dataclasses.dataclass(frozen=True)
class _Answer:
    reader: str
    trial: Trial
    answer: str
    seconds: float


def score_study(
    answers: Sequence[PathLike], key: PathLike | Study | None = None, *, exclude: Sequence[str] = ()
) -> StudyScore:
    """Scores the answers that readers saved.

    Args:
        answers: CSV files out of the page, one or several a reader.
        key: The key that `make_study` wrote, or its path; by default the one *.key.json beside the first file
            that is of its study.
        exclude: Names of readers that are left out.

    Raises:
        DataError: A file is no answer to this study, or readers contradict themselves.
        ConfigError: There is no answer, no key, or an excluded reader is unknown.
    """
    if not answers:
        raise ConfigError("No answers: give the CSV files that readers saved.")
    study = key if isinstance(key, Study) else Study.load(key or _find_key(pathlib.Path(answers[0])))
    kept = _without(_merged(answers, study), exclude)
    asked = [one for one in kept if not one.trial.catch]
    if not asked:
        raise ConfigError("No answers are left: give the files of other readers.")
    readers = _readers(study, kept)
    agreement, notes = _agreement(study, asked)
    return StudyScore(
        study,
        readers,
        tuple(_method_score(method, asked) for method in study.methods),
        tuple(_preference(*pair, asked) for pair in itertools.combinations(study.methods, 2)),
        agreement,
        (*_notes(readers, asked), *notes),
    )


def _merged(paths: Sequence[PathLike], study: Study) -> list[_Answer]:
    """The answers in several files, each once."""
    found: dict[tuple[str, str], _Answer] = {}
    for path in paths:
        for one in _read(pathlib.Path(path), study):
            before = found.setdefault((one.reader, one.trial.code), one)
            if before.answer != one.answer:
                raise DataError(
                    f"{path} answers {one.trial.code} of {one.reader} in another way than a file before it: "
                    "give one file of each reader, the last one."
                )
    return list(found.values())


def _without(answers: Sequence[_Answer], exclude: Sequence[str]) -> list[_Answer]:
    """The answers but for those of some readers."""
    known = {one.reader for one in answers}
    for name in exclude:
        if name not in known:
            raise ConfigError(f"No answers are by {name!r}. Readers: {', '.join(sorted(known))}.")
    return [one for one in answers if one.reader not in exclude]


def _find_key(answers: pathlib.Path) -> pathlib.Path:
    names = {row["study"] for row in _rows(answers)}
    for path in sorted(answers.parent.glob("*.key.json")):
        with contextlib.suppress(DataError):  # What is no key, or a broken one, is not the one.
            if Study.load(path).name in names:
                return path
    raise ConfigError(f"No key beside {answers} is of its study: give `key`, which mrisr readers make wrote.")


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            # Excel writes what stands between values in the country of its user.
            head = stream.readline()
            separator = max(",;\t", key=head.count)
            stream.seek(0)
            rows = list(csv.DictReader(stream, delimiter=separator))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: give a file that a reader saved.") from error
    if not rows or any(row.get(name) is None for row in rows for name in _COLUMNS):
        raise DataError(
            f"{path} holds no answers: a file that a reader saved has the columns {', '.join(_COLUMNS)}."
        )
    return rows


def _read(path: pathlib.Path, study: Study) -> list[_Answer]:
    trials = {trial.code: trial for trial in study.trials}
    found = []
    for row in _rows(path):
        if row["study"] != study.name:
            raise DataError(f"{path} is of the study {row['study']}, the key is of {study.name}.")
        if row["trial"] not in trials or row["answer"] not in study.answers:
            raise DataError(
                f"{path} holds the answer {row['answer']!r} to {row['trial']!r}, which the study has not."
            )
        if not row["reader"].strip():
            raise DataError(f"{path} does not say who answered {row['trial']}: give the reader's name there.")
        try:
            seconds = float(row["seconds"].replace(",", "."))
        except ValueError:
            seconds = math.nan
        if seconds < 0:
            seconds = math.nan
        found.append(_Answer(row["reader"], trials[row["trial"]], row["answer"], seconds))
    return found


def _readers(study: Study, answers: Sequence[_Answer]) -> tuple[Reader, ...]:
    number = sum(not trial.catch for trial in study.trials)
    found = []
    for name in dict.fromkeys(one.reader for one in answers):
        own = [one for one in answers if one.reader == name]
        catches = [one for one in own if one.trial.catch]
        passed = sum(one.trial.passed(one.answer) for one in catches)
        times = [one.seconds for one in own if math.isfinite(one.seconds)]
        seconds = statistics.median(times) if times else math.nan
        found.append(Reader(name, len(own) - len(catches), number, passed, len(catches), seconds))
    return tuple(found)


def _notes(readers: Iterable[Reader], answers: Sequence[_Answer]) -> list[str]:
    notes = []
    for one in readers:
        if one.catches and one.passed < _LEAST_CAUGHT * one.catches:
            notes.append(
                f"{one.name} answered {one.passed} of {one.catches} catch trials right: did the page work? "
                f"Leave this reader out with `exclude`."
            )
        if one.answers < one.trials:
            notes.append(f"{one.name} answered {one.answers} of {one.trials} questions.")
    patients = len({one.trial.patient for one in answers})
    if patients < 3:
        notes.append("Under three patients: no interval can be given.")
    return notes


def _values(answer: _Answer) -> dict[str, float]:
    """Method -> its score, or whether it was chosen."""
    methods = answer.trial.methods
    if len(methods) == 1:
        return {methods[0]: float(answer.answer)}
    return {
        method: float(side == answer.answer) for method, side in zip(methods, ("left", "right"), strict=True)
    }


def _method_score(method: str, answers: Sequence[_Answer]) -> MethodScore:
    by_patient = collections.defaultdict(list)
    for one in answers:
        if method in one.trial.methods:
            by_patient[one.trial.patient].append(_values(one)[method])
    means = [float(np.mean(values)) for values in by_patient.values()]
    mean = float(np.mean(means)) if means else math.nan
    low, high = bootstrap_interval(means)
    return MethodScore(method, sum(map(len, by_patient.values())), mean, low, high)


def _preference(first: str, second: str, answers: Sequence[_Answer]) -> Preference:
    # Reader and case -> the values of both; for pairs out of one answer, for scores out of two.
    both: dict[tuple[str, str, str], dict[str, float]] = collections.defaultdict(dict)
    for one in answers:
        if len(one.trial.methods) == 1 or set(one.trial.methods) == {first, second}:
            both[one.reader, one.trial.patient, one.trial.case] |= _values(one)
    differences = {key: of[first] - of[second] for key, of in both.items() if {first, second} <= of.keys()}
    patients, readers = (_grouped(differences, place) for place in (1, 0))
    low, high = bootstrap_interval(patients)
    return Preference(
        first,
        second,
        float(np.mean(patients)) if len(patients) else math.nan,
        low,
        high,
        *(paired_wilcoxon(values, np.zeros(len(values))) for values in (patients, readers)),
    )


def _grouped(differences: dict[tuple[str, str, str], float], place: int) -> np.ndarray:
    groups = collections.defaultdict(list)
    for key, value in differences.items():
        groups[key[place]].append(value)
    return np.array([np.mean(values) for values in groups.values()])


def _agreement(study: Study, answers: Sequence[_Answer]) -> tuple[float, list[str]]:
    readers = list(dict.fromkeys(one.reader for one in answers))
    if len(readers) < 2:
        return math.nan, []
    try:
        import krippendorff
    except ImportError:
        return math.nan, [
            "Agreement between readers needs the package krippendorff: pip install 'keras-mrisr[readers]'."
        ]
    codes = [trial.code for trial in study.trials]
    table = np.full((len(readers), len(codes)), np.nan)
    for one in answers:
        value = study.answers.index(one.answer)
        table[readers.index(one.reader), codes.index(one.trial.code)] = value
    level = "ordinal" if study.kind == "scores" else "nominal"
    try:
        return float(krippendorff.alpha(reliability_data=table, level_of_measurement=level)), []
    except ValueError:  # All answers are alike, or no question has two.
        return math.nan, ["No agreement can be given: all answers are alike, or no question has two."]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return finite_or_none(value) if isinstance(value, float) else value


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"{low:{sign}.2f} to {high:{sign}.2f}" if math.isfinite(low) else "-"


def _table(title: str, rows: Iterable[Sequence[str]], columns: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name, *cells in rows:
        table.add_row(Text(name), *cells)
    return table
