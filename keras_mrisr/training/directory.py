"""The folder of a run: whether it can be started or resumed, and what is written before it starts."""

import fnmatch
import json
import pathlib
import shutil
from typing import Any, Protocol

from keras_mrisr import ranks
from keras_mrisr.config import DataConfig, read_config, write_config
from keras_mrisr.config_base import Config
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split, continued_split, split_patients
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.files import check_new_directory, contents, write_json
from keras_mrisr.training.state import RunState, read_state
from keras_mrisr.types import PathLike
from keras_mrisr.version import __version__

CONFIG = "config.yaml"
SPLIT = "split.json"
BACKUP = "backup"
# What lies in the folder of a run of any kind: what its training wrote, and evaluations of it.
_OF_A_RUN = (
    BACKUP, CONFIG, SPLIT, "card.md", "curves.png", "evaluation-*", "features.h5", "finish.keras",
    "generator.keras", "heads*.weights.h5", "history.csv", "last.keras", "model.json", "pretrained",
    "samples.png", "tensorboard", "unet.keras", ".writing-*",
)  # fmt: skip
MAY_CHANGE = ("data.root", "training.epochs", "training.early_stopping")
"""What may be another when a run is resumed: the data are then compared themselves."""


class AnyConfig(Protocol):
    """The config of any kind of training."""

    @property
    def data(self) -> DataConfig: ...
    @property
    def training(self) -> Any: ...
    def to_dict(self) -> dict[str, Any]: ...


def open_run(config: AnyConfig, out: PathLike, overwrite: bool = False) -> tuple[RunState, bool]:
    """Finds out where a run starts; writes nothing.

    Args:
        config: The `RunConfig`, or the config of another kind of run.
        out: Folder of the run.
        overwrite: Start again whatever run is there.

    Returns:
        The `RunState` to resume from, and whether the run's data were under another path.

    Raises:
        ConfigError: `out` holds something else, a run of another config or one that has all its epochs, or
            cannot be written. Other than before may be the path of the data, more epochs, and the patience of
            early stopping.
    """
    out = pathlib.Path(out)
    there = (out / CONFIG).is_file()
    if not there and overwrite and contents(out):
        raise ConfigError(f"{out} is not a training run; it is not overwritten. Choose another folder.")
    check_new_directory(out, overwrite=there)
    if there and overwrite:
        _check_only_a_run_goes(out, config)
    if overwrite or not there:
        return RunState(), False
    old = _read_old_config(out, type(config)())
    flat = [
        {key: value for key, value in _flatten(one.to_dict()).items() if key not in MAY_CHANGE}
        for one in (old, config)
    ]
    differences = _differences(*flat)
    if differences:
        raise ConfigError(
            f"{out} holds a run with another config ({differences}). Choose another folder (`training.init` "
            "starts from this run's weights), or pass `overwrite` to delete it and start again."
        )
    return _state_to_resume(out, config), old.data.root != config.data.root


def _check_only_a_run_goes(out: pathlib.Path, config: AnyConfig) -> None:
    """Raises ConfigError where to overwrite a run would delete something else with it."""
    for key, value in _flatten(config.to_dict()).items():
        is_path = isinstance(value, str) and pathlib.Path(value).exists()
        if is_path and pathlib.Path(value).resolve().is_relative_to(out.resolve()):
            raise ConfigError(
                f"`{key}` {value} lies in {out}, which `overwrite` would delete. Choose another folder."
            )
    if not (out / SPLIT).is_file() and not _is_config(out, config):
        raise ConfigError(
            f"{out} holds a {CONFIG} and no training run; it is not overwritten. Choose another folder."
        )
    for path in contents(out):
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in _OF_A_RUN):
            raise ConfigError(
                f"{out} holds {path.name}, which no training wrote; it is not overwritten. Move that, or "
                "choose another folder."
            )


def _is_config(out: pathlib.Path, config: Any) -> bool:
    """Whether a folder holds this very config: of a run that was killed before it had begun."""
    try:
        return bool(read_config(out / CONFIG, type(config)()) == config)
    except MrisrError:
        return False


