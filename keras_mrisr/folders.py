"""Folders as input: which files of them are taken, where results may go, and what is said of bad files."""

import dataclasses
import errno
import fnmatch
import logging
import pathlib
from collections.abc import Iterable, Sequence

from keras_mrisr.errors import DataError, IncompleteError
from keras_mrisr.files import check_new_directory, contents
from keras_mrisr.types import PathLike

log = logging.getLogger(__name__)

_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # No other result can be written, either.


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which files of a folder are taken: patterns as a shell's (`*`, `?`, `[ab]`).

    A pattern without a slash is for a file's name, another for its path in the folder, where `*` also stands
    for slashes.

    Attributes:
        include: Take only files that match one of these; all where there are none.
        exclude: Leave out files that match one of these.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self.include or self.exclude)

    def takes(self, name: str) -> bool:
        """Whether a file is taken, by its path in the folder with `/`."""
        return (not self.include or _matches(name, self.include)) and not _matches(name, self.exclude)

    def of(self, names: Iterable[str], folder: pathlib.Path) -> list[str]:
        """The files that are taken.

        Raises:
            DataError: There are files, and the patterns leave none of them.
        """
        names = list(names)
        taken = [name for name in names if self.takes(name)]
        if names and not taken:
            raise DataError(
                f"None of the {len(names)} files in {folder} is left by `include` and `exclude`. A pattern "
                "is for a file's name, or with a slash for its path in the folder: '*_T1w.nii.gz'."
            )
        if len(taken) < len(names):
            log.info("%d of %d files are chosen", len(taken), len(names))
        return taken


def _matches(name: str, patterns: Sequence[str]) -> bool:
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name if "/" in one else last, one) for one in patterns)


ALL = Choice()
"""Every file."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that could not be used.

    Attributes:
        path: Where it lies.
        reason: What went wrong, in a sentence that names it.
    """

    path: pathlib.Path
    reason: str

    @classmethod
    def of(cls, error: BaseException, path: pathlib.Path) -> "Failure":
        """The failure that an error stands for."""
        return cls(path, reason_of(error, path))


def reason_of(error: BaseException, path: pathlib.Path) -> str:
    """What went wrong, in a sentence that names the file."""
    text = str(error) or "Out of memory."
    if isinstance(error, OSError):
        text = f"{error.strerror or error}."
    return text if str(path) in text else f"{path}: {text}"


def no_place_left(error: BaseException | None) -> bool:
    """Whether an error comes from a disk that is full or can only be read."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_PLACE:
            return True
        error = error.__cause__
    return False


def refuse_incomplete(failures: Sequence[Failure], done: str = "upscaled") -> None:
    """Raises IncompleteError where some inputs could not be used; names the first.

    Args:
        failures: Those that were named already, as warnings.
        done: What could not be done to them.
    """
    if not failures:
        return
    first, count = failures[0], len(failures)
    others = f" The other {count - 1} are named above." if count > 1 else ""
    files = "1 file" if count == 1 else f"{count} files"
    raise IncompleteError(f"{files} could not be {done}; all others are done. {first.reason}{others}")


def check_results(
    source: pathlib.Path, target: PathLike, overwrite: bool = False, skip_existing: bool = False
) -> None:
    """Checks before the work that results of a folder can be written to another, apart from their sources.

    Raises:
        DataError: They cannot, or there is something, and neither is it to be made again nor to be kept.
    """
    target = pathlib.Path(target)
    _check_apart(source, target)
    if contents(target) and not overwrite and not skip_existing:
        raise DataError(
            f"{target} exists and is not empty. Choose another folder, pass `skip_existing=True` to make "
            "what is missing in it, or `overwrite=True` to make all of it again."
        )
    check_new_directory(target, overwrite=True)


def _check_apart(source: pathlib.Path, target: pathlib.Path) -> None:
    """Raises DataError where a folder of results is, holds or lies in that of the sources."""
    here, there = source.resolve(), target.resolve()
    if there == here:
        raise DataError(f"{target} is the source itself. Choose another folder.")
    if here.is_relative_to(there):
        raise DataError(f"{target} holds the source {source}. Choose another folder.")
    if there.is_relative_to(here):
        # What is in it would be taken for sources the next time.
        raise DataError(f"{target} lies in the source {source}. Choose another folder.")
