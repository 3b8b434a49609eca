"""What an archive holds and what was done of it, in an SQLite file that survives any interruption."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from keras_mrisr.cluster import Workers
from keras_mrisr.errors import DataError
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes.dicom.files import (
    begins_as_dicom,
    holds_nothing,
    image_header,
    may_be_a_slice,
    pydicom_at_work,
    readable_header,
)

NAME = "ledger.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS how (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, seen INTEGER, study TEXT, series TEXT, number TEXT,
    description TEXT, problem TEXT, changed INTEGER
);
CREATE INDEX IF NOT EXISTS series_of ON files (series);
CREATE TABLE IF NOT EXISTS results (
    series TEXT PRIMARY KEY, state TEXT, reason TEXT, target TEXT, model TEXT, digest TEXT, images INTEGER,
    seconds REAL
);
"""
_EMPTY = " is empty or cut off. Copy it again."
_BATCH = 100  # Files between two commits.
_THREADS = 8  # That wait for the disk.
_File = tuple[str, int, int, int]  # Path, size, time of modification, number of the scan.


@dataclasses.dataclass(frozen=True)
class Series:
    """A series of an archive.

    Attributes:
        uid: SeriesInstanceUID.
        study: StudyInstanceUID.
        number: SeriesNumber as text, "" where there is none.
        description: SeriesDescription, likewise.
        files: The files of its images, relative to the archive.
        broken: (file, why) of those that may belong to it and cannot be read.
        changed: Whether a file has changed, or is new, since its result was noted.
        studies: How many studies its images say that they are of; one series is of one.
    """

    uid: str
    study: str
    number: str
    description: str
    files: tuple[str, ...]
    broken: tuple[tuple[str, str], ...] = ()
    changed: bool = True
    studies: int = 1

    @property
    def folder(self) -> pathlib.PurePosixPath:
        """The innermost folder that holds all its files, relative to the archive."""
        return pathlib.PurePosixPath(
            os.path.commonpath([os.path.dirname(file) or "." for file in self.files])
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a series.

    Attributes:
        state: "done", "left out" (it is no volume of MR, or several) or "failed".
        reason: Why it is not done.
        target: The derived series, relative to the output; "" where there is none.
        model: The model that made it.
        digest: SHA-256 of its files.
        images: The number of its files.
        seconds: Time that it took.
    """

    state: str
    reason: str = ""
    target: str = ""
    model: str = ""
    digest: str = ""
    images: int = 0
    seconds: float = 0.0


class Ledger:
    """The ledger of an archive.

    Args:
        path: The SQLite file; made if missing.
        how: What results depend on, such as the model: results made another way are not mixed with these.

    Raises:
        DataError: No ledger, or one of results that were made another way.
    """

    def __init__(self, path: PathLike, how: Mapping[str, Any]) -> None:
        self.path = pathlib.Path(path)
        try:
            self._database = sqlite3.connect(self.path)
            self._database.executescript(_TABLES)
            self._check_how(how)
        except sqlite3.Error as error:
            raise DataError(
                f"{self.path} is no ledger of an archive: {error}. Choose another OUT."
            ) from error

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def scan(self, root: PathLike, progress: Progress | None = None, team: Workers | None = None) -> None:
        """Takes in what is new or changed below a folder; only headers are read.

        What was taken in before and has the same size and time of modification is not read again. A scan that
        was stopped goes on where it was.

        Args:
            root: The folder.
            progress: Called with the number of files done so far, twice.
            team: Who reads the headers; by default threads of this process, which wait for the disk together.
        """
        root = pathlib.Path(root)
        [(last,)] = self._database.execute("SELECT COALESCE(MAX(seen), 0) FROM files")
        known = {
            path: (size, modified)
            for path, size, modified in self._database.execute("SELECT path, size, modified FROM files")
        }
        done = 0
        place = root if team is None else team.place(root)
        with contextlib.closing(_described_all(self._batches(root, known, last + 1), place, team)) as found:
            for rows in found:
                values = [(*row, 1) for row in rows]
                self._database.executemany(f"REPLACE INTO files VALUES ({', '.join('?' * 10)})", values)
                self._database.commit()
                done += len(rows)
                if progress is not None:
                    progress(done, done)
        self._database.execute("DELETE FROM files WHERE seen <= ?", (last,))
        self._database.commit()

    def _batches(
        self, root: pathlib.Path, known: Mapping[str, tuple[int, int]], seen: int
    ) -> Iterator[list[_File]]:
        """The files that are new or changed, a few at a time; takes note of the others on the way."""
        batch: list[_File] = []
        for path, state in _files(root):
            size, modified = state.st_size, state.st_mtime_ns
            if known.get(path) == (size, modified):
                self._database.execute("UPDATE files SET seen = ? WHERE path = ?", (seen, path))
            else:
                batch.append((path, size, modified, seen))
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def series(self) -> list[Series]:
        """All series, by study, number and identifier."""
        rows = self._database.execute(
            "SELECT series, study, number, description, path, problem, changed FROM files WHERE series != '' "
            "ORDER BY series, path"
        )
        found: dict[str, list[tuple]] = {}
        for uid, *rest in rows:
            found.setdefault(uid, []).append(tuple(rest))
        apart: dict[str, list[tuple[str, str]]] = {}
        for one in self.broken(everything=True):
            apart.setdefault(os.path.dirname(one[0]), []).append(one)
        all_series = []
        for uid, images in _with_cut_off(found).items():
            whole = [image for image in images if not image[4]]
            study, number, description = (whole or images)[0][:3]
            files = tuple(image[3] for image in (whole or images))
            broken = tuple((image[3], image[4]) for image in images if image[4] and whole)
            near = [one for folder in {*map(os.path.dirname, files)} for one in apart.get(folder, ())]
            paths = [pathlib.Path(file) for file in files] if near else []
            broken += tuple(one for one in near if may_be_a_slice(pathlib.Path(one[0]), paths))
            changed = any(image[5] for image in images)
            studies = sorted({image[0] for image in whole})
            all_series.append(Series(uid, study, number, description, files, broken, changed, len(studies)))
        return sorted(all_series, key=lambda one: (one.study, _rank(one.number), one.uid))

    def broken(self, everything: bool = False) -> list[tuple[str, str]]:
        """(file, why) of DICOM files that do not say to which series they belong.

        Args:
            everything: Also of files that hold nothing, which may be anything.
        """
        found = self._database.execute("SELECT path, problem FROM files WHERE series = '' AND problem != ''")
        return [(path, why) for path, why in found if everything or not why.endswith(_EMPTY)]

    def result(self, uid: str) -> Result | None:
        """What became of a series; None if nothing yet."""
        columns = ", ".join(field.name for field in dataclasses.fields(Result))
        row = self._database.execute(f"SELECT {columns} FROM results WHERE series = ?", (uid,)).fetchone()
        return None if row is None else Result(*row)

    def keep(self, uid: str, result: Result) -> None:
        """Notes what became of a series, at once."""
        row = (uid, *dataclasses.astuple(result))
        self._database.execute(f"REPLACE INTO results VALUES ({', '.join('?' * len(row))})", row)
        self._database.execute("UPDATE files SET changed = 0 WHERE series = ?", (uid,))
        self._database.commit()

    def _check_how(self, how: Mapping[str, Any]) -> None:
        wanted = {key: json.dumps(value) for key, value in how.items()}
        there = dict(self._database.execute("SELECT key, value FROM how"))
        for key, value in wanted.items():
            if there and there.get(key, "null") != value:
                raise DataError(
                    f"The results in {self.path.parent} were made with `{key}` {there.get(key, 'null')}, not "
                    f"{value}. Choose another OUT."
                )
        self._database.executemany("REPLACE INTO how VALUES (?, ?)", wanted.items())
        self._database.commit()


def _with_cut_off(found: Mapping[str, list[tuple]]) -> dict[str, list[tuple]]:
    """Files that were cut off within their identifier, put beside those of each series that it may name."""
    whole = {uid: list(images) for uid, images in found.items() if not all(image[4] for image in images)}
    for uid, images in found.items():
        if uid not in whole:
            owners = [other for other in whole if other.startswith(uid)]
            for other in owners or [uid]:
                whole.setdefault(other, []).extend(images)
    return whole


def digest_of(root: PathLike, files: Sequence[str]) -> str:
    """SHA-256 of files: of their names below `root` and their contents."""
    total = hashlib.sha256()
    for name in sorted(files):
        with open(pathlib.Path(root, name), "rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _files(root: pathlib.Path) -> Iterator[tuple[str, os.stat_result]]:
    """Path below the root and state of each file, in order; hidden ones are left out."""

    def refuse(error: OSError) -> None:
        raise DataError(f"Cannot read {error.filename}: {error.strerror}. Check its permissions.") from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            below = path.relative_to(root).as_posix()
            try:
                below.encode()
            except UnicodeEncodeError:  # As on old discs, in Latin-1: no ledger and no report holds it.
                if not begins_as_dicom(path):
                    continue
                below = os.fsencode(below).decode("utf-8", "replace")
            yield below, path.stat()


def _described_all(
    batches: Iterator[list[_File]], root: pathlib.Path, team: Workers | None
) -> Generator[list[tuple], None, None]:
    """The rows of all files, batch by batch; of a team in whichever order they are done."""
    if team is not None:
        for _, rows in team.run(functools.partial(_described_there, root=root), batches):
            if isinstance(rows, Exception):
                raise rows
            yield rows
        return
    describe = functools.partial(_described_batch, root=root)
    with pydicom_at_work(), concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        waiting = itertools.islice(batches, 2 * _THREADS)
        under_way = collections.deque(pool.submit(describe, one) for one in waiting)
        try:
            while under_way:
                yield under_way.popleft().result()
                under_way.extend(pool.submit(describe, one) for one in itertools.islice(batches, 1))
        finally:  # An interruption does not wait for all of them.
            pool.shutdown(wait=True, cancel_futures=True)


def _described_batch(batch: Sequence[_File], root: pathlib.Path) -> list[tuple]:
    """The rows of some files."""
    return [(*file, *_described(root / file[0])) for file in batch]


def _described_there(batch: Sequence[_File], models: Any, root: pathlib.Path) -> list[tuple]:
    """The rows of some files; runs on a worker, whose models it does not need."""
    with pydicom_at_work():
        return _described_batch(batch, root)


def _described(path: pathlib.Path) -> tuple[str, str, str, str, str]:
    """(study, series, number, description, problem) of a file; without a series where it is no image."""
    problem, header = "", None
    if "\ufffd" in str(path) and not path.exists():
        return "", "", "", "", f"The name of {path} is not in UTF-8. Rename it."
    try:
        if begins_as_dicom(path):
            header = image_header(path)
        elif holds_nothing(path):
            problem = f"{path}{_EMPTY}"
    except OSError as error:
        problem = f"Cannot read {path}: {error.strerror}. Check its permissions."
    except DataError as error:
        header, problem = readable_header(path), str(error)
    if header is None or ("Rows" not in header and not problem):
        return "", "", "", "", problem
    if not problem and not header.get("SeriesInstanceUID"):
        problem = f"{path} does not say to which series it belongs: it has no SeriesInstanceUID."
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription")
    values = []
    for key in keys:
        with contextlib.suppress(Exception):  # What pydicom raises of foreign bytes has no common class.
            values.append(str(header.get(key) or ""))
            continue
        values.append("")
    return values[0], values[1], values[2], values[3], problem


def _rank(number: str) -> int:
    return int(number) if number.isdigit() else -1
