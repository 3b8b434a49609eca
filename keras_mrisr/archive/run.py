"""Every MR series of an archive, upscaled into a derived series."""

import dataclasses
import functools
import logging
import pathlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_mrisr.archive.ledger import NAME, Ledger, Result, Series, digest_of
from keras_mrisr.cluster import DaskWorkers, Workers, team_of
from keras_mrisr.errors import DataError, IncompleteError, ManyVolumesError
from keras_mrisr.files import contents, held, write_csv
from keras_mrisr.folders import no_place_left, reason_of
from keras_mrisr.inference.folder import Job, upscale_each
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.scan import Scan
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.dicom.files import SetApart, image_header, pydicom_at_work
from keras_mrisr.volumes.dicom.read import read_series
from keras_mrisr.volumes.dicom.series import DicomSeries

log = logging.getLogger(__name__)

REPORT = "report.csv"
LAYOUTS = ("place", "uid")
_COLUMNS = (
    "study", "series", "number", "description", "place", "images", "state", "reason", "target", "model",
    "seconds",
)  # fmt: skip
_UID = re.compile(r"[0-9.]{1,64}")


@dataclasses.dataclass(frozen=True)
class ArchiveOutcome:
    """What became of an archive.

    Attributes:
        made: Series that were upscaled now.
        kept: Series that were done before and have not changed.
        left_out: Series that are no volume of MR, or several.
        failures: Series, or file that belongs to none -> why it could not be upscaled.
        report: The table of all series.
    """

    made: int
    kept: int
    left_out: int
    failures: dict[str, str]
    report: pathlib.Path


@dataclasses.dataclass(frozen=True)
class SeriesReader:
    """Reads one series of an archive, wherever its files lie; a `Reader`."""

    root: pathlib.Path
    series: Series
    NAME = "DICOM"

    def recognises(self, path: pathlib.Path) -> bool:
        return True

    def read(self, path: pathlib.Path, index: int | None, series: str | int | None) -> Volume:
        """Reads it.

        Raises:
            DataError: It is no volume.
        """
        with pydicom_at_work():
            files = [self.root / name for name in self.series.files]
            images = [(file, image_header(file)) for file in files]
            broken = [SetApart(self.root / name, why) for name, why in self.series.broken]
            return read_series(DicomSeries(path, images, broken), index)


