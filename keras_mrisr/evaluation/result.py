"""The result of an evaluation: scores, what follows from them, and the files."""

import collections
import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.comparisons import Comparison, compare_methods, summarise_groups
from keras_mrisr.evaluation.figure import comparison_figure
from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.protocol import SR, Protocol
from keras_mrisr.evaluation.realism import Realism
from keras_mrisr.evaluation.samples import Samples, collect
from keras_mrisr.evaluation.scores import ImageScore
from keras_mrisr.evaluation.sharpness import strata
from keras_mrisr.evaluation.statistics import LEAST_PATIENTS
from keras_mrisr.evaluation.summary import Summary, summarise
from keras_mrisr.evaluation.tables import report, to_json, write_tables
from keras_mrisr.evaluation.views import Case
from keras_mrisr.files import check_only_holds, whole_directory
from keras_mrisr.folders import Failure
from keras_mrisr.types import PathLike

FILES = ("metrics.json", "per_image.csv", "per_patient.csv", "figure.png")


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient of an evaluation.

    Attributes:
        name: The patient.
        site: Hospital or scanner, or None.
        images: Number of slices that were scored.
        tumour_images: How many of them have a mask that is not empty.
        sharpness: Share of the spectral energy of these slices that is detail (see
            `sharpness.spectral_energy`); nan where all are constant.
    """

    name: str
    site: str | None
    images: int
    tumour_images: int
    sharpness: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of methods on the same patients, with how they were measured.

    Attributes:
        protocol: What was measured on what, and how.
        scores: One `ImageScore` for each image, method, channel set and region.
        measures: The `Measure`s that the scores have.
        patients: A `Patient` each.
        notes: Lines about patients that were left out or could not be checked.
        cases: The images of the figure.
        histories: Name of a model -> the rows of its training's history.csv, as dicts of numbers.
        realism: What was measured of all images together; None where nothing was.
        failures: The files that could not be scored; the notes name them, too.
    """

    protocol: Protocol
    scores: tuple[ImageScore, ...]
    measures: tuple[Measure, ...]
    patients: tuple[Patient, ...]
    notes: tuple[str, ...] = ()
    cases: tuple[Case, ...] = dataclasses.field(default=(), repr=False, compare=False)
    histories: dict[str, list[dict[str, float]]] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    realism: Realism | None = None
    failures: tuple[Failure, ...] = ()

    @functools.cached_property
    def samples(self) -> list[Samples]:
        """The values of images and patients by channel set, region and metric: a list of `Samples`."""
        return collect(self.scores, self.measures)

    @functools.cached_property
    def summary(self) -> list[Summary]:
        """Means over images and patients: a list of `Summary`."""
        return summarise(self.scores, self.measures, self.protocol.baseline)

    @functools.cached_property
    def comparisons(self) -> list[Comparison]:
        """Every two methods on the same patients, but for two interpolators: a list of `Comparison`."""
        return compare_methods(self.samples, self.protocol.interpolations)

    @functools.cached_property
    def by_site(self) -> dict[str, list[Summary]]:
        """Site -> list of `Summary`; empty where the data names no sites."""
        return self._groups({patient.name: patient.site for patient in self.patients})

    @functools.cached_property
    def strata(self) -> dict[str, str]:
        """Patient -> "soft", "middle" or "sharp"; empty for fewer than three patients."""
        return strata({patient.name: patient.sharpness for patient in self.patients})

    @functools.cached_property
    def by_sharpness(self) -> dict[str, list[Summary]]:
        """Third of the patients by the sharpness of their originals -> list of `Summary`."""
        return self._groups(self.strata)

    def _groups(self, groups: Mapping[str, str | None]) -> dict[str, list[Summary]]:
        return summarise_groups(self.scores, self.measures, groups, self.protocol.baseline)

    @functools.cached_property
    def footnotes(self) -> list[str]:
        """What a reader of the tables must know about their gaps: a list of lines."""
        lines = [*self._note_on_gaps(), *self._note_on_patients()]
        if any(not math.isfinite(row.patient_mean) for row in self.summary):
            lines.append("A dash stands where no image has a finite value.")
        return lines

    def _note_on_gaps(self) -> Iterator[str]:
        gaps = [row for row in self.summary if row.excluded]
        if gaps:
            number = _range(row.excluded for row in gaps)
            titles = [one.title for one in self.measures if one.name in {row.metric for row in gaps}]
            images, have = ("image", "has") if number == "1" else ("images", "have")
            yield (
                f"{number} {images} per row of {', '.join(titles)} {have} no finite value (equal to the "
                "original, constant, or no tissue): left out of its means, for all methods alike."
            )

    def _note_on_patients(self) -> Iterator[str]:
        """What so few patients cannot show."""
        count = len(self.patients)
        if count < LEAST_PATIENTS:
            whom = "One patient" if count == 1 else f"{count} patients"
            yield f"{whom} only: no interval and no test between methods can be given."
            return
        sections = collections.Counter((row.metric, row.channel, row.region) for row in self.comparisons)
        pairs = next(iter(sections.values()), 0)
        counts = {row.patients for row in self.comparisons if row.patients > 1}
        few = [count for count in counts if pairs * 2 / 2**count > 0.05]
        if few:
            least = 2 / 2 ** max(few)
            yield (
                f"With {_range(few)} patients no p-value can be under {least:.2g}, nor, adjusted for "
                f"{pairs} pairs, under {min(1, pairs * least):.2g}: look at intervals and effects."
            )

    def mean(
        self,
        method: str = SR,
        metric: str = "psnr",
        channel: str | None = None,
        region: str | None = None,
        delta: bool = False,
    ) -> float:
        """One number: the mean per image, or its difference to the baseline.

        Args:
            method: "SR", "nearest", "bicubic", "lanczos", or the name that a model was given.
            metric: "psnr", "ssim" or another that was scored.
            channel: The first set scored ("RGB" or "grey") by default.
            region: "whole" (the default), "tissue" or "tumour"; of thick slices "volume" (the default) or
                the name of a plane.
            delta: Return the difference to the baseline: bicubic, or of thick slices the cubic spline.

        Raises:
            DataError: Nothing of that name was scored.
        """
        protocol = self.protocol
        wanted = (method, metric, channel or protocol.channels[0], region or protocol.regions[0])
        for row in self.summary:
            if (row.method, row.metric, row.channel, row.region) == wanted:
                return row.image_delta if delta else row.image_mean
        raise DataError(f"Nothing was scored as {' / '.join(wanted)}. See the rows of .summary.")

    def report(self, unit: str = "patients") -> Any:
        """Tables, notes and protocol as a rich renderable: `rich.print(evaluation.report())`.

        Args:
            unit: What to call the patients.
        """
        return report(self, unit)

    def to_dict(self) -> dict[str, Any]:
        """Protocol, notes, summary, comparisons, groups and means per patient as plain values."""
        return to_json(self)

    def save(self, out: PathLike, overwrite: bool = False) -> None:
        """Writes metrics.json, per_image.csv, per_patient.csv and figure.png to the folder `out`.

        Raises:
            DataError: `out` exists (and `overwrite` is false), holds something else, or cannot be written.
        """
        if overwrite:
            check_only_holds(out, FILES)
        with whole_directory(out, overwrite) as folder:
            self.write(folder)

    def save_html(self, path: PathLike, overwrite: bool = False) -> None:
        """Writes one self-contained page: see `evaluation.page.write_page`."""
        from keras_mrisr.evaluation.page import write_page

        write_page(self, path, overwrite)

    def write(self, folder: pathlib.Path) -> None:
        """Writes the files into an existing folder."""
        write_tables(self, folder)
        if self.cases:
            comparison_figure(self.cases, folder / "figure.png", title=self.protocol.task)


def _range(numbers: Iterable[int]) -> str:
    """ "3" or "3 to 5"."""
    numbers = list(numbers)
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"
