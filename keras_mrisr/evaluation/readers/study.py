"""What a reader study asks, and the key that says which image was which."""

import dataclasses
import json
import pathlib
from typing import Any, Self

from keras_mrisr.errors import DataError
from keras_mrisr.files import write_json
from keras_mrisr.types import PathLike

ORIGINAL, COARSE = "original", "coarse"
"""The HR image, and one of 8x8 blocks that nobody takes for it: what catch trials show."""

KINDS = {
    "nearer": "Which image is nearer to the original?",
    "real": "Which image looks like a real scan?",
    "scores": "How good is this image? 1 is bad, 5 is excellent.",
}
SCORES = ("1", "2", "3", "4", "5")
SIDES = ("left", "right")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One question to a reader.

    Attributes:
        code: Its name in page and answers, which says nothing.
        patient: Whose slice it shows.
        case: The slice, relative to the data.
        methods: What is shown: (left, right), or for scores (one,).
        catch: Whether it is there to see that the reader looks.
    """

    code: str
    patient: str
    case: str
    methods: tuple[str, ...]
    catch: bool = False

    def passed(self, answer: str) -> bool:
        """Whether an answer to a catch trial is that of somebody who looks."""
        if len(self.methods) == 1:
            return answer in SCORES[:2]
        return self.methods[SIDES.index(answer)] == ORIGINAL


@dataclasses.dataclass(frozen=True)
class Study:
    """The key of a study.

    Attributes:
        name: What page and answers are called by.
        kind: One of `KINDS`.
        methods: Names of what is compared.
        sources: Where each of them comes from.
        seed: Of the order and the sides.
        trials: The trials in the order in which they are shown.
    """

    name: str
    kind: str
    methods: tuple[str, ...]
    sources: dict[str, str]
    seed: int
    trials: tuple[Trial, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that a trial can have."""
        return SCORES if self.kind == "scores" else SIDES

    def save(self, path: PathLike) -> None:
        """Writes the key as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Reads what `save` wrote.

        Raises:
            DataError: No such file, or no key of a study.
        """
        try:
            values: dict[str, Any] = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            trials = tuple(Trial(**{**one, "methods": tuple(one["methods"])}) for one in values["trials"])
            study = cls(**{**values, "methods": tuple(values["methods"]), "trials": trials})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path} is no key of a reader study: give the .key.json that mrisr readers make wrote."
            ) from error
        if study.kind not in KINDS:
            raise DataError(f"{path} is of an unknown kind of study, {study.kind!r}: {', '.join(KINDS)}.")
        return study


def key_path(page: PathLike) -> pathlib.Path:
    """Where the key of a page lies: study.html has study.key.json beside it."""
    return pathlib.Path(page).with_suffix(".key.json")
