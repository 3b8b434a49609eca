"""Which patients a model may be evaluated on: none that it was trained on."""

import pathlib
import re

from keras_mrisr.errors import DataError, MrisrError

PARTS = ("test", "val", "all-unseen", "held-out")
_TELLING = 10  # Letters of a patient's name by which a file is known: "sub-01" is in every data set.


def choose_patients(present, split, part="test"):
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
        DataError: Unknown part, or no patient is left.
    """
    if part not in PARTS:
        raise DataError(f"Unknown part {part!r} of the split. Choose one of {', '.join(PARTS)}.")
    present = sorted(set(present))
    if split is None:
        note = f"The model does not say whom it was trained on: all {_count(present)} are taken, seen or not."
        return tuple(present), "unknown", (note,)
    known = {name: [p for p in present if p in getattr(split, name)] for name in ("train", "val", "test")}
    strangers = [p for p in present if split.part_of(p) is None]
    if len(strangers) == len(present):
        note = f"None of the {_count(present)} is in the model's split: all are unseen and evaluated."
        # The same folders read from one level higher have longer names, and would pass for new patients.
        alike = {_last(p) for p in present} & {_last(p) for p in split.patients}
        if alike:
            note += (
                f" But {len(alike)} names end alike ({sorted(alike)[0]!r}): "
                "if it is the data of the training, give the same root folder as there."
            )
        return tuple(present), "all-unseen", (note,)
    groups = {
        "all-unseen": known["test"] + strangers,
        "held-out": known["val"] + known["test"] + strangers,
    }
    chosen = sorted(groups[part]) if part in groups else known[part]
    notes = []
    if known["train"]:
        seen = known["train"]
        notes.append(f"{_count(seen)} of the data trained the model and {_are(seen)} left out.")
    other = {"test": "val", "val": "test", "all-unseen": "val"}.get(part)
    if part == "held-out" and known["val"]:
        notes.append(f"{_count(known['val'])} chose the model's checkpoint, but did not train it.")
    elif other and known[other]:
        notes.append(f"{_count(known[other])} of the {other} part {_are(known[other])} left out.")
    if strangers and part not in groups:
        left = f"{_count(strangers)} outside the model's split {_are(strangers)} left out"
        notes.append(f"{left}: part all-unseen takes them.")
    if not chosen:
        there = {**known, "outside the split": strangers}
        there = ", ".join(f"{name}: {len(patients)}" for name, patients in there.items())
        raise DataError(
            f"The data holds no patient of the part {part!r} ({there}). "
            f"Choose another part ({', '.join(PARTS)}) or give patients that did not train the model."
        )
    return tuple(chosen), part, tuple(notes)


def check_renamed(dataset, splits):
    """Refuses data in which patients who trained a model go by other names, as if they were unseen.

    Args:
        dataset: The `SliceDataset` to evaluate on.
        splits: As for `choose_common_patients`.

    Raises:
        DataError: A file whose path names a patient of a model's training or validation part belongs to
            none of the split's patients, by the way that patients are read from paths.
    """
    splits = [split for split in splits.values() if split is not None]
    names = {name for split in splits for name in (*split.train, *split.val) if len(name) >= _TELLING}
    if not names:
        return
    pattern = re.compile(rf"(?<![^\W_])({'|'.join(map(re.escape, sorted(names)))})(?![^\W_])")
    known = {name for split in splits for name in split.patients}
    for record in dataset.slices:
        found = pattern.search(str(record.path.relative_to(dataset.root)))
        if found and record.patient not in known:
            raise DataError(
                f"{record.path} is read as of patient {record.patient!r}, but {found[1]} trained the model "
                "or chose its checkpoint. Read patients as in training: give the same root folder, --kind "
                "and --patient-pattern."
            )


def choose_common_patients(present, splits, part="test"):
    """Picks the patients that belong to a part of every model's split.

    Args:
        present: Names of the patients in the data set.
        splits: Dict name of a model -> its `Split`, or None when it has none.
        part: As in `choose_patients`.

    Returns:
        As `choose_patients`; the notes name the models where these differ. Without any model all patients
        are taken, as "unknown".

    Raises:
        DataError: Unknown part, no patient is left for some model, or no patient is left that is in
            the part for all of them.
    """
    if not splits:
        present = sorted(set(present))
        return tuple(present), "unknown", (f"No model says whom it was trained on: all {_count(present)}.",)
    if len({split and (split.train, split.val, split.test) for split in splits.values()}) == 1:
        return choose_patients(present, next(iter(splits.values())), part)
    chosen, parts, notes = {}, [], []
    for name, split in splits.items():
        try:
            patients, own_part, own_notes = choose_patients(present, split, part)
        except MrisrError as error:
            raise DataError(f"{name}: {error}") from error
        chosen[name] = set(patients)
        parts.append(own_part)
        notes += [f"{name}: {note}" for note in own_notes]
    common = sorted(set.intersection(*chosen.values()))
    if not common:
        counts = ", ".join(f"{name}: {len(patients)}" for name, patients in chosen.items())
        raise DataError(
            f"No patient is in the part {part!r} of every model ({counts}): they were split differently. "
            "Compare models of one split (the same data, seed and fractions), or give data new to all."
        )
    left = sorted(set.union(*chosen.values()) - set(common))
    if left:
        notes.append(
            f"{_count(left)} in the part of one model but not of all {_are(left)} left out: "
            f"{', '.join(left[:5])}{', ...' if len(left) > 5 else ''}."
        )
    return tuple(common), " / ".join(dict.fromkeys(parts)), tuple(notes)


def seen_by(path, splits):
    """Says which models know the patient whom the path of a slice names.

    A folder's name, or that of the file without its ending and number, must be that of the patient.

    Args:
        path: Of the slice.
        splits: Dict name of a model -> its `Split`, or None when it has none.

    Returns:
        List of lines, such as "Patient p1 trained A, B."; empty where nothing is known.
    """
    path = pathlib.Path(path).absolute()
    names = "/".join(["", *path.parent.parts[1:], path.stem, path.stem.rpartition("_")[0], ""])
    found = {}
    for model, split in splits.items():
        for part, did in (("train", "trained"), ("val", "chose the checkpoint of")):
            for patient in getattr(split, part, ()):
                if f"/{patient}/" in names:
                    found.setdefault((patient, did), []).append(model)
    return [f"Patient {patient} {did} {', '.join(models)}." for (patient, did), models in found.items()]


def _last(patient):
    return patient.rsplit("/", 1)[-1]


def _count(patients):
    return f"{len(patients)} patient" + ("s" if len(patients) != 1 else "")


def _are(patients):
    return "are" if len(patients) != 1 else "is"
