"""A data set in BIDS on its way to a derivative one: finds, upscales, writes, reports."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_mrisr.bids.dataset import DESCRIPTION, BidsScan, description
from keras_mrisr.bids.derivative import (
    NAME,
    dataset_description,
    differences,
    readme,
    resolution_label,
    result_place,
    sidecar,
)
from keras_mrisr.bids.pages import Row, read_sidecar, write_pages
from keras_mrisr.cluster import Workers, team_of
from keras_mrisr.errors import DataError, IncompleteError, ManyVolumesError
from keras_mrisr.files import contents, held, write_json, write_text
from keras_mrisr.folders import no_place_left, reason_of
from keras_mrisr.inference.folder import Job, upscale_each
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.scan import Scan
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import Volume, nifti

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BidsOutcome:
    """What became of the scans of a data set.

    Attributes:
        written: The results that were made.
        skipped: How many were there already.
        failures: Place of the raw scan -> why it could not be upscaled.
        page: The summary.
    """

    written: list[pathlib.Path]
    skipped: int
    failures: dict[str, str]
    page: pathlib.Path


def upscale_bids(
    root: PathLike,
    out: PathLike,
    scans: Sequence[BidsScan],
    workers: Any,
    options: UpscaleOptions | None = None,
    progress: Progress | None = None,
    *,
    how: Mapping[str, Any] | None = None,
) -> BidsOutcome:
    """Upscales scans of a data set into a derivative data set.

    Results that are there are left as they are, so that a second call makes what is missing; it is refused
    where they were made another way. A scan that cannot be upscaled stops no other. Each result is complete
    once its sidecar stands beside it. Where a spacing is asked for, that is the results' label `res-`.

    Args:
        root: The raw data set.
        out: The derivative data set; made if missing. May lie in `root/derivatives`.
        scans: What `find_scans` found.
        workers: Models, see `upscale_path`; or `cluster.DaskWorkers`, which have theirs.
        options: How; with `overwrite` all results are made again.
        progress: Called with the number of scans done so far and the number in all.
        how: What results depend on, such as the model, for the sidecars: plain values.

    Returns:
        The outcome of all together; the pages tell the same.

    Raises:
        DataError: `out` is no place for a derivative data set, or holds results of other options, or of
            another version.
        IncompleteError: Nothing more can be written; what was done stays.
    """
    root, out = pathlib.Path(root), pathlib.Path(out)
    options = dataclasses.replace(options or UpscaleOptions(), residuals=False)
    how = dict(how or {})
    check_out(root, out)
    with held(out):
        rows = check_made(out, scans, options, how)
        _describe(root, out)
        missing = [scan for scan in scans if options.overwrite or not rows[scan.place].done]
        if len(missing) < len(scans):
            log.info("%d of %d results are there already", len(scans) - len(missing), len(scans))
        try:
            for scan, row in _made(missing, rows, out, team_of(workers), options, how, progress):
                rows[scan.place] = row
        finally:
            page = write_pages(out, list(rows.values()))
    return _outcome(out, scans, missing, rows, page)


def _outcome(
    out: pathlib.Path,
    scans: Sequence[BidsScan],
    missing: Sequence[BidsScan],
    rows: Mapping[pathlib.PurePosixPath, Row],
    page: pathlib.Path,
) -> BidsOutcome:
    written = [out / rows[scan.place].result for scan in missing if rows[scan.place].done]
    failures = {str(place): row.reason for place, row in rows.items() if row.state == "failed"}
    return BidsOutcome(written, len(scans) - len(missing), failures, page)


def _made(
    scans: Sequence[BidsScan],
    rows: Mapping[pathlib.PurePosixPath, Row],
    out: pathlib.Path,
    team: Workers,
    options: UpscaleOptions,
    how: Mapping[str, Any],
    progress: Progress | None,
) -> Iterator[tuple[BidsScan, Row]]:
    """Upscales scans; yields each with what became of it."""
    jobs = [_job(scan, team, out, rows[scan.place], options) for scan in scans]
    items = list(zip(scans, jobs, strict=True))
    for (scan, _), result in team.run(_upscale, items, progress):
        yield scan, _finished(scan, out, dataclasses.replace(rows[scan.place], done=False), result, how)


def check_out(root: PathLike, out: PathLike) -> None:
    """Checks that a derivative data set of `root` can be written to `out`.

    Raises:
        DataError: It is or holds the raw one, lies in it but not in `derivatives`, or holds something else.
    """
    here, there = pathlib.Path(root).resolve(), pathlib.Path(out).resolve()
    if here.is_relative_to(there):
        raise DataError(f"{out} is or holds the raw data set. Choose another folder.")
    if there.is_relative_to(here) and there.relative_to(here).parts[0] != "derivatives":
        raise DataError(
            f"{out} lies among the raw data. Choose {root}/derivatives/{NAME}, or another folder."
        )
    if there.is_file():
        raise DataError(f"{out} is a file; an output folder is needed. Choose another name.")
    path = there / DESCRIPTION
    if contents(there) and not _is_ours(path):
        raise DataError(f"{out} is not empty, and no derivative of {NAME}. Choose another folder.")


def check_made(
    out: pathlib.Path, scans: Sequence[BidsScan], options: UpscaleOptions, how: Mapping[str, Any]
) -> dict[pathlib.PurePosixPath, Row]:
    """What is there already: place of a scan -> what became of it.

    Raises:
        DataError: Results that would be kept were made another way.
    """
    label = resolution_label(options.spacing)
    rows = {scan.place: Row(scan.place, result_place(scan, label)) for scan in scans}
    rows = {place: dataclasses.replace(row, done=_is_done(out, row)) for place, row in rows.items()}
    if options.overwrite:
        return rows
    for row in rows.values():
        other = differences(read_sidecar(out / row.sidecar), how) if row.done else []
        if other:
            raise DataError(
                f"{out / row.result} was made with {' and '.join(other)}. Pass `overwrite=True` to make such "
                "results again, or choose another folder for the others."
            )
    return rows


def _is_ours(path: pathlib.Path) -> bool:
    try:
        makers = json.loads(path.read_text(encoding="utf-8"))["GeneratedBy"]
        return any(maker["Name"] == NAME for maker in makers)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _describe(root: pathlib.Path, out: pathlib.Path) -> None:
    """Writes what makes a folder a derivative data set."""
    if _is_ours(out / DESCRIPTION):
        return
    write_json(out / DESCRIPTION, dataset_description(description(root), root, out))
    write_text(out / "README.md", readme())


def _upscale(item: tuple[BidsScan, Job], resolver: Any) -> Outcome | Exception:
    """Upscales a scan, on whichever worker. What it returns is sent: an error loses its cause on the way."""
    if item[0].problem:
        return DataError(item[0].problem)
    [(_, result)] = upscale_each([item[1]], resolver)
    if not isinstance(result, Outcome) and no_place_left(result):
        return IncompleteError(
            f"{reason_of(result, item[0].path)} Make room and call the same again: it makes what is missing."
        )
    return result


def _job(scan: BidsScan, team: Workers, out: pathlib.Path, row: Row, options: UpscaleOptions) -> Job:
    # What a run that was stopped left without its sidecar is made again.
    own = dataclasses.replace(options, figure=team.place(out / row.figure), overwrite=True)
    reader = WithThickness(scan.metadata.get("SliceThickness"))
    return Job(Scan(team.place(scan.path), reader), team.place(out / row.result), own)


@dataclasses.dataclass(frozen=True)
class WithThickness:
    """Reads NIfTI whose slice thickness may be said by a sidecar above it; a `Reader`.

    Attributes:
        thickness: Millimetres, as the sidecars say, whatever that may be.
    """

    thickness: Any
    NAME = nifti.NAME

    def recognises(self, path: pathlib.Path) -> bool:
        return nifti.recognises(path)

    def read(self, path: pathlib.Path, index: int | None, series: str | int | None) -> Volume:
        """Reads it; see `read_volume`."""
        volume = nifti.read(path, index, series)
        known = volume.slice_thickness or nifti.thickness_in({"SliceThickness": self.thickness})
        return dataclasses.replace(volume, slice_thickness=known)


def _is_done(out: pathlib.Path, row: Row) -> bool:
    return (out / row.result).is_file() and (out / row.sidecar).is_file()


def _finished(
    scan: BidsScan, out: pathlib.Path, row: Row, result: Outcome | Exception, how: Mapping[str, Any]
) -> Row:
    """Writes the sidecar of a result, or says why there is none."""
    if isinstance(result, Outcome):
        try:
            write_json(out / row.sidecar, sidecar(scan, out / row.result, result, how))
            return dataclasses.replace(row, done=True)
        except (DataError, OSError) as error:
            if no_place_left(error):
                raise IncompleteError(f"{error} Make room and call the same again.") from error
            result = error
    if isinstance(result, IncompleteError):
        raise result
    reason = reason_of(result, scan.path)
    left_out = isinstance(result, ManyVolumesError)
    log.warning("%s: %s", "Left out" if left_out else "Failed", reason)
    return dataclasses.replace(row, reason=reason, left_out=left_out)
