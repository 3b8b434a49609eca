"""Whether super-resolution helps a U-Net that has never seen the patients."""

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data import read_dataset
from keras_mrisr.data.slices import SliceDataset, SliceRecord, evenly_spaced
from keras_mrisr.degrade import get_degradation
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.compatibility import choose_degradation, split_of
from keras_mrisr.evaluation.methods import Interpolator, Model, Trained, on_the_dial
from keras_mrisr.evaluation.patients import check_renamed, choose_common_patients
from keras_mrisr.evaluation.prepare import notes_on_failures
from keras_mrisr.evaluation.protocol import pillow_version
from keras_mrisr.evaluation.slices import SliceReader
from keras_mrisr.files import check_only_holds, whole_directory
from keras_mrisr.folders import ALL, Choice, Failure
from keras_mrisr.segmentation.lesions import OVERLAP, SPECK
from keras_mrisr.segmentation.overlay import OverlayCase, overlay_figure
from keras_mrisr.segmentation.scores import PatientScore, compare_dice, score_patient, summarise_dice
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.segmentation.tables import report, to_json, write_tables
from keras_mrisr.types import PathLike, Progress

log = logging.getLogger(__name__)

HR = "HR"
UNET = "U-Net"
PARTS = ("test", "all-unseen", "held-out")
FILES = ("segmentation.json", "per_patient.csv", "overlay.png")
_Source = Callable[[SliceRecord, SliceReader], np.ndarray]


