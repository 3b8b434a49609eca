"""Which patients a model may be evaluated on: none that it was trained on."""

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keras_mrisr.data import Split
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.errors import ConfigError, DataError, MrisrError
from keras_mrisr.types import PathLike

Splits = Mapping[str, Split | None]
"""Name of a model -> its `Split`, or None when it has none."""
Choice = tuple[tuple[str, ...], str, tuple[str, ...]]
"""The chosen patients, what they are, and notes."""

PARTS = ("test", "val", "all-unseen", "held-out")
_TELLING = 10  # Letters of a patient's name by which a file is known: "sub-01" is in every data set.
# Each part of an evaluation: the parts of the split that it takes; None stands for strangers to the split.
_TAKEN: dict[str, tuple[str | None, ...]] = {
    "test": ("test",),
    "val": ("val",),
    "all-unseen": ("test", None),
    "held-out": ("val", "test", None),
}


def choose_patients(present: Iterable[str], split: Split | None, part: str = "test") -> Choice:
    """Picks the patients of a data set that belong to a part of the model's split.

    "test" and "val" are the split's own; "all-unseen" is every patient that neither trained the model
    nor chose among its checkpoints: the test part and patients that the split doesn't know. When the
    data set holds no patient of the split at all, every patient is unseen and all are taken. "held-out" adds
    the validation patients, which chose the checkpoint but did not train the model: for data sets whose test
    part is too small for statistics.

    Args:
        present: Names of the patients in the data set.
        split: A `Split`, or None when the model has none.
        part: "test", "val", "all-unseen" or "held-out".

    Returns:
        (patients, part, notes): a sorted tuple of names; what they are ("test", "val", "all-unseen", or
        "unknown" when the model has no split); a tuple of lines that say what was left out or could
        not be checked.

    Raises:
        ConfigError: Unknown part.
        DataError: No patient is left.
    """
    check_part(part)
    present = sorted(set(present))
    if split is None:
        note = f"The model does not say whom it was trained on: all {_count(present)} are taken, seen or not."
        return tuple(present), "unknown", (note,)
    known: dict[str | None, list[str]] = {"train": [], "val": [], "test": [], None: []}
    for patient in present:
        known[split.part_of(patient)].append(patient)
    if len(known[None]) == len(present):
        return tuple(present), "all-unseen", (_note_on_strangers(present, split),)
    chosen = sorted(patient for group in _TAKEN[part] for patient in known[group])
    if not chosen:
        there = ", ".join(
            f"{name or 'outside the split'}: {len(patients)}" for name, patients in known.items()
        )
        raise DataError(
            f"The data holds no patient of the part {part!r} ({there}). "
            f"Choose another part ({', '.join(PARTS)}) or give patients that did not train the model."
        )
    return tuple(chosen), part, tuple(_notes_on_the_others(known, part))


def check_part(part: str, known: Sequence[str] = PARTS) -> None:
    """Raises ConfigError for an unknown part."""
    if part not in known:
        raise ConfigError(f"Unknown part {part!r} of the split. Choose one of {', '.join(known)}.")


def _note_on_strangers(present: Sequence[str], split: Split) -> str:
    note = f"None of the {_count(present)} is in the model's split: all are unseen and evaluated."
    # The same folders read from one level higher have longer names, and would pass for new patients.
    ends = {_last(patient) for patient in split.patients}
    alike = sorted({_last(one) for one in present if _last(one) in ends or _ends_in(one, split)})
    if alike:
        note += (
            f" But {len(alike)} names end alike ({alike[0]!r}): "
            "if it is the data of the training, give the same root folder as there."
        )
    return note


def _ends_in(patient: str, split: Split) -> bool:
    """Whether the split knows a patient by the last folders of a name; its digests cannot be cut."""
    folders = patient.split("/")
    return any(split.part_of("/".join(folders[first:])) for first in range(1, len(folders)))


def _notes_on_the_others(known: Mapping[str | None, list[str]], part: str) -> Iterator[str]:
    if seen := known["train"]:
        yield f"{_count(seen)} of the data trained the model and {_are(seen)} left out."
    if part == "held-out":
        if known["val"]:
            yield f"{_count(known['val'])} chose the model's checkpoint, but did not train it."
        return
    other = "test" if part == "val" else "val"
    if known[other]:
        yield f"{_count(known[other])} of the {other} part {_are(known[other])} left out."
    if (strangers := known[None]) and part != "all-unseen":
        left = f"{_count(strangers)} outside the model's split {_are(strangers)} left out"
        yield f"{left}: part all-unseen takes them."


