"""Upscaling many inputs: each result is written as soon as it is done, and a bad file stops no other."""

import concurrent.futures
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from keras_mrisr.errors import DataError, IncompleteError, ManyVolumesError, MrisrError
from keras_mrisr.files import held
from keras_mrisr.folders import Failure, check_results, no_place_left
from keras_mrisr.inference.image_file import ImageFile, log_residual
from keras_mrisr.inference.input_range import warn_outside
from keras_mrisr.inference.inputs import Folder, Input
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.report import check_report, residual_path, write_report
from keras_mrisr.types import Progress

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """One of several inputs.

    Attributes:
        input: What is upscaled.
        target: Where its result goes.
        options: How.
    """

    input: Input
    target: pathlib.Path
    options: UpscaleOptions


def check_folder(folder: Folder, target: pathlib.Path, options: UpscaleOptions) -> None:
    """Checks before the work that the results of a folder can be written, apart from their sources.

    Raises:
        DataError: They cannot.
    """
    check_results(folder.path, target, options.overwrite, options.skip_existing)
    if options.consistency and folder.holds_images:
        check_report(residual_path(target), options.overwrite or options.skip_existing)
    elif options.consistency:
        names = {residual_path(name) for name in folder.inputs}
        if len(names) < len(folder.inputs):
            raise DataError(
                f"{folder.path} holds a volume under two endings: the reports of `consistency` need names "
                "apart."
            )


def upscale_folder(
    folder: Folder,
    target: pathlib.Path,
    resolver: Any,
    options: UpscaleOptions,
    progress: Progress | None = None,
) -> Outcome:
    """Upscales the images or scans of a folder into another, under the same names.

    Args:
        folder: What `input_at` found.
        target: The folder of the results; made if missing.
        resolver: A `SuperResolver`; of scans also what `ways.way_for` takes.
        options: The options. With `skip_existing` a result that is there is left as it is.
        progress: Called with the number of inputs done so far and the number in all.

    Returns:
        The outcome of all together; `failures` says what could not be upscaled.

    Raises:
        DataError: The target is no place for results.
        IncompleteError: Nothing more can be written; what was done stays.
        MrisrError: Nothing could be upscaled.
    """
    check_folder(folder, target, options)
    # Images have one report for all, a volume one of its own.
    together = options.consistency and folder.holds_images
    each = dataclasses.replace(options, residuals=not together)
    jobs = [Job(one, target / name, each) for name, one in folder.inputs.items()]
    outcome = _upscale_all(jobs, resolver, progress)
    if together and outcome.residual is not None:
        before, after = outcome.residual
        log_residual(outcome.residual)
        values = {"before": before, "after": after, "images": len(outcome.written)}
        write_report(residual_path(target), resolver.name, values)
        outcome.written.append(residual_path(target))
    return outcome


def _upscale_all(jobs: Sequence[Job], resolver: Any, progress: Progress | None) -> Outcome:
    """Upscales inputs; one that holds several volumes is left out, a bad one is a `Failure`."""
    missing = [job for job in jobs if not (job.options.skip_existing and job.target.exists())]
    tally = _Tally(len(jobs), len(jobs) - len(missing))
    if tally.skipped:
        log.info("%d of %d results are there already and are left as they are", tally.skipped, len(jobs))
    for done, (job, result) in enumerate(upscale_each(missing, resolver), 1):
        tally.add(job, result)
        if progress is not None:
            progress(done, len(missing))
    return tally.outcome()


class _Tally:
    """Counts what becomes of several inputs, and says at once what goes wrong.

    Args:
        count: The number of inputs.
        skipped: How many had a result already.
    """

    def __init__(self, count: int, skipped: int) -> None:
        self.count, self.skipped, self.left_out = count, skipped, 0
        self.outcomes: list[Outcome] = []
        self.errors: list[Exception] = []
        self.failures: list[Failure] = []
        self._said = 0

    def add(self, job: Job, result: Outcome | Exception) -> None:
        """Takes in what became of one.

        Raises:
            IncompleteError: Nothing more can be written.
        """
        if isinstance(result, Outcome):
            self.outcomes.append(result)
            self._say()
        elif isinstance(result, ManyVolumesError) and self.count > 1:
            self.left_out += 1
            log.warning("Left out: %s", result)
        else:
            self._fail(Failure.of(result, job.input.path), result)

    def _fail(self, failure: Failure, error: Exception) -> None:
        if no_place_left(error):
            raise IncompleteError(
                f"{failure.reason} {len(self.outcomes) + self.skipped} of {self.count} are done: make room, "
                "and pass `skip_existing=True` to go on with the others."
            ) from error
        self.errors.append(error)
        self.failures.append(failure)
        if self.outcomes or self.skipped:
            self._say()

    def _say(self) -> None:
        """Logs failures, once there is a result: where there is none, one reason is enough for all."""
        for failure in self.failures[self._said :]:
            log.warning("Failed: %s", failure.reason)
        self._said = len(self.failures)

    def outcome(self) -> Outcome:
        """The outcome of all together.

        Raises:
            MrisrError: Nothing could be upscaled: the reason of the first.
        """
        if not self.outcomes and not self.skipped:
            if self.errors:
                raise self.errors[0]
            raise DataError(
                f"All {self.left_out} files hold several volumes each. Choose one with `volume_index`, or "
                "give them one by one."
            )
        joined = Outcome.joined(self.outcomes)
        return dataclasses.replace(
            joined, failures=tuple(self.failures), left_out=self.left_out, skipped=self.skipped
        )


def upscale_each(jobs: Sequence[Job], resolver: Any) -> Iterator[tuple[Job, Outcome | Exception]]:
    """Upscales inputs one after another; images as many at a time as the resolver likes.

    Yields:
        Each job with its outcome, or with what went wrong, in their order.
    """
    seen: set[tuple[int, ...]] = set()

    def upscale(job: Job) -> Outcome | Exception:
        try:
            return _upscale(job, resolver, seen)
        except (MrisrError, OSError, MemoryError) as error:
            return error

    images = all(isinstance(job.input, ImageFile) for job in jobs)
    if not images or resolver.images_at_once == 1:
        for job in jobs:
            yield job, upscale(job)
        return
    with concurrent.futures.ThreadPoolExecutor(resolver.images_at_once) as pool:
        try:
            yield from zip(jobs, pool.map(upscale, jobs), strict=True)
        except BaseException:  # An interruption also ends what is under way in other threads.
            pool.shutdown(wait=False, cancel_futures=True)
            resolver.cancel()
            raise


def _upscale(job: Job, resolver: Any, seen: set[tuple[int, ...]]) -> Outcome:
    """Reads, checks, upscales and writes one."""
    options = job.options
    with held(*job.input.outputs(job.target, options)):
        read = job.input.read(resolver, options)
        job.input.check(read, job.target, resolver, options)
        if isinstance(job.input, ImageFile) and read.image.shape[:2] not in seen:  # One warning for a size.
            seen.add(read.image.shape[:2])
            warn_outside(job.input.path, job.input.outside(read, resolver))
        return job.input.upscale(read, job.target, resolver, options)
