"""Outputs are written beside their target and renamed: whole or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

from keras_mrisr.errors import DataError, MrisrError


@contextlib.contextmanager
def whole_file(target):
    """Yields a temporary path beside `target` that becomes `target` when the block ends well.

    Args:
        target: Path of the file to write. Its folder is created. An existing file is replaced.

    Yields:
        A `pathlib.Path` with the suffixes of `target`.

    Raises:
        DataError: The folder or the file cannot be written.
    """
    target = pathlib.Path(target)
    new_folders = _missing_folders(target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Suffix kept, because writers choose their format by it.
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=target.name, dir=target.parent)
        os.close(handle)
        os.chmod(name, 0o666 & ~_umask())
    except OSError as error:
        _remove_empty(new_folders)
        raise DataError(f"Cannot write {target}: {error.strerror}. Choose a writable place.") from error
    temporary = pathlib.Path(name)
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (name, str(target)):
            raise
        raise DataError(f"Cannot write {target}: {error.strerror or error}. Nothing was changed.") from error
    finally:
        temporary.unlink(missing_ok=True)
        _remove_empty(new_folders)


@contextlib.contextmanager
def whole_directory(target, overwrite=False):
    """Yields a temporary folder beside `target` that becomes `target` when the block ends well.

    Args:
        target: Path of the folder to write.
        overwrite: Replace an existing folder. The old one goes only after the new one is complete.

    Yields:
        A `pathlib.Path` of an empty folder.

    Raises:
        DataError: `target` exists (and `overwrite` is false) or cannot be written.
    """
    target = pathlib.Path(target)
    check_new_directory(target, overwrite)
    new_folders = _missing_folders(target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".writing-{target.name}-", dir=target.parent))
        os.chmod(temporary, 0o777 & ~_umask())
    except OSError as error:
        _remove_empty(new_folders)
        raise DataError(f"Cannot write {target}: {error.strerror}. Choose a writable place.") from error
    try:
        yield temporary
        _replace_directory(temporary, target)
    except MrisrError as error:
        if str(temporary) not in str(error):
            raise
        # Files in it are to be known by the name that they would have got.
        raise DataError(str(error).replace(str(temporary), str(target))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(new_folders)


def _missing_folders(folder):
    """The folders that have to be made for `folder`, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _remove_empty(folders):
    """Removes folders, innermost first, as long as nothing is in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _replace_directory(temporary, target):
    """Renames `temporary` to `target`; the folder that was there goes last, or comes back."""
    old = temporary.with_name(temporary.name + "-old") if target.exists() else None
    try:
        if old is not None:
            os.replace(target, old)
        os.replace(temporary, target)
    except OSError as error:
        if old is not None and old.exists() and not target.exists():
            os.replace(old, target)
        raise DataError(f"Cannot write {target}: {error.strerror}. Nothing was changed.") from error
    if old is not None:
        shutil.rmtree(old)


def check_new_directory(target, overwrite=False):
    """Checks before the work that an output folder can be written after it.

    Raises:
        DataError: `target` is a file, or a folder with something in it and not `overwrite`, or lies in
            a place where nothing can be written.
    """
    target = pathlib.Path(target)
    if target.is_file():
        raise DataError(f"{target} is a file; an output folder is needed. Choose another name.")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} exists and is not empty. Choose another folder or pass --overwrite.")
    _check_place(target, target)


def check_new_file(target, overwrite=False):
    """Checks before the work that an output file can be written after it.

    Raises:
        DataError: `target` is a folder, or exists and not `overwrite`, or lies in a place where nothing can
            be written.
    """
    target = pathlib.Path(target)
    if target.is_dir():
        raise DataError(f"{target} is a folder; a file is needed. Choose another name.")
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists. Choose another name or pass --overwrite.")
    _check_place(target, target.parent)


def _check_place(target, folder):
    """Raises DataError unless `folder`, or else the first above it that exists, can be written to."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise DataError(f"Cannot write {target}: {place} is not a writable folder. Choose another place.")


def check_only_holds(target, names):
    """Checks that to replace a folder loses nothing but results of the same kind.

    Args:
        target: The folder; it need not exist.
        names: What may be in it.

    Raises:
        DataError: Something else is in `target`.
    """
    target = pathlib.Path(target)
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    others = sorted(there - set(names))
    if others:
        raise DataError(
            f"{target} holds {others[0]}, which does not come from this command: it is not replaced. "
            "Choose another folder."
        )


def visible_files(folder):
    """Yields the `pathlib.Path` of every file in a folder and below; hidden files and folders are left out.

    Raises:
        DataError: A folder cannot be read.
    """

    def refuse(error):
        raise DataError(
            f"Cannot read the folder {error.filename}: {error.strerror}. Check its permissions."
        ) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (pathlib.Path(place, name) for name in files if not name.startswith("."))


def write_text(path, text):
    """Writes `text` to `path` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Writes `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