def check_renamed(dataset: SliceDataset, splits: Splits) -> None:
    """Refuses data in which patients who trained a model go by other names, as if they were unseen.

    Args:
        dataset: The `SliceDataset` to evaluate on.
        splits: As for `choose_common_patients`.

    Raises:
        DataError: A file whose path names a patient of a model's training or validation part belongs to
            none of the split's patients, by the way that patients are read from paths.
    """
    known = [split for split in splits.values() if split is not None]
    for record in dataset.slices:
        if any(split.part_of(record.patient) for split in known):
            continue
        found = _seen_in(str(record.path.relative_to(dataset.root)), known)
        if found:
            raise DataError(
                f"{record.path} is read as of patient {record.patient!r}, but {found} trained the model "
                "or chose its checkpoint. Read patients as in training: give the same root folder, `kind` "
                "and `patient_pattern`."
            )


def _seen_in(path: str, splits: Sequence[Split]) -> str | None:
    """A patient's name of ten letters or more in a path, whole words, who trained or validated a model."""
    words = list(re.finditer(r"[^\W_]+", path))
    for place, first in enumerate(words):
        for last in words[place:]:
            name = path[first.start() : last.end()]
            if len(name) >= _TELLING and any(split.part_of(name) in ("train", "val") for split in splits):
                return name
    return None


def choose_common_patients(present: Iterable[str], splits: Splits, part: str = "test") -> Choice:
    """Picks the patients that belong to a part of every model's split.

    Args:
        present: Names of the patients in the data set.
        splits: Dict name of a model -> its `Split`, or None when it has none.
        part: As in `choose_patients`.

    Returns:
        As `choose_patients`; the notes name the models where these differ. Without any model all patients
        are taken, as "unknown".

    Raises:
        ConfigError: Unknown part.
        DataError: No patient is left for some model, or no patient is left that is in the part for all of
            them.
    """
    present = sorted(set(present))
    if not splits:
        return tuple(present), "unknown", (f"No model says whom it was trained on: all {_count(present)}.",)
    # Splits of packed models may be the same under other digests: what they say of these patients counts.
    if len({split and tuple(map(split.part_of, present)) for split in splits.values()}) == 1:
        return choose_patients(present, next(iter(splits.values())), part)
    choices = {name: _choose_for(name, present, split, part) for name, split in splits.items()}
    chosen = {name: set(patients) for name, (patients, _, _) in choices.items()}
    common = sorted(set.intersection(*chosen.values()))
    if not common:
        counts = ", ".join(f"{name}: {len(patients)}" for name, patients in chosen.items())
        raise DataError(
            f"No patient is in the part {part!r} of every model ({counts}): they were split differently. "
            "Compare models of one split (the same data, seed and fractions), or give data new to all."
        )
    notes = [f"{name}: {note}" for name, (_, _, own) in choices.items() for note in own]
    notes += _left_out(sorted(set.union(*chosen.values()) - set(common)))
    return tuple(common), " / ".join(dict.fromkeys(own for _, own, _ in choices.values())), tuple(notes)


def _choose_for(name: str, present: Sequence[str], split: Split | None, part: str) -> Choice:
    """What `choose_patients` gives for one of several models."""
    try:
        return choose_patients(present, split, part)
    except MrisrError as error:
        raise type(error)(f"{name}: {error}") from error


def _left_out(patients: Sequence[str]) -> list[str]:
    """The note about patients in the part of some model only, if there are any."""
    if not patients:
        return []
    names = ", ".join(patients[:5]) + (", ..." if len(patients) > 5 else "")
    of = f"{_count(patients)} in the part of one model but not of all"
    return [f"{of} {_are(patients)} left out: {names}."]


def seen_by(path: PathLike, splits: Splits) -> list[str]:
    """Says which models know the patient whom the path of a slice names.

    A folder's name, or that of the file without its ending and number, must be that of the patient.

    Args:
        path: Of the slice.
        splits: Dict name of a model -> its `Split`, or None when it has none.

    Returns:
        List of lines, such as "Patient p1 trained A, B."; empty where nothing is known.
    """
    path = pathlib.Path(path).absolute()
    folders = [*path.parent.parts[1:], path.stem, path.stem.rpartition("_")[0]]
    ends = range(1, len(folders) + 1)
    names = dict.fromkeys("/".join(folders[first:last]) for last in ends for first in range(last))
    did = {"train": "trained", "val": "chose the checkpoint of"}
    found: dict[tuple[str, str], list[str]] = {}
    for model, split in splits.items():
        for name in names:
            part = split and split.part_of(name)
            if part in did:
                found.setdefault((name, did[part]), []).append(model)
    return [f"Patient {patient} {how} {', '.join(models)}." for (patient, how), models in found.items()]


def _last(patient: str) -> str:
    return patient.rsplit("/", 1)[-1]


def _count(patients: Sequence[str]) -> str:
    return f"{len(patients)} patient" + ("s" if len(patients) != 1 else "")


def _are(patients: Sequence[str]) -> str:
    return "are" if len(patients) != 1 else "is"
