"""Whether super-resolution helps a U-Net that has never seen the patients."""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data import read_dataset
from keras_mrisr.data.slices import evenly_spaced
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.compatibility import choose_degradation, split_of
from keras_mrisr.evaluation.methods import Interpolator, Model
from keras_mrisr.evaluation.patients import check_renamed, choose_common_patients
from keras_mrisr.evaluation.protocol import pillow_version
from keras_mrisr.evaluation.slices import SliceReader
from keras_mrisr.files import check_only_holds, whole_directory
from keras_mrisr.segmentation.lesions import OVERLAP, SPECK
from keras_mrisr.segmentation.overlay import OverlayCase, overlay_figure
from keras_mrisr.segmentation.scores import compare_dice, score_patient, summarise_dice
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.segmentation.tables import report, to_json, write_tables
from keras_mrisr.types import PathLike, Progress

HR = "HR"
UNET = "U-Net"
PARTS = ("test", "all-unseen", "held-out")
FILES = ("segmentation.json", "per_patient.csv", "overlay.png")


@dataclasses.dataclass(frozen=True)
class SegmentationEvaluation:
    """Scores of a U-Net on originals and on what was made of their LR images.

    Attributes:
        protocol: What was measured on what, and how: a dictionary of plain values.
        scores: One `PatientScore` for each patient and method.
        notes: Lines about patients that were left out or could not be checked.
        cases: The `OverlayCase`s of the figure.
    """

    protocol: dict
    scores: tuple
    notes: tuple = ()
    cases: tuple = dataclasses.field(default=(), repr=False, compare=False)

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
    largest: bool = False,
    figure_cases: int = 3,
    overwrite: bool = False,
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
        largest: Keep only the largest lesion of each patient.
        figure_cases: Number of patients in the figure; 0 for no figure.
        overwrite: Replace an existing `out` that holds such an evaluation and nothing else.
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
        segmenter = Segmenter.load(unet) if isinstance(unet, str | os.PathLike) else unet
        name = type(unet).__name__ if segmenter is unet else str(unet)
        models = _models(sr_models or {}, segmenter, methods)
        if patient_pattern is None and kind != "lgg":
            patient_pattern = segmenter.info.data.get("patient_pattern")
        dataset = read_dataset(data_root, kind, patient_pattern)
        dataset.require_slices()
        splits = {UNET: segmenter.info, **{model.name: model.info for model in models}}
        splits = {key: split_of(info) for key, info in splits.items()}
        degradation = choose_degradation(models)[0] if models else get_degradation("bicubic", 1)
        check_renamed(dataset, splits)
        patients, part, notes = choose_common_patients(dataset.patients, splits, part)
        dataset = _with_masks(dataset.select(patients))
        reader = SliceReader(dataset, degradation, segmenter.channels)
        sources = {HR: lambda record, reader: reader.hr(record)}
        if models:
            sources |= {method: Interpolator(method, degradation.factors[0]) for method in methods}
            sources |= {model.name: model for model in models}
        scores, cases = [], {}
        for done, (patient, records) in enumerate(dataset.by_patient().items(), start=1):
            own, cases[patient] = _score(segmenter, reader, records, sources, largest)
            scores += own
            if progress is not None:
                progress(done, len(dataset.patients))
        scores.sort(key=lambda score: list(sources).index(score.method))
        evaluation = SegmentationEvaluation(
            protocol={
                "unet": name,
                "models": {model.name: model.source for model in models},
                "methods": list(sources),
                "data": str(data_root),
                "kind": dataset.kind,
                "part": part,
                "patients": list(dataset.patients),
                "slices": len(dataset),
                "scale": degradation.scale,
                "degradation": degradation.to_dict() if models else None,
                "resampler": pillow_version(),
                "images": "HR in 8 bit, degraded whole to 8-bit LR; SR and interpolations in 8 bit",
                "masks": "probability 0.5 or more" + (", the largest lesion only" if largest else ""),
                "dice": "of all slices of a patient together, mean over patients; two empty masks are 1, "
                "one empty mask is 0",
                "recall": f"lesions (connected, {SPECK} voxels or more) of which {OVERLAP:.0%} or more is "
                "predicted; false: predictions of that size that touch no lesion",
                "tests": "95 %: BCa bootstrap of patients; p: Wilcoxon signed-rank over patients, Holm",
            },
            scores=tuple(scores),
            notes=tuple(notes),
            cases=_choose(cases, scores, figure_cases),
        )
        if folder is not None:
            write_tables(evaluation, folder)
            if evaluation.cases:
                overlay_figure(evaluation.cases, folder / "overlay.png")
    return evaluation


def _models(sr_models, segmenter, methods):
    models = [Model(name, path) for name, path in sr_models.items()]
    for model in models:
        if model.name in (HR, UNET, *methods):
            raise DataError(f"{model.source}: the name {model.name!r} is taken. Name the model otherwise.")
        if model.info.image_channels not in (segmenter.channels, None):  # None: any number of them.
            raise DataError(
                f"{model.source} makes {model.info.channels} channel(s), the U-Net takes "
                f"{segmenter.channels}. Choose models of one kind of slices."
            )
    return models


def _with_masks(dataset):
    without = [record for record in dataset.slices if record.mask is None]
    if without:
        raise DataError(
            f"{without[0].path} has no mask ({len(without)} of {len(dataset)} slices of the patients to "
            f"evaluate): put {pathlib.Path(without[0].path).stem}_mask beside it, or remove the slice."
        )
    return dataset


def _score(segmenter, reader, records, sources, largest):
    """(`PatientScore`s of all methods, `OverlayCase`) of one patient."""
    masks = [reader.tumour(record) for record in records]
    if any(mask.shape != masks[0].shape for mask in masks):
        raise DataError(
            f"The slices of patient {records[0].patient} differ in size: its lesions need a stack of one "
            "size. Say with a patient pattern which files belong together."
        )
    truth = np.stack(masks)
    shown = int(truth.sum(axis=(1, 2)).argmax())
    scores, columns = [], {}
    for method, source in sources.items():
        images = [source(record, reader) for record in records]
        prediction = np.stack(segmenter(images, largest=largest))
        scores.append(score_patient(records, method, truth, prediction))
        columns[method] = (images[shown], prediction[shown], scores[-1].dice)
    label = f"{records[0].patient} · slice {records[shown].index}"
    return scores, OverlayCase(label, truth[shown], columns)


def _choose(cases, scores, count):
    """Cases from the patient with the lowest Dice at HR to the one with the highest."""
    ordered = sorted((score for score in scores if score.method == HR), key=lambda score: score.dice)
    return tuple(cases[ordered[place].patient] for place in evenly_spaced(len(ordered), count, ends=True))
