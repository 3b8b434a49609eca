"""The evaluation of models on patients they never saw, against plain interpolation and each other."""

import contextlib
import csv
import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.cases import make_cases
from keras_mrisr.evaluation.options import EvaluationOptions
from keras_mrisr.evaluation.prepare import Task, prepare
from keras_mrisr.evaluation.protocol import SR, Protocol, pillow_version
from keras_mrisr.evaluation.result import FILES, Evaluation, Patient
from keras_mrisr.evaluation.scorers import Scorer
from keras_mrisr.evaluation.scores import REGIONS, TUMOUR, ImageScore
from keras_mrisr.evaluation.sharpness import spectral_energy
from keras_mrisr.evaluation.slices import SliceImages
from keras_mrisr.files import check_new_file, check_only_holds, whole_directory
from keras_mrisr.folders import Failure
from keras_mrisr.types import PathLike, Progress

log = logging.getLogger(__name__)


def evaluate_model(
    model: Any, data_root: PathLike, out: PathLike | None = None, **options: Any
) -> Evaluation:
    """Scores one model and plain interpolation on the patients it was not trained on.

    Args:
        model: Path of a model directory, the name of a bundled model, a Keras model that maps images in
            [0, 1] to larger ones (then `degradation` says how LR is made), or an `Upscaler`.
        data_root: Folder of the data.
        out: Folder for the files; None for none.
        **options: As for `evaluate_models`.

    Returns:
        An `Evaluation` in which the model is called "SR".

    Raises:
        MrisrError: As `evaluate_models`.

    Examples:
        >>> evaluate_model(model, "slices", degradation="bicubic").mean("SR", "psnr")
    """
    return evaluate_models({SR: model}, data_root, out, **options)


