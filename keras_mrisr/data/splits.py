"""Splits by patient, repeatable from a seed, which stay put when patients are added."""

import dataclasses
import functools
import hashlib
import logging
import math
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Self

from keras_mrisr.errors import DataError
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

_MIN_SITE = 4  # A site of at least so many patients is represented in every part.


@dataclasses.dataclass(frozen=True)
class Split:
    """Which patients train, validate and test.

    Attributes:
        train: Patients to train on, sorted.
        val: Patients for choosing and watching, sorted.
        test: Patients for the final number, sorted.
        seed: The seed that made the split.
        fractions: The (validation, test) fractions that were asked for.
        salt: Where it is not empty, the parts hold digests in place of names: see `anonymised`.

    Raises:
        DataError: A patient is in two parts, or twice in one.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    seed: int = 0
    fractions: tuple[float, float] = (0.1, 0.1)
    salt: str = ""

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            object.__setattr__(self, part, tuple(sorted(getattr(self, part))))
        object.__setattr__(self, "fractions", tuple(self.fractions))
        check_disjoint(train=self.train, val=self.val, test=self.test)

    @property
    def patients(self) -> tuple[str, ...]:
        """All patients of the three parts, sorted."""
        return tuple(sorted((*self.train, *self.val, *self.test)))

    def part_of(self, patient: str) -> str | None:
        """ "train", "val", "test", or None for a patient that the split doesn't know."""
        return self._parts.get(self.stored_name(patient))

    @functools.cached_property
    def _parts(self) -> dict[str, str]:
        return {name: part for part in ("train", "val", "test") for name in getattr(self, part)}

    def stored_name(self, patient: str) -> str:
        """What stands in the parts for a patient: the name, or its digest where the split has a salt."""
        if not self.salt:
            return patient
        return hashlib.sha256(f"{self.salt}:{patient}".encode()).hexdigest()[:16]

    def anonymised(self) -> Self:
        """The split with salted digests in place of names, for files that are handed on.

        `part_of` still recognises each patient by name. This hides names from a reader, not from somebody who
        can guess them: whoever has the digests and a list of possible names can try every one of them.
        A split that has a salt already stays as it is.
        """
        if self.salt:
            return self
        salted = dataclasses.replace(self, train=(), val=(), test=(), salt=secrets.token_hex(16))
        train, val, test = (
            tuple(map(salted.stored_name, part)) for part in (self.train, self.val, self.test)
        )
        return dataclasses.replace(salted, train=train, val=val, test=test)

    def to_dict(self) -> dict:
        """The split as plain lists and numbers, for JSON."""
        return {
            "train": list(self.train),
            "val": list(self.val),
            "test": list(self.test),
            "seed": self.seed,
            "fractions": {"val": self.fractions[0], "test": self.fractions[1]},
            **({"salt": self.salt} if self.salt else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Self:
        """The split that `to_dict` wrote.

        Raises:
            DataError: A part is missing, is not a list of names, or shares a patient with another.
        """
        try:
            parts = {part: values[part] for part in ("train", "val", "test")}
            fractions = (float(values["fractions"]["val"]), float(values["fractions"]["test"]))
            seed, salt = int(values["seed"]), str(values.get("salt", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the stored split is broken ({error!r}): make it again with split_patients"
            ) from error
        for part, names in parts.items():
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise DataError(
                    f"the stored split's {part!r} is not a list of patients: make the split again"
                )
        parts = {part: tuple(names) for part, names in parts.items()}
        return cls(**parts, seed=seed, fractions=fractions, salt=salt)


def check_disjoint(**parts: Iterable[str]) -> None:
    """Asserts that no patient is in two of the named parts, or twice in one.

    Example: `check_disjoint(train=train_set.patients, test=test_set.patients)`.

    Raises:
        DataError: Names the patient and both parts.
    """
    owner: dict[str, str] = {}
    for part, patients in parts.items():
        for patient in patients:
            if patient in owner:
                places = f"both {owner[patient]} and {part}" if owner[patient] != part else f"{part} twice"
                raise DataError(f"patient {patient!r} is in {places}: a patient may be in one part only")
            owner[patient] = part


def split_patients(
    sites: Mapping[str, str | None], seed: int = 0, val_fraction: float = 0.1, test_fraction: float = 0.1
) -> Split:
    """Splits patients into training, validation and test, each site for itself.

    A patient's two draws in [0, 1) are hashes of the seed and the name. In each site, draws under
    `test_fraction` test, and of the rest draws under `val_fraction / (1 - test_fraction)` validate; a
    site of at least four patients, and the whole set, also give the patient with the smallest draw.

    Adding patients moves no earlier patient out of training into a held-out part, nor from validation
    to test. Proof: a draw depends on nothing but the patient, so "under the fraction" never changes,
    and whoever has the smallest draw among more patients had it among fewer, so nobody newly enters
    the test part. Those who do not test therefore only grow in number, and the same two
    arguments apply to validation among them.

    Two exceptions, both of tiny sets: a site that grows past three patients begins to give its
    smallest draws, and where draws under the fractions would leave a part without a patient,
    those with the largest are given back to the later parts (and may return once there are more).

    Args:
        sites: The site of every patient; None (no site) is a group of its own.
        seed: Any integer.
        val_fraction: Expected part of the patients to validate on; 0 for none.
        test_fraction: Expected part of the patients to test on; 0 for none.

    Returns:
        The split; every part whose fraction is over 0 has a patient.

    Raises:
        DataError: Fractions that leave nothing to train on, or fewer patients than parts.
    """
    _check_fractions(val_fraction, test_fraction)
    wanted = 1 + (val_fraction > 0) + (test_fraction > 0)
    if len(sites) < wanted:
        # Without patients to validate on there is nothing to choose the best checkpoint by.
        none_tests = ", set `test_fraction` to 0" if len(sites) == 2 else ""
        raise DataError(
            f"{len(sites)} patient(s) are too few to split into {wanted} parts, for a patient stays whole:"
            f" give more patients{none_tests}, or say with a patient pattern which file is whose"
        )
    groups: dict[str | None, list[str]] = {}
    for patient, site in sites.items():
        groups.setdefault(site, []).append(patient)

    large = {site for site, patients in groups.items() if len(patients) >= _MIN_SITE}
    test = _hold_out(groups, large, "test", seed, test_fraction, spare=wanted - 1)
    rest = {
        site: [patient for patient in patients if patient not in test] for site, patients in groups.items()
    }
    val = _hold_out(rest, large, "val", seed, val_fraction / (1 - test_fraction), spare=1)
    train = set(sites) - test - val
    return Split(tuple(train), tuple(val), tuple(test), seed=seed, fractions=(val_fraction, test_fraction))


def _hold_out(
    groups: Mapping[str | None, Collection[str]],
    large: Collection[str | None],
    part: str,
    seed: int,
    fraction: float,
    spare: int,
) -> set[str]:
    """The patients of all groups that go to a part, at most all but `spare`; `large` groups give one."""
    if fraction <= 0:
        return set()
    draws = {patient: _draw(seed, part, patient) for patients in groups.values() for patient in patients}
    held = {patient for patient, draw in draws.items() if draw < fraction}
    for site, patients in groups.items():
        if patients and site in large:
            held.add(min(patients, key=draws.__getitem__))
    if not held:
        held.add(min(draws, key=draws.__getitem__))
    return set(sorted(held, key=draws.__getitem__)[: len(draws) - spare])


def _draw(seed: int, part: str, patient: str) -> float:
    digest = hashlib.sha256(f"{seed}:{part}:{patient}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits are exact in a float and stay below 1.


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not (math.isfinite(fraction) and 0 <= fraction < 1):
            raise DataError(f"{name} must be in [0, 1). Received: {name}={fraction}")
    if val_fraction + test_fraction >= 1:
        raise DataError(
            "val_fraction + test_fraction must stay below 1 to leave patients to train on."
            f" Received: {val_fraction} + {test_fraction}"
        )


def continued_split(split: Split, model: PathLike, taught: dict) -> Split:
    """A split for a training that starts from a model: whom the model knows stays in the part it has there.

    So what the model held out is held out for good, and what trained it tests nothing.

    Args:
        split: That of the data, as if the training began with nothing.
        model: The model, for the message.
        taught: Its own split, as `Split.to_dict()`; empty if it has none.

    Raises:
        DataError: The model holds out all of these patients, or was trained with all.
    """
    if not taught:
        return split
    earlier = Split.from_dict(taught)
    part_of = {patient: earlier.part_of(patient) or split.part_of(patient) for patient in split.patients}
    train, val, test = (
        tuple(patient for patient, own in part_of.items() if own == part) for part in ("train", "val", "test")
    )
    new = dataclasses.replace(split, train=train, val=val, test=test)
    _check_parts_left(split, new, model)
    if moved := sum(part != split.part_of(patient) for patient, part in part_of.items()):
        log.info("%d of %d patients stay in the part that they have in %s", moved, len(part_of), model)
    return new


def _check_parts_left(before: Split, after: Split, model: PathLike) -> None:
    if before.train and not after.train:
        raise DataError(f"{model} holds out all of these patients: give others to train on.")
    for part, fraction in (("val", "validation_fraction"), ("test", "test_fraction")):
        if getattr(before, part) and not getattr(after, part):
            raise DataError(
                f"With the patients that {model} knows in the parts that they have there, no patient is left "
                f"for {part}: give more patients, or set data.{fraction} to 0."
            )


def check_unseen(key: str, model: PathLike, taught: dict, split: Split) -> None:
    """Checks that a model that a run begins with or is led by knows no patient that the run holds out.

    Args:
        key: The config's key that names the model, for the message.
        model: The model.
        taught: Its own split, as `Split.to_dict()` or a part of that.
        split: The run's.

    Raises:
        DataError: Its training patients validate or test here, or its validation patients test.
    """
    stored_name = Split((), (), (), salt=taught.get("salt", "")).stored_name
    trained, validated = (set(taught.get(part, ())) for part in ("train", "val"))
    seen = {patient for patient in (*split.val, *split.test) if stored_name(patient) in trained}
    seen |= {patient for patient in split.test if stored_name(patient) in validated}
    if seen:
        raise DataError(
            f"{key}: {model} was trained with {len(seen)} patient(s) that this run holds out "
            f"({min(seen)}, ...): its scores would be worth nothing. Train both with the same "
            "data.split_seed and fractions."
        )
