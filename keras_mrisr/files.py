"""Outputs are written beside their target and renamed: whole or not at all."""

import contextlib
import csv
import io
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.types import PathLike

LOCK = ".lock-"
_ATTEMPTS = 20  # At a lock whose folder others remove.
# Bytes of a name in a folder, and what stands around that of an output while it is written.
_LONGEST, _LONGEST_PREFIX = 255, ".writing--12345678-old"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # What makes a spreadsheet take a cell for a formula.


@contextlib.contextmanager
def held(*targets: PathLike) -> Iterator[None]:
    """Keeps other processes from writing to the same outputs while the block runs.

    Enter it before the outputs are checked, so that of two that begin at the same time the second does
    not replace what the first made. What a process that was killed left beside the outputs is removed. The
    system lets go of a lock however a process ends.

    Args:
        *targets: Files or folders that the block writes; they need not exist.

    Raises:
        DataError: Another process holds one of them, or it lies where nothing can be written.
    """
    with contextlib.ExitStack() as stack:
        # The folder may be reached by several names; the last part may be a link that is to be replaced.
        paths = [pathlib.Path(os.path.abspath(target)) for target in targets]
        places = {
            path.parent.resolve() / path.name: pathlib.Path(target)
            for path, target in zip(paths, targets, strict=True)
        }
        for place in sorted(places):
            stack.enter_context(_held(place, places[place]))
        yield


@contextlib.contextmanager
def _held(target: pathlib.Path, name: pathlib.Path) -> Iterator[None]:
    # A folder may be the root of a file system of its own, beside which nothing can be written.
    inside = target.is_dir() and not os.access(target.parent, os.W_OK | os.X_OK)
    folder = target if inside else target.parent
    _check_place(name, folder)
    new_folders = _missing_folders(folder)
    lock = folder / f"{LOCK}{target.name}"
    try:
        file = _open_lock(lock, name)
    except OSError as error:
        _remove_empty(new_folders)
        raise DataError(f"Cannot write {name}: {error.strerror}. Choose a writable place.") from error
    with file:
        try:
            _remove_leftovers(target)
            yield
        finally:
            lock.unlink(missing_ok=True)
            _remove_empty(new_folders)


def _open_lock(lock: pathlib.Path, name: pathlib.Path) -> IO[str]:
    """The file that stands for a lock, once this process has it."""
    left = _ATTEMPTS
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = lock.open("a+", encoding="utf-8")
        except FileNotFoundError:  # Another process removed the folder that it had made.
            left -= 1
            if not left:  # Or it is no place for files, as /proc.
                raise
            continue
        if not _lock(file.fileno()):
            file.seek(0)
            who = file.read(100).strip() or "another process"
            file.close()
            raise DataError(f"{name} is being written by {who}. Wait for its end, or choose another name.")
        if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            return file
        file.close()  # Its owner removed it between the two lines above: what has no name holds nobody off.


def _lock(handle: int) -> bool:
    """Takes the lock of an open file for this process; False where another has it."""
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # Not every file system of a network has locks.
        return True
    return True


def _remove_leftovers(target: pathlib.Path) -> None:
    """Removes what processes that were killed left beside an output.

    The old output comes back where a process was killed after it had put that away.
    """
    name = re.escape(target.name)
    leftover = re.compile(rf"\.writing-(?:[a-z0-9_]{{8}}-?{name}|{name}-[a-z0-9_]{{8}}(-old)?)")
    for path in list(target.parent.iterdir()):
        found = leftover.fullmatch(path.name)
        if not found or _is_written(path):
            continue
        if found[1] and not target.exists():
            os.replace(path, target)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_written(path: pathlib.Path) -> bool:
    """Whether a process that lives writes to a temporary file or folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_file(target: PathLike) -> Iterator[pathlib.Path]:
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
        # In a folder of its own, which is what is locked: HDF5 locks the file that it writes itself.
        folder = pathlib.Path(
            tempfile.mkdtemp(prefix=".writing-", suffix=f"-{target.name}", dir=target.parent)
        )
        temporary = folder / target.name  # Writers choose their format by the suffix.
        temporary.touch()
    except OSError as error:
        _remove_empty(new_folders)
        raise DataError(f"Cannot write {target}: {error.strerror}. Choose a writable place.") from error
    try:
        with _known_as_written(folder):
            yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(temporary), str(target)):
            raise
        raise DataError(f"Cannot write {target}: {error.strerror or error}. Nothing was changed.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(new_folders)


@contextlib.contextmanager
def whole_directory(target: PathLike, overwrite: bool = False) -> Iterator[pathlib.Path]:
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
        with _known_as_written(temporary):
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


@contextlib.contextmanager
def _known_as_written(temporary: pathlib.Path) -> Iterator[None]:
    """Locks a temporary folder, so that no other process takes it for a leftover."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # On Windows a folder cannot be opened.
            handle = os.open(temporary, os.O_RDONLY)
            stack.callback(os.close, handle)
            _lock(handle)
        yield


