"""The evaluation of models that make thick slices thin."""

import collections
import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.slices import SliceDataset, SliceRecord, evenly_spaced
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.compatibility import check_names, split_of
from keras_mrisr.evaluation.evaluate import check_outputs, write_outputs
from keras_mrisr.evaluation.patients import check_renamed, choose_common_patients
from keras_mrisr.evaluation.prepare import note_on_predictions, notes_on_failures
from keras_mrisr.evaluation.result import Evaluation, Patient
from keras_mrisr.evaluation.scores import ImageScore, rank
from keras_mrisr.evaluation.sharpness import spectral_energy
from keras_mrisr.evaluation.slices import spread
from keras_mrisr.evaluation.through_plane.measures import MEASURES, VOLUME, Scorer
from keras_mrisr.evaluation.through_plane.methods import (
    Interpolator,
    Method,
    Model,
    Predictions,
    make_interpolators,
    make_models,
)
from keras_mrisr.evaluation.through_plane.options import ThroughPlaneOptions
from keras_mrisr.evaluation.through_plane.protocol import ThroughPlaneProtocol
from keras_mrisr.evaluation.through_plane.volumes import (
    Masks,
    Thickened,
    choose_axes,
    find_volumes,
    read_thin,
    thicken,
)
from keras_mrisr.evaluation.views import Case
from keras_mrisr.files import whole_directory
from keras_mrisr.folders import Failure
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes import write_volume
from keras_mrisr.volumes.geometry import PLANES, plane_of
from keras_mrisr.volumes.stored_values import rounded

log = logging.getLogger(__name__)