def upscale_archive(
    root: PathLike,
    out: PathLike,
    workers: Any,
    options: UpscaleOptions | None = None,
    *,
    layout: str = "place",
    how: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ArchiveOutcome:
    """Upscales every MR series in a tree of DICOM studies into a derived series.

    What is done stays done: a ledger in `out` notes each series as soon as its result is written, and the
    next call goes on. A series is made again where its files changed: where sizes or times differ, the
    SHA-256 of their contents decides.

    Args:
        root: The archive; its nesting may be any.
        out: Where the derived series go, and the ledger and `report.csv` beside them.
        workers: Models, see `upscale_path`; or `cluster.DaskWorkers`, which have theirs.
        options: How.
        layout: "place" puts a result where its series lies in the archive (in a folder of its own within that
            where several lie there); "uid" puts it under StudyInstanceUID/SeriesInstanceUID.
        how: What results depend on, such as the model; it must be the same in later calls.
        progress: Called with the number of series done so far and the number in all.

    Raises:
        DataError: No archive, or `out` is no place for results.
        IncompleteError: Nothing more can be written; what was done stays.
    """
    root, out = pathlib.Path(root), pathlib.Path(out)
    check_archive(root, out)
    options = dataclasses.replace(options or UpscaleOptions(), overwrite=True, residuals=False)
    out.mkdir(parents=True, exist_ok=True)
    with held(out / NAME), Ledger(out / NAME, {**(how or {}), "layout": layout}) as ledger:
        log.info("Reading the headers of %s", root)
        team = team_of(workers)
        ledger.scan(root, team=team if isinstance(workers, DaskWorkers) else None)
        series = ledger.series()
        if not series and not ledger.broken():
            raise DataError(f"{root} holds no DICOM image. Give the folder of an archive of DICOM studies.")
        targets = _targets(series, layout, _noted(ledger, series))
        missing = [(one, targets[one.uid]) for one in series if not _is_done(ledger, one, root, out)]
        log.info("%d series, %d to look at", len(series), len(missing))
        try:
            made = _upscale_missing(ledger, missing, root, out, team, options, progress)
        finally:
            report = _write_report(ledger, series, out)
        return _outcome(ledger, series, made, report)


def _upscale_missing(
    ledger: Ledger,
    missing: Sequence[tuple[Series, str]],
    root: pathlib.Path,
    out: pathlib.Path,
    team: Workers,
    options: UpscaleOptions,
    progress: Progress | None,
) -> int:
    """Upscales series and notes each in the ledger; returns how many were made."""
    work = functools.partial(upscale_series, root=team.place(root), out=team.place(out), options=options)
    made = 0
    for (one, _), result in team.run(work, missing, progress):
        if isinstance(result, IncompleteError):
            raise result
        if not isinstance(result, Result):
            result = Result("failed", reason_of(result, root / one.folder), images=len(one.files))
        ledger.keep(one.uid, result)
        made += result.state == "done"
        if result.state == "failed":
            log.warning("Failed: %s", result.reason)
    return made


def check_archive(root: pathlib.Path, out: pathlib.Path) -> None:
    """Checks before the work that an archive is there, and that its results can be written.

    Raises:
        DataError: They cannot.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder. Give the folder of an archive of DICOM studies.")
    here, there = root.resolve(), out.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise DataError(f"{out} and the archive {root} lie in each other. Choose another OUT.")
    if there.is_file():
        raise DataError(f"{out} is a file; an output folder is needed. Choose another name.")
    if contents(out) and not (out / NAME).is_file():
        raise DataError(f"{out} is not empty, and holds no ledger of an archive. Choose another OUT.")


def upscale_series(
    item: tuple[Series, str], resolver: Any, root: pathlib.Path, out: pathlib.Path, options: UpscaleOptions
) -> Result:
    """Upscales one series of an archive.

    Args:
        item: (the series, the place of its result in `out`)
        resolver: See `upscale_path`.
        root: The archive.
        out: The folder of the results.
        options: How.

    Raises:
        IncompleteError: Nothing more can be written.
    """
    series, target = item
    if series.studies > 1:
        reason = f"Its images are of {series.studies} studies, which one series cannot be. Put them apart."
        return Result("failed", reason, images=len(series.files))
    started = time.monotonic()
    digest, images = digest_of(root, series.files), len(series.files)
    scan = Scan(root / series.folder, SeriesReader(root, series))
    [(_, result)] = upscale_each([Job(scan, out / target, options)], resolver)
    seconds = round(time.monotonic() - started, 2)
    if isinstance(result, Outcome):
        return Result("done", "", target, " and ".join(result.models), digest, images, seconds)
    reason = reason_of(result, root / series.folder)
    if no_place_left(result):
        raise IncompleteError(f"{reason} Make room and call the same again: it goes on.") from result
    left_out = isinstance(result, ManyVolumesError) or " is no MR volume: " in reason
    state = "left out" if left_out else "failed"
    return Result(state, reason, digest=digest, images=images, seconds=seconds)


def _is_done(ledger: Ledger, series: Series, root: pathlib.Path, out: pathlib.Path) -> bool:
    """Whether there is a result of just these files; what failed is tried again."""
    result = ledger.result(series.uid)
    if result is None or result.state == "failed" or not (out / result.target).exists():
        return False
    if not series.changed and result.images == len(series.files):
        return True
    if result.digest != digest_of(root, series.files):
        return False
    ledger.keep(series.uid, result)  # Touched or copied again, and the same.
    return True


def _noted(ledger: Ledger, series: Iterable[Series]) -> dict[str, str]:
    """SeriesInstanceUID -> place of its result, of those that have one."""
    results = {one.uid: ledger.result(one.uid) for one in series}
    return {uid: result.target for uid, result in results.items() if result is not None and result.target}


def _targets(series: Iterable[Series], layout: str, noted: Mapping[str, str]) -> dict[str, str]:
    """SeriesInstanceUID -> place of its result, which stays where it is when others come or go."""
    if layout == "uid":
        return {one.uid: f"{_name(one.study)}/{_name(one.uid)}" for one in series}
    folders: dict[pathlib.PurePosixPath, int] = {}
    for one in series:
        for place in (one.folder, *one.folder.parents):  # A result is a folder of its own: none lies in it.
            folders[place] = folders.get(place, 0) + 1
    places = {}
    for one in series:
        # Nor is the name of a folder taken for that of a file.
        is_file = re.fullmatch(r"\.[A-Za-z]\w*", one.folder.suffix)
        alone = folders[one.folder] == 1 and str(one.folder) != "." and not is_file
        place = one.folder if alone else one.folder / _name(one.uid)
        if any(str(other) in noted.values() for other in (place, *place.parents)):
            place = one.folder.with_name(f"{one.folder.name}-{_name(one.uid)}")
        places[one.uid] = noted.get(one.uid, str(place))
    return places


def _name(uid: str) -> str:
    """A name for a folder of an identifier, which comes from outside."""
    return (
        uid if _UID.fullmatch(uid) and uid.strip(".") else re.sub(r"[^0-9A-Za-z]+", "-", uid)[:64] or "none"
    )


def _write_report(ledger: Ledger, series: Iterable[Series], out: pathlib.Path) -> pathlib.Path:
    rows = []
    for one in series:
        result = ledger.result(one.uid) or Result("not made")
        rows.append(
            {
                **dataclasses.asdict(result),
                "study": one.study,
                "series": one.uid,
                "number": one.number,
                "description": one.description,
                "place": str(one.folder),
            }
        )
    rows += [{"place": path, "state": "failed", "reason": why} for path, why in ledger.broken()]
    write_csv(out / REPORT, _COLUMNS, rows)
    return out / REPORT


def _outcome(ledger: Ledger, series: Iterable[Series], made: int, report: pathlib.Path) -> ArchiveOutcome:
    results = {one.uid: ledger.result(one.uid) or Result("not made") for one in series}
    states = [result.state for result in results.values()]
    failures = {uid: result.reason for uid, result in results.items() if result.state == "failed"}
    failures |= dict(ledger.broken())
    done = states.count("done")
    return ArchiveOutcome(made, done - made, states.count("left out"), failures, report)