def _missing_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders that have to be made for `folder`, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _remove_empty(folders: Iterable[pathlib.Path]) -> None:
    """Removes folders, innermost first, as long as nothing is in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _replace_directory(temporary: pathlib.Path, target: pathlib.Path) -> None:
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


def check_new_directory(target: PathLike, overwrite: bool = False) -> None:
    """Checks before the work that an output folder can be written after it.

    Raises:
        DataError: `target` is a file, or a folder with something in it and not `overwrite`, or lies in
            a place where nothing can be written.
    """
    target = pathlib.Path(target)
    if target.is_file():
        raise DataError(f"{target} is a file; an output folder is needed. Choose another name.")
    if not overwrite and contents(target):
        raise DataError(f"{target} exists and is not empty. Choose another folder or pass `overwrite=True`.")
    _check_place(target, target)


def check_new_file(target: PathLike, overwrite: bool = False) -> None:
    """Checks before the work that an output file can be written after it.

    Raises:
        DataError: `target` is a folder, or exists and not `overwrite`, or lies in a place where nothing can
            be written.
    """
    target = pathlib.Path(target)
    if target.is_dir():
        raise DataError(f"{target} is a folder; a file is needed. Choose another name.")
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists. Choose another name or pass `overwrite=True`.")
    _check_place(target, target.parent)


def check_not_source(target: PathLike, *sources: PathLike) -> None:
    """Checks that an output replaces nothing that it is made from, also where it may replace what exists.

    Raises:
        DataError: `target` is one of these files.
    """
    if pathlib.Path(target).resolve() in (pathlib.Path(source).resolve() for source in sources):
        raise DataError(f"{target} is the source itself. Choose another name.")


def _check_place(target: PathLike, folder: pathlib.Path) -> None:
    """Raises DataError unless `folder`, or else the first above it that exists, can be written to."""
    most = _LONGEST - len(_LONGEST_PREFIX)
    if len(os.fsencode(pathlib.Path(target).name)) > most:
        raise DataError(f"The name of {target} is too long: it may have {most} bytes. Choose a shorter one.")
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise DataError(f"Cannot write {target}: {place} is not a writable folder. Choose another place.")


def check_only_holds(target: PathLike, names: Iterable[str]) -> None:
    """Checks that to replace a folder loses nothing but results of the same kind.

    Args:
        target: The folder; it need not exist.
        names: What may be in it.

    Raises:
        DataError: Something else is in `target`.
    """
    target = pathlib.Path(target)
    others = sorted({path.name for path in contents(target)} - set(names))
    if others:
        raise DataError(
            f"{target} holds {others[0]}, which does not come from this command: it is not replaced. "
            "Choose another folder."
        )


def contents(folder: PathLike) -> list[pathlib.Path]:
    """What is in a folder, which need not exist; without a lock of `held` that could only lie in it."""
    folder = pathlib.Path(folder)
    return [path for path in folder.iterdir() if not path.name.startswith(LOCK)] if folder.is_dir() else []


def visible_files(folder: PathLike) -> Iterator[pathlib.Path]:
    """Yields the `pathlib.Path` of every file in a folder and below; hidden files and folders are left out.

    Raises:
        DataError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(
            f"Cannot read the folder {error.filename}: {error.strerror}. Check its permissions."
        ) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (pathlib.Path(place, name) for name in files if not name.startswith("."))


def write_text(path: PathLike, text: str) -> None:
    """Writes `text` to `path` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: PathLike, value: Any) -> None:
    """Writes `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(
    path: PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], float_form: str = ""
) -> None:
    """Writes a table as CSV, whole or not at all.

    Text that a spreadsheet takes for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line break)
    gets an apostrophe before it, as OWASP advises ("CSV Injection"): names of files and patients come from
    outside.

    Args:
        path: The file.
        columns: The keys of the rows, in the order of the columns.
        rows: One mapping a row; what is missing or None is an empty cell.
        float_form: How floats are written, such as ".6f"; by default with all digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow(format(v, float_form) if isinstance(v, float) else _cell(v) for v in values)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
