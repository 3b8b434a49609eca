"""The folder of a search: what is in it, and whether it can be gone on with."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.files import check_new_directory, contents, write_json
from keras_mrisr.tuning.study import Study, read_study, write_study

STUDY = "study.yaml"
SEARCH = "search.json"


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How a study is searched: the contents of `search.json`.

    Attributes:
        tuner: "random", "bayesian" or "hyperband".
        seed: Of what is random in the choice of trials.
        budget: What limits the networks, see `Budget.to_dict`.
    """

    tuner: str = "hyperband"
    seed: int = 0
    budget: dict = dataclasses.field(default_factory=dict)


def check_folder(study: Study, strategy: Strategy, out: pathlib.Path, overwrite: bool) -> None:
    """Raises ConfigError for an `out` that cannot hold this search."""
    if (out / STUDY).is_file():
        if not overwrite:
            check_same(study, strategy, out)
        elif not (out / SEARCH).is_file():
            raise ConfigError(
                f"{out} holds a {STUDY} and no search; it is not overwritten. Choose another folder."
            )
        return
    left = [path.name for path in contents(out)]
    if any(name != SEARCH and not name.startswith(".writing-") for name in left):
        if overwrite:
            raise ConfigError(f"{out} is not a search; it is not overwritten. Choose another folder.")
        check_new_directory(out)
    # The rest is of a search that was killed before it had begun.
    check_new_directory(out, overwrite=True)


def check_same(study: Study, strategy: Strategy, out: pathlib.Path) -> None:
    """Raises ConfigError unless `out` holds a search of the same study, by the same strategy."""
    try:
        old = {
            **dataclasses.asdict(read_strategy(out)),
            **read_study(out / STUDY).to_dict(),
        }
    except MrisrError as error:
        raise ConfigError(
            f"{out} holds a search that cannot be gone on with ({error}) Choose another `out`, or pass "
            "`overwrite=True` to start again."
        ) from error
    new = {**dataclasses.asdict(strategy), **study.to_dict()}
    for name in new:
        if old[name] != new[name]:
            raise ConfigError(
                f"{out} holds another search ({_difference(name, old[name], new[name])}). Choose another "
                "`out`, or pass `overwrite=True` to start again."
            )


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in [*new, *old] if old.get(key) != new.get(key))
        return f"{name}: {key}: {old.get(key)!r} there, {new.get(key)!r} now"
    return f"{name}: {old!r} there, {new!r} now"


def read_strategy(out: pathlib.Path) -> Strategy:
    """The `Strategy` of the search in a folder.

    Raises:
        ConfigError: There is none.
    """
    file = pathlib.Path(out) / SEARCH
    try:
        return Strategy(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error


def claim_folder(study: Study, strategy: Strategy, out: pathlib.Path, overwrite: bool, alone: bool) -> None:
    """Writes what is searched into a folder that is held, after what is left over there is gone."""
    if overwrite:
        # The study goes last: a folder without it is not taken for a search.
        for path in sorted(contents(out), key=lambda path: path.name == STUDY):
            _remove(path)
    # Of a search that was killed while it wrote; with workers they may be of one that writes just now.
    for leftover in out.glob("**/.writing-*") if alone else ():
        _remove(leftover)
    if not (out / STUDY).exists():
        write_json(out / SEARCH, dataclasses.asdict(strategy))
        write_study(study, out / STUDY)


def _remove(path: pathlib.Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