def _state_to_resume(out: pathlib.Path, config: AnyConfig) -> RunState:
    """The state of a run in `out`, of which epochs must be left."""
    state = read_state(out / BACKUP) or RunState()
    begun = state.epoch + (state.step > 0)
    if begun > config.training.epochs:
        raise ConfigError(
            f"{out} holds a run that is in its epoch {begun}: `epochs` must be at least that. "
            f"Received: {config.training.epochs}"
        )
    if state.finished and not state.epochs_are_left(config.training):
        raise ConfigError(
            f"{out} holds this run already, complete with {state.epoch} epochs. Use it, resume it with more "
            "`epochs`, start another from it with `training.init`, or pass `overwrite` to delete it and "
            "start again."
        )
    return state


def _read_old_config(out: pathlib.Path, base: Any) -> Any:
    try:
        return read_config(out / CONFIG, base)
    except MrisrError as error:
        other = ", or pass `overwrite` to start again" if (out / SPLIT).is_file() else ""
        raise ConfigError(
            f"{out} holds a run that cannot be resumed ({error}) Choose another folder{other}."
        ) from error


def fix_split(
    out: PathLike,
    dataset: SliceDataset,
    split: Split | None,
    data: DataConfig,
    overwrite: bool = False,
    start: tuple[PathLike, dict] | None = None,
) -> Split:
    """The split of a run: the one in its folder when it resumes, else the one given, else a new one.

    Args:
        out: Folder of the run.
        dataset: The `SliceDataset`.
        split: A `Split` or None.
        data: The `DataConfig` for a new split.
        overwrite: Whatever is in the folder does not count.
        start: The model that the run starts from and its stored split: a new split keeps that one's parts.

    Raises:
        ConfigError: `split.json` is broken, or not the split that was given.
        DataError: There are too few patients.
    """
    file = pathlib.Path(out) / SPLIT
    if overwrite or not file.is_file():
        if split is not None:
            return split
        new = split_patients(dataset.sites, data.split_seed, data.validation_fraction, data.test_fraction)
        return continued_split(new, *start) if start else new
    try:
        old = Split.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigError(f"{file} cannot be read: {error}. Pass `overwrite` to start again.") from error
    if split is not None and split.to_dict() != old.to_dict():
        raise ConfigError(
            f"{out} holds a run with another split of the patients. Choose another folder, or pass "
            "`overwrite` to start again."
        )
    return old


def check_same_config(config: AnyConfig) -> None:
    """Raises ConfigError unless all ranks of a training have the same config and version.

    Args:
        config: That of this rank; the path of its data may be its own.
    """
    flat = {**_flatten(config.to_dict()), "version": __version__}
    every = ranks.gathered({key: value for key, value in flat.items() if key != "data.root"})
    for number, other in enumerate(every):
        differences = _differences(every[0], other)
        if differences:
            raise ConfigError(
                f"Rank {number} was started with another config than rank 0 ({differences}). Start all ranks "
                "with the same words."
            )


def claim_run(config: Config, out: PathLike, split: Split, overwrite: bool = False) -> None:
    """Makes `out` the folder of this run, once all else was found to be good.

    Args:
        config: The `RunConfig`.
        out: Folder of the run.
        split: Its `Split`.
        overwrite: Delete the run that is there.
    """
    out = pathlib.Path(out)
    if overwrite:
        _empty(out)
    if out.is_dir():
        for leftover in out.glob(".writing-*"):  # Of a run, or an evaluation, that was killed while it wrote.
            _remove(leftover)
    # The config first: it marks the folder as this run's, so that a run killed here resumes.
    if not (out / CONFIG).exists() or read_config(out / CONFIG, type(config)()) != config:
        write_config(config, out / CONFIG)
    if not (out / SPLIT).exists():
        write_json(out / SPLIT, split.to_dict())


def _empty(out: pathlib.Path) -> None:
    # The config goes last: a folder without it is not taken for a run, and not overwritten again.
    for path in sorted(contents(out), key=lambda path: path.name == CONFIG):
        _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first values in which two flat configs differ, in words; empty for none."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(f"{key}: {old.get(key)!r} there, {new.get(key)!r} now" for key in keys[:3])


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