@dataclasses.dataclass(frozen=True)
class SegmentationEvaluation:
    """Scores of a U-Net on originals and on what was made of their LR images.

    Attributes:
        protocol: What was measured on what, and how: a dictionary of plain values.
        scores: One `PatientScore` for each patient and method.
        notes: Lines about patients that were left out or could not be checked.
        cases: The `OverlayCase`s of the figure.
        failures: Patients that could not be scored.
    """

    protocol: dict
    scores: tuple
    notes: tuple = ()
    cases: tuple = dataclasses.field(default=(), repr=False, compare=False)
    failures: tuple[Failure, ...] = ()

    @functools.cached_property
    def summary(self) -> Any:
        """Means over patients: a list of `SegmentationSummary`."""
        return summarise_dice(self.scores)

    @functools.cached_property
    def differences(self) -> Any:
        """Each method against those before it: a list of `PairedDifference`."""
        return compare_dice(self.scores)

    def report(self) -> Any:
        """Table, notes and protocol as a rich renderable: `rich.print(evaluation.report())`."""
        return report(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures as plain values."""
        return to_json(self)

    def lines(self) -> list[str]:
        """The protocol for a person: a list of short lines."""
        p = self.protocol
        lines = [
            f"U-Net: {p['unet']}",
            f"data: {p['data']} ({p['kind']}), part {p['part']}: {p['slices']} slices of "
            f"{len(p['patients'])} patients",
        ]
        if p["models"]:
            lines += [
                "models: " + ", ".join(f"{name} ({source})" for name, source in p["models"].items()),
                f"task: x{p['scale']}, degradation {p['degradation']['name']}; {p['images']}; "
                f"resampler {p['resampler']}",
            ]
        return [*lines, f"masks: {p['masks']}", f"Dice: {p['dice']}", f"recall: {p['recall']}", p["tests"]]


def evaluate_segmentation(
    unet: PathLike,
    data_root: PathLike,
    sr_models: Mapping[str, PathLike] | None = None,
    out: PathLike | None = None,
    *,
    part: str = "test",
    kind: str = "auto",
    patient_pattern: str | None = None,
    methods: Sequence[str] = ("bicubic",),
    perception: float | Sequence[float] = 0.0,
    largest: bool = False,
    figure_cases: int = 3,
    overwrite: bool = False,
    choice: Choice = ALL,
    progress: Progress | None = None,
) -> SegmentationEvaluation:
    """Scores a U-Net on HR slices, on interpolated LR slices, and on what models make of these.

    Only patients count that neither trained the U-Net or any model nor chose among their checkpoints.

    Args:
        unet: Directory of a U-Net, or a `Segmenter`.
        data_root: Folder of slices with masks.
        sr_models: Dict name -> directory of a model, all of one scale and degradation; None for HR only.
        out: Folder for segmentation.json, per_patient.csv and overlay.png; None for no files.
        part: "test" for the patients that are test patients to all, "all-unseen" for those that none
            has seen, or "held-out" for those that did not train any (see `choose_patients`).
        kind: "auto", "lgg" or "images".
        patient_pattern: For folders of images; the U-Net's own pattern by default.
        methods: Interpolators to compare with.
        perception: As for `evaluate_models`: of models with a GAN end, how far towards it, or several places
            of the dial.
        largest: Keep only the largest lesion of each patient.
        figure_cases: Number of patients in the figure; 0 for no figure.
        overwrite: Replace an existing `out` that holds such an evaluation and nothing else.
        choice: Which images of the data are taken.
        progress: Called as progress(done, total) with numbers of patients.

    Returns:
        A `SegmentationEvaluation`.

    Raises:
        DataError: A model, the data, the masks or the output folder is not usable; the models differ in
            scale, channels or degradation; or no patient is left that nobody has seen.
    """
    if part not in PARTS:
        raise DataError(f"Unknown part {part!r} of the split. Choose one of {', '.join(PARTS)}.")
    if out is not None and overwrite:
        check_only_holds(out, FILES)
    # The folder is opened first: a place that cannot be written is found before the work, not after.
    with whole_directory(out, overwrite) if out is not None else contextlib.nullcontext() as folder:
        task = _prepare(
            unet, data_root, sr_models or {}, methods, perception, part, kind, patient_pattern, choice
        )
        task, scores, cases, failures = _score(task, largest, progress)
        evaluation = SegmentationEvaluation(
            _protocol(task, data_root, largest),
            scores,
            (*task.notes, *notes_on_failures(failures)),
            _choose(cases, scores, figure_cases),
            failures,
        )
        if folder is not None:
            write_tables(evaluation, folder)
            if evaluation.cases:
                overlay_figure(evaluation.cases, folder / "overlay.png")
    return evaluation


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is scored: the slices, and the sources of their images by name."""

    unet: str
    segmenter: Segmenter
    models: Sequence[Model]
    dataset: SliceDataset
    degradation: Degradation
    sources: Mapping[str, _Source]
    part: str
    notes: tuple[str, ...]


def _prepare(
    unet: Any,
    data_root: PathLike,
    sr_models: Mapping[str, PathLike],
    methods: Sequence[str],
    perception: float | Sequence[float],
    part: str,
    kind: str,
    patient_pattern: str | None,
    choice: Choice,
) -> _Task:
    """Loads the models, and finds the patients that none of them has seen."""
    segmenter = Segmenter.load(unet) if isinstance(unet, str | os.PathLike) else unet
    models = _models(sr_models, perception, segmenter, methods)
    if patient_pattern is None and kind != "lgg":
        patient_pattern = segmenter.info.data.get("patient_pattern")
    dataset = read_dataset(data_root, kind, patient_pattern, choice)
    dataset.require_slices()
    infos = {UNET: segmenter.info, **{model.name: model.info for model in models}}
    splits = {name: split_of(info) for name, info in infos.items()}
    degradation = choose_degradation(models)[0] if models else get_degradation("bicubic", 1)
    check_renamed(dataset, splits)
    patients, part, notes = choose_common_patients(dataset.patients, splits, part)
    return _Task(
        type(unet).__name__ if segmenter is unet else str(unet),
        segmenter,
        models,
        _with_masks(dataset.select(patients)),
        degradation,
        _sources(models, methods, degradation),
        part,
        tuple(notes),
    )


def _sources(models: Sequence[Model], methods: Sequence[str], degradation: Degradation) -> dict[str, _Source]:
    """Where the images of each method come from: the originals, and with models their LR images upscaled."""
    sources: dict[str, _Source] = {HR: lambda record, reader: reader.hr(record)}
    if models:
        sources |= {method: Interpolator(method, degradation.factors[0]) for method in methods}
        sources |= {model.name: model for model in models}
    return sources


def _score(
    task: _Task, largest: bool, progress: Progress | None
) -> tuple[_Task, tuple[PatientScore, ...], dict[str, OverlayCase], tuple[Failure, ...]]:
    """(the task of those that could be scored, their scores by method, their cases, the others)

    Raises:
        DataError: No patient can be scored: the reason of the first.
    """
    reader = SliceReader(task.dataset, task.degradation, task.segmenter.channels)
    scores: list[PatientScore] = []
    cases: dict[str, OverlayCase] = {}
    errors: dict[pathlib.Path, Exception] = {}
    for done, (patient, records) in enumerate(task.dataset.by_patient().items(), start=1):
        try:
            own, cases[patient] = _score_patient(task, reader, records, largest)
            scores += own
        except (DataError, OSError) as error:
            errors[records[0].path.parent] = error
        if progress is not None:
            progress(done, len(task.dataset.patients))
    if not cases:
        raise next(iter(errors.values()))
    methods = list(task.sources)
    task = dataclasses.replace(task, dataset=task.dataset.select(cases))
    failures = tuple(Failure.of(error, path) for path, error in errors.items())
    for failure in failures:
        log.warning("Failed: %s", failure.reason)
    return task, tuple(sorted(scores, key=lambda score: methods.index(score.method))), cases, failures


def _protocol(task: _Task, data_root: PathLike, largest: bool) -> dict[str, Any]:
    """What was measured on what, and how."""
    return {
        "unet": task.unet,
        "models": {model.name: model.source for model in task.models},
        "methods": list(task.sources),
        "data": str(data_root),
        "kind": task.dataset.kind,
        "part": task.part,
        "patients": list(task.dataset.patients),
        "slices": len(task.dataset),
        "scale": task.degradation.scale,
        "degradation": task.degradation.to_dict() if task.models else None,
        "resampler": pillow_version(),
        "images": "HR in 8 bit, degraded whole to 8-bit LR; SR and interpolations in 8 bit",
        "masks": "probability 0.5 or more" + (", the largest lesion only" if largest else ""),
        "dice": "of all slices of a patient together, mean over patients; two empty masks are 1, "
        "one empty mask is 0",
        "recall": f"lesions (connected, {SPECK} voxels or more) of which {OVERLAP:.0%} or more is "
        "predicted; false: predictions of that size that touch no lesion",
        "tests": "95 %: BCa bootstrap of patients; p: Wilcoxon signed-rank over patients, Holm",
    }


def _models(
    sr_models: Mapping[str, PathLike],
    perception: float | Sequence[float],
    segmenter: Segmenter,
    methods: Sequence[str],
) -> list[Model]:
    models = [
        Model(name, Trained.load(path, place)) for name, path, place in on_the_dial(sr_models, perception)
    ]
    for model in models:
        if model.name in (HR, UNET, *methods):
            raise DataError(f"{model.source}: the name {model.name!r} is taken. Name the model otherwise.")
        if model.info.image_channels not in (segmenter.channels, None):  # None: any number of them.
            raise DataError(
                f"{model.source} makes {model.info.channels} channel(s), the U-Net takes "
                f"{segmenter.channels}. Choose models of one kind of slices."
            )
    return models


def _with_masks(dataset: SliceDataset) -> SliceDataset:
    without = [record for record in dataset.slices if record.mask is None]
    if without:
        raise DataError(
            f"{without[0].path} has no mask ({len(without)} of {len(dataset)} slices of the patients to "
            f"evaluate): put {pathlib.Path(without[0].path).stem}_mask beside it, or remove the slice."
        )
    return dataset


def _score_patient(
    task: _Task, reader: SliceReader, records: Sequence[SliceRecord], largest: bool
) -> tuple[list[PatientScore], OverlayCase]:
    """The scores of all methods, and the case, of one patient."""
    masks: list[Any] = [reader.tumour(record) for record in records]  # Each has one.
    if any(mask.shape != masks[0].shape for mask in masks):
        raise DataError(
            f"The slices of patient {records[0].patient} differ in size: its lesions need a stack of one "
            "size. Say with a patient pattern which files belong together."
        )
    truth = np.stack(masks)
    shown = int(truth.sum(axis=(1, 2)).argmax())
    scores, columns = [], {}
    for method, source in task.sources.items():
        images = [source(record, reader) for record in records]
        prediction = np.stack(task.segmenter(images, largest=largest))
        scores.append(score_patient(records, method, truth, prediction))
        columns[method] = (images[shown], prediction[shown], scores[-1].dice)
    label = f"{records[0].patient} · slice {records[shown].index}"
    return scores, OverlayCase(label, truth[shown], columns)


def _choose(
    cases: Mapping[str, OverlayCase], scores: Sequence[PatientScore], count: int
) -> tuple[OverlayCase, ...]:
    """Cases from the patient with the lowest Dice at HR to the one with the highest."""
    ordered = sorted((score for score in scores if score.method == HR), key=lambda score: score.dice)
    return tuple(cases[ordered[place].patient] for place in evenly_spaced(len(ordered), count, ends=True))