def evaluate_through_plane(
    models: Mapping[str, Any],
    data: PathLike,
    out: PathLike | None = None,
    options: ThroughPlaneOptions | None = None,
    *,
    report: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Evaluation:
    """Makes thick slices of volumes, has them restored, and scores what comes out in 3-D and by plane.

    Args:
        models: Dict name -> path or name of a through-plane model, or a `ThroughPlaneResolver`; may be empty.
        data: A NIfTI file of thin slices, or a folder of them, with the patients as in `read_volume_folder`.
        out: Folder for metrics.json, per_image.csv, per_patient.csv and figure.png; None for no files.
        options: What is made thick and scored; by default `ThroughPlaneOptions()`.
        report: HTML file to write, which may lie in `out`.
        overwrite: Replace an existing `out` that holds an evaluation and nothing else, and `report`.
        progress: Called as progress(done, total) with numbers of restored volumes.
        **changes: Attributes of `ThroughPlaneOptions` that differ from `options`.

    Returns:
        An `Evaluation`: its channel sets are the factors ("x4"), its regions "volume" and the planes, its
        images the volumes, each along one axis.

    Raises:
        ConfigError: An option is unknown or out of range, or two methods have one name.
        ModelError: A model is not usable, or of another task.
        DataError: The data, a mask or a prediction is not usable, or a volume is thick itself.
    """
    options = dataclasses.replace(options or ThroughPlaneOptions(), **changes)
    page = check_outputs(out, report, overwrite)
    with contextlib.ExitStack() as stack:
        folder = None if out is None else stack.enter_context(whole_directory(out, overwrite))
        place = None
        if options.lr_out is not None:
            place = stack.enter_context(whole_directory(options.lr_out))
        task = _prepare(models, data, options)
        evaluation = _score(task, progress, place)
        write_outputs(evaluation, folder, report, page, overwrite)
    return evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class _Task:
    data: PathLike
    options: ThroughPlaneOptions
    dataset: SliceDataset
    records: list[SliceRecord]
    masks: Masks
    plain: list[Interpolator]
    models: list[Model]
    predictions: list[Predictions]
    part: str
    notes: tuple[str, ...]

    @property
    def methods(self) -> list[Method]:
        return [*self.plain, *self.models, *self.predictions]

    @property
    def shown(self) -> list[str]:
        """Names of what the figure shows: one interpolator and all that is none."""
        names = [one.name for one in self.plain]
        first = ["cubic"] if "cubic" in names else names[:1]
        return [*first, *(one.name for one in self.models), *(one.name for one in self.predictions)]


def _prepare(models: Mapping[str, Any], data: PathLike, options: ThroughPlaneOptions) -> _Task:
    trained = make_models(models, options.ensemble, options.consistency)
    for model in trained:
        model.check(options.factors)
    dataset = find_volumes(data, options.patient_pattern, options.choice)
    predictions = [Predictions(name, folder, dataset.root) for name, folder in options.predictions.items()]
    plain = make_interpolators(options.methods)
    if not (plain or trained or predictions):
        raise ConfigError("Nothing to score: give a model, predictions, or interpolators (`methods`).")
    check_names(plain, [*trained, *predictions])
    splits = {one.name: split_of(one.info) for one in trained}
    check_renamed(dataset, splits)
    patients, part, notes = choose_common_patients(dataset.patients, splits, options.part)
    records = spread(dataset.select(patients).slices, options.limit)
    for one in predictions:
        one.check(records)
    masks = Masks(options.mask, dataset.root, len(records))
    notes = (*notes, *map(note_on_predictions, predictions))
    return _Task(data, options, dataset, records, masks, plain, trained, predictions, part, notes)


def _score(task: _Task, progress: Progress | None, lr_out: pathlib.Path | None) -> Evaluation:
    """The `Evaluation` of all volumes, axes and factors."""
    found = _Found(task)
    axes = 3 if task.options.axis == "all" else 1
    each = axes * len(task.options.factors) * len(task.methods)
    for place, record in enumerate(task.records):
        try:
            scored = _scored(task, record, lr_out, _after(progress, place * each, len(task.records) * each))
        except (DataError, OSError) as error:
            found.errors[record] = error
        else:
            found.add(record, scored)
    return found.evaluation()


def _after(progress: Progress | None, before: int, total: int) -> Progress:
    """Counts on from what is done before."""
    return lambda done, _: None if progress is None else progress(before + done, total)


def _scored(task: _Task, record: SliceRecord, lr_out: pathlib.Path | None, progress: Progress) -> "_Scored":
    """Has a volume restored along each axis by each factor, and scores it."""
    scored, done = _Scored(task), 0
    for case in _cases(task, record, scored):
        if lr_out is not None:
            target = lr_out / case.record.path.relative_to(task.dataset.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_volume(case.lr, target)
        results = {}
        for method in task.methods:
            results[method.name] = method(case)
            done += 1
            progress(done, 0)
        scored.add(case, results)
    return scored


def _cases(task: _Task, record: SliceRecord, scored: "_Scored") -> Iterator[Thickened]:
    volume = read_thin(record)
    mask = task.masks(record, volume)
    scored.add_volume(volume.array)
    for axis in choose_axes(volume, task.options.axis):
        for factor in task.options.factors:
            yield thicken(record, volume, mask, axis, factor, task.options)


class _Scored:
    """What is collected of one volume."""

    def __init__(self, task: _Task) -> None:
        self.task = task
        self.scores: list[ImageScore] = []
        self.energy = (0.0, 0.0)
        self.pictures: list[Case] = []
        self.factors: list[tuple[float, float]] = []

    def add_volume(self, array: np.ndarray) -> None:
        planes = range(array.shape[2])
        energies = np.array([spectral_energy(array[:, :, place, np.newaxis]) for place in planes])
        self.energy = tuple(energies.sum(axis=0))

    def add(self, case: Thickened, results: Mapping[str, np.ndarray]) -> None:
        """Scores what methods made of a case, and keeps the planes that may be shown."""
        record, options = case.record, self.task.options
        scorer = Scorer(case)
        values = {name: dict(scorer(array)) for name, array in results.items()}
        channel = f"x{case.factor:g}"
        for region in (VOLUME, *PLANES):
            self.scores += [
                ImageScore(
                    record.path, record.patient, case.axis, name, channel, region, own[region], record.site
                )
                for name, own in values.items()
            ]
        self.factors.append((case.factor, case.lines / case.lr.shape[case.axis]))
        if options.figure_cases and case.factor == options.factors[0] and not self.pictures:
            self.pictures = list(_pictures(case, results, self.task.shown))


class _Found:
    """What is collected on the way through the volumes."""

    def __init__(self, task: _Task) -> None:
        self.task = task
        self.scores: list[ImageScore] = []
        self.energies: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
        self.pictures: dict[str, list[Case]] = {}
        self.factors: dict[str, list[float]] = {}
        self.errors: dict[SliceRecord, Exception] = {}

    def add(self, record: SliceRecord, scored: _Scored) -> None:
        """Takes in a volume."""
        self.scores += scored.scores
        self.energies[record.patient].append(scored.energy)
        self.pictures.setdefault(record.patient, scored.pictures)
        for factor, scale in scored.factors:
            known = self.factors.setdefault(f"{factor:g}", [scale, scale])
            known[:] = min(known[0], scale), max(known[1], scale)

    def evaluation(self) -> Evaluation:
        """The `Evaluation` of all that was scored.

        Raises:
            DataError: Nothing was: the reason of the first.
        """
        if self.errors and not self.scores:
            raise next(iter(self.errors.values()))
        task = self.task
        failures = tuple(Failure.of(error, record.path) for record, error in self.errors.items())
        for failure in failures:
            log.warning("Failed: %s", failure.reason)
        return Evaluation(
            self._protocol(), tuple(self.scores), MEASURES, self._patients(),
            (*task.notes, *notes_on_failures(failures)), self._shown(), failures=failures,
        )  # fmt: skip

    def _protocol(self) -> ThroughPlaneProtocol:
        task, options = self.task, self.task.options
        thickness = "slices as thick as their spacing"
        if options.slice_thickness is not None:
            thickness = f"slices of {options.slice_thickness:g} mm"
        elif options.gap:
            thickness = f"slices of {1 - options.gap:.3g} of their spacing"
        return ThroughPlaneProtocol(
            methods={one.name: one.source for one in task.methods},
            interpolations=tuple(one.name for one in task.plain),
            data=str(task.data),
            kind="volumes",
            part=task.part,
            patients=tuple(self.energies),
            images=len({(one.path, one.index) for one in self.scores}),
            limit=options.limit,
            scale=tuple(options.factors),
            degradation={
                "name": "thick-slices", "factors": list(options.factors), "profile": options.profile,
                "gap": options.gap, "slice_thickness": options.slice_thickness,
            },
            resampler="; ".join(f"{one.name}: {one.source}" for one in task.plain),
            ensemble=options.ensemble,
            consistency=options.consistency,
            noise_snr=options.noise_snr,
            channels=tuple(f"x{factor:g}" for factor in options.factors),
            regions=(VOLUME, *PLANES),
            metrics={measure.title: measure.definition for measure in MEASURES},
            factors=self.factors,
            axis=options.axis,
            thickness=thickness,
            mask=task.masks.source,
        )  # fmt: skip

    def _patients(self) -> tuple[Patient, ...]:
        sites = {record.patient: record.site for record in self.task.records}
        found = []
        for name, energies in self.energies.items():
            detail, energy = np.sum(energies, axis=0)
            images = {(one.path, one.index) for one in self.scores if one.patient == name}
            sharpness = float(detail / energy) if energy else float("nan")
            found.append(Patient(name, sites[name], len(images), 0, sharpness))
        return tuple(found)

    def _shown(self) -> tuple[Case, ...]:
        """The planes of some patients, from the worst one in the first model's 3-D PSNR to the best."""
        shown, factors = self.task.shown, self.task.options.factors
        wanted = (shown[min(1, len(shown) - 1)], f"x{factors[0]:g}", VOLUME)
        values: dict[str, list[float]] = collections.defaultdict(list)
        for one in self.scores:
            if (one.method, one.channel, one.region) == wanted:
                values[one.patient].append(one.values["psnr"])
        order = sorted(self.pictures, key=lambda name: np.mean(values[name]))
        places = evenly_spaced(len(order), self.task.options.figure_cases, ends=True)
        return tuple(
            dataclasses.replace(case, label=" · ".join(filter(None, [case.label, rank(place, len(order))])))
            for place in places
            for case in self.pictures[order[place]]
        )


def _pictures(case: Thickened, results: Mapping[str, np.ndarray], shown: Sequence[str]) -> Iterator[Case]:
    """The two planes through the middle of the mask that hold the thick axis."""
    for family in (axis for axis in range(3) if axis != case.axis):
        filled = np.nonzero(case.mask.any(axis=tuple(axis for axis in range(3) if axis != family)))[0]
        place = int(filled[len(filled) // 2])
        plane = plane_of(case.hr.affine, family)

        def picture(array: np.ndarray, family: int = family, place: int = place) -> np.ndarray:
            image = np.take(case.scaled(array), place, axis=family)
            # The thick axis stands upright, its end on top.
            upright = image if case.axis < 3 - family - case.axis else image.T
            return rounded(np.clip(upright[::-1] * 255, 0, 255), np.uint8)[..., np.newaxis]

        yield Case(
            label=f"{case.record.patient} · {plane} plane {place} · x{case.factor:g}",
            hr=picture(case.hr.array),
            lr=picture(case.lr.array),
            images={name: picture(results[name]) for name in shown},
        )
