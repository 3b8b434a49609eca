"""The folder of a run: whether it can be started or continued, and what is written before it starts."""

import json
import pathlib
import shutil

from keras_mrisr.config import read_config, write_config
from keras_mrisr.data.splits import Split, split_patients
from keras_mrisr.errors import ConfigError, MrisrError
from keras_mrisr.files import check_new_directory, write_json
from keras_mrisr.training.state import RunState, read_state

CONFIG = "config.yaml"
SPLIT = "split.json"
BACKUP = "backup"


def open_run(config, out, overwrite=False):
    """Finds out where a run starts; writes nothing.

    Args:
        config: The `RunConfig`, or the config of another kind of run.
        out: Folder of the run.
        overwrite: Start anew whatever run is there.

    Returns:
        The `RunState` to go on from.

    Raises:
        ConfigError: `out` holds something else, a run of another config or a finished one, or cannot be
            written.
    """
    out = pathlib.Path(out)
    if not (out / CONFIG).is_file():
        if overwrite and out.is_dir() and any(out.iterdir()):
            raise ConfigError(f"{out} is not a training run; it is not overwritten. Choose another folder.")
        check_new_directory(out)
        return RunState()
    check_new_directory(out, overwrite=True)
    if overwrite:
        return RunState()
    try:
        old = read_config(out / CONFIG, type(config)())
    except MrisrError as error:
        raise ConfigError(
            f"{out} holds a run that cannot be gone on with ({error}) Choose another folder, or pass "
            "--overwrite to start anew."
        ) from error
    if old != config:
        raise ConfigError(
            f"{out} holds a run with another config ({_differences(old, config)}). "
            "Choose another folder, or pass --overwrite to start anew."
        )
    state = read_state(out / BACKUP) or RunState()
    if state.finished:
        raise ConfigError(
            f"{out} holds this run already, complete with {state.epoch} epochs. Use it, start another from "
            "it with training.init, or pass --overwrite to train anew."
        )
    return state


def fix_split(out, dataset, split, data, overwrite=False):
    """The split of a run: the one in its folder when it goes on, else the one given, else a new one.

    Args:
        out: Folder of the run.
        dataset: The `SliceDataset`.
        split: A `Split` or None.
        data: The `DataConfig` for a new split.
        overwrite: Whatever is in the folder does not count.

    Raises:
        ConfigError: `split.json` is broken, or not the split that was given.
    """
    file = pathlib.Path(out) / SPLIT
    if overwrite or not file.is_file():
        return split or split_patients(
            dataset.sites, data.split_seed, data.validation_fraction, data.test_fraction
        )
    try:
        old = Split.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigError(f"{file} cannot be read: {error}. Pass --overwrite to start anew.") from error
    if split is not None and split.to_dict() != old.to_dict():
        raise ConfigError(
            f"{out} holds a run with another split of the patients. Choose another folder, or pass "
            "--overwrite to start anew."
        )
    return old


def claim_run(config, out, split, overwrite=False):
    """Makes `out` the folder of this run, once all else was found to be good.

    Args:
        config: The `RunConfig`.
        out: Folder of the run.
        split: Its `Split`.
        overwrite: Delete the run that is there.
    """
    out = pathlib.Path(out)
    if overwrite and out.is_dir():
        _empty(out)
    if out.is_dir():
        for leftover in out.glob(".writing-*"):  # Of a run, or an evaluation, that was killed while it wrote.
            _remove(leftover)
    # The config first: it marks the folder as this run's, so that a run killed here goes on.
    if not (out / CONFIG).exists():
        write_config(config, out / CONFIG)
    if not (out / SPLIT).exists():
        write_json(out / SPLIT, split.to_dict())


def _empty(out):
    # The config goes last: a folder without it is not taken for a run, and not overwritten again.
    for path in sorted(out.iterdir(), key=lambda path: path.name == CONFIG):
        _remove(path)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _differences(old, new):
    flat = [_flatten(config.to_dict()) for config in (old, new)]
    keys = [key for key in {**flat[0], **flat[1]} if flat[0].get(key) != flat[1].get(key)]
    return ", ".join(f"{key}: {flat[0].get(key)!r} there, {flat[1].get(key)!r} now" for key in keys[:3])


def _flatten(values, prefix=""):
    flat = {}
    for key, value in values.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