def evaluate_models(
    models: Mapping[str, Any],
    data_root: PathLike,
    out: PathLike | None = None,
    options: EvaluationOptions | None = None,
    *,
    report: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Evaluation:
    """Scores models, predictions of other programs and plain interpolators on the same patients.

    Each HR slice is degraded whole by what the models were trained to undo, as 8-bit images throughout, or
    for models of volumes each stack of slices; every model and interpolator upscales the same LR; metrics
    are taken per image for all channels and for FLAIR, on the whole slice, on tissue, and where the data has
    masks on the tumour.
    `Evaluation.protocol` says it all.

    Args:
        models: Dict name -> model, each as for `evaluate_model`.
        data_root: Folder of the data: images, LGG slices, or NIfTI volumes, of which the slices across the
            largest spacing are scored (those of a patient's images, in order, are the stack that a model of
            volumes upscales).
        out: Folder for metrics.json, per_image.csv, per_patient.csv and figure.png; None for no files.
        options: What is scored, and how; by default `EvaluationOptions()`.
        report: HTML file to write, which may lie in `out`: see `Evaluation.save_html`.
        overwrite: Replace an existing `out` that holds an evaluation and nothing else, and `report`.
        progress: Called as progress(done, total) with numbers of slices.
        **changes: Attributes of `EvaluationOptions` that differ from `options`.

    Returns:
        An `Evaluation`.

    Raises:
        ConfigError: An option is unknown or out of range, or the models do different tasks.
        ModelError: A model is not usable.
        DataError: The data, the part, predictions or an output are not usable, or no slice fits the models.
            Where some do not, `Evaluation.failures` says why.
    """
    options = dataclasses.replace(options or EvaluationOptions(), **changes)
    page = check_outputs(out, report, overwrite)
    # The folder is opened first: a place that cannot be written is found before the work, not after.
    with whole_directory(out, overwrite) if out is not None else contextlib.nullcontext() as folder:
        task = prepare(models, data_root, options)
        scores, patients, failures = score(task, progress)
        task = task.scored(failures)
        evaluation = assemble(task, data_root, options, scores, patients)
        write_outputs(evaluation, folder, report, page, overwrite)
    return evaluation


def check_outputs(out: PathLike | None, report: PathLike | None, overwrite: bool) -> pathlib.Path | None:
    """The report's path relative to `out` where it lies in it, or None.

    Raises:
        DataError: One of them cannot be written, or holds something else.
    """
    page = _place_inside(out, report)
    if out is not None and overwrite:
        check_only_holds(out, (*FILES, *([page.name] if page and page.name == str(page) else [])))
    if report is not None:
        _check_report(report, overwrite)
    return page


def write_outputs(
    evaluation: Evaluation,
    folder: pathlib.Path | None,
    report: PathLike | None,
    page: pathlib.Path | None,
    overwrite: bool,
) -> None:
    """Writes the files and the page of an evaluation; `folder` becomes `out`, and `page` lies in it."""
    if folder is not None:
        evaluation.write(folder)
    if report is not None:
        evaluation.save_html(folder / page if folder and page else report, overwrite)


def score(
    task: Task, progress: Progress | None = None
) -> tuple[list[ImageScore], tuple[Patient, ...], list[Failure]]:
    """The scores of all slices, in order, what was learnt about the patients, and what could not be scored.

    Raises:
        DataError: Nothing can be scored: the reason of the first.
    """
    scores: list[ImageScore] = []
    facts: dict[str, _Facts] = {}
    errors: dict[pathlib.Path, Exception] = {}
    for done, record in enumerate(task.records, start=1):
        try:
            images = task.images(record)
        except (DataError, OSError) as error:
            errors[record.path] = error
        else:
            facts.setdefault(record.patient, _Facts(record.site)).add(images)
            scores += _score_slice(images, task.scorers)
            if task.realism is not None:
                task.realism.add(images)
        if progress is not None:
            progress(done, len(task.records))
    if errors and not scores:
        raise next(iter(errors.values()))
    failures = [Failure.of(error, path) for path, error in errors.items()]
    for failure in failures:
        log.warning("Failed: %s", failure.reason)
    return scores, tuple(found.patient(name) for name, found in facts.items()), failures


def _score_slice(images: SliceImages, scorers: Sequence[Scorer]) -> list[ImageScore]:
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for scorer in scorers:
        for key, found in scorer(images).items():
            values.setdefault(key, {}).update(found)
    record: SliceRecord = images.record
    return [
        ImageScore(record.path, record.patient, record.index, *key, found, record.site)
        for key, found in values.items()
    ]


@dataclasses.dataclass
class _Facts:
    """Sums over the slices of a patient."""

    site: str | None
    images: int = 0
    tumours: int = 0
    detail: float = 0.0
    energy: float = 0.0

    def add(self, images: SliceImages) -> None:
        detail, energy = spectral_energy(images.hr)
        self.images += 1
        self.tumours += TUMOUR in images.masks
        self.detail += detail
        self.energy += energy

    def patient(self, name: str) -> Patient:
        sharpness = self.detail / self.energy if self.energy else float("nan")
        return Patient(name, self.site, self.images, self.tumours, sharpness)


def assemble(
    task: Task,
    data_root: PathLike,
    options: EvaluationOptions,
    scores: Sequence[ImageScore],
    patients: tuple[Patient, ...],
) -> Evaluation:
    """The `Evaluation` of scores: with their protocol, the cases of the figure, and curves of trainings."""
    realism = task.realism.result() if task.realism else None
    given = tuple(dict.fromkeys(measure for scorer in task.scorers for measure in scorer.measures))
    definitions = {measure.title: measure.definition for measure in given}
    definitions |= realism.definitions if realism else {}
    protocol = _protocol(task, data_root, options, scores, definitions)
    return Evaluation(
        protocol,
        tuple(scores),
        given,
        patients,
        task.notes,
        make_cases(task, scores, options.figure_cases),
        {one.name: history for one in task.models if (history := _history(one.folder))},
        realism,
        task.failures,
    )


def _protocol(
    task: Task,
    data_root: PathLike,
    options: EvaluationOptions,
    scores: Sequence[ImageScore],
    definitions: dict[str, str],
) -> Protocol:
    """What was measured on what, and how."""
    return Protocol(
        methods={one.name: one.source for one in task.methods},
        interpolations=tuple(one.name for one in task.plain),
        data=str(data_root),
        kind=task.kind,
        part=task.part,
        patients=tuple(dict.fromkeys(record.patient for record in task.records)),
        images=len(task.records),
        limit=options.limit,
        scale=task.degradation.scale,
        degradation=task.degradation.to_dict(),
        resampler=pillow_version(),
        ensemble=options.ensemble,
        consistency=options.consistency,
        noise_snr=options.noise_snr,
        cropped=len(task.reader.cropped),
        converted=len(task.reader.converted),
        channels=tuple(dict.fromkeys(one.channel for one in scores)),
        regions=tuple(sorted({one.region for one in scores}, key=_region_order)),
        metrics=definitions,
    )


def _region_order(region: str) -> tuple[int, str]:
    return (REGIONS.index(region), "") if region in REGIONS else (len(REGIONS), region)


def _place_inside(out: PathLike | None, report: PathLike | None) -> pathlib.Path | None:
    """The report's path relative to `out` where it lies in it and is written along with it, or None."""
    if out is None or report is None:
        return None
    out, report = pathlib.Path(out).resolve(), pathlib.Path(report).resolve()
    return report.relative_to(out) if out in report.parents else None


def _check_report(path: PathLike, overwrite: bool) -> None:
    check_new_file(path, overwrite)
    if pathlib.Path(path).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path} does not end in .html. Give the name of the HTML file to write.")


def _history(folder: pathlib.Path | None) -> list[dict[str, float]]:
    """The rows of a run's history.csv as dicts of numbers; empty without one that can be read."""
    if folder is None:
        return []
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [{key: float(value) for key, value in row.items() if value} for row in rows]
    except (TypeError, OSError, ValueError, AttributeError):  # No file, or not of numbers.
        return []
