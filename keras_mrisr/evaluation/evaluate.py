"""The evaluation of models on patients they never saw, against plain interpolation and each other."""

import contextlib
import csv
import os
import pathlib

import numpy as np

from keras_mrisr.data import read_dataset
from keras_mrisr.errors import DataError
from keras_mrisr.evaluation.compatibility import check_names, choose_degradation, choose_pattern, split_of
from keras_mrisr.evaluation.measures import choose_measures
from keras_mrisr.evaluation.methods import Interpolator, Predictions
from keras_mrisr.evaluation.patients import PARTS, check_renamed, choose_common_patients
from keras_mrisr.evaluation.protocol import SR, Protocol, pillow_version
from keras_mrisr.evaluation.result import FILES, Evaluation, Patient
from keras_mrisr.evaluation.scorers import make_scorers
from keras_mrisr.evaluation.scores import REGIONS, TUMOUR, ImageScore, channel_groups, choose_cases
from keras_mrisr.evaluation.sharpness import spectral_energy
from keras_mrisr.evaluation.slices import SliceImages, SliceReader, spread
from keras_mrisr.evaluation.views import Case
from keras_mrisr.evaluation.volumes import StackInterpolator, StackReader, VolumeSlices, make_model
from keras_mrisr.files import check_only_holds, whole_directory


def evaluate_model(model, data_root, out=None, **options):
    """Scores one model and plain interpolation on the patients it was not trained on.

    Args:
        model: Path of a model directory, or an object as for `evaluate_models`.
        data_root: Folder of the data.
        out: Folder for the files; None for none.
        **options: As for `evaluate_models`.

    Returns:
        An `Evaluation` in which the model is called "SR".

    Raises:
        DataError: As `evaluate_models`.
    """
    return evaluate_models({SR: model}, data_root, out, **options)


def evaluate_models(
    models,
    data_root,
    out=None,
    *,
    predictions=None,
    part="test",
    kind="auto",
    patient_pattern=None,
    scale=None,
    degradation=None,
    limit=None,
    ensemble=False,
    consistency=False,
    noise_snr=None,
    methods=None,
    metrics=None,
    features=None,
    scorers=(),
    figure_cases=3,
    report=None,
    overwrite=False,
    progress=None,
):
    """Scores models, predictions of other programs and plain interpolators on the same patients.

    Each HR slice is degraded whole by what the models were trained to undo, as 8-bit images throughout, or
    for models of volumes each stack of slices; every model and interpolator upscales the same LR; metrics
    are taken per image for all channels and for FLAIR, on the whole slice, on tissue, and where the data has
    masks on the tumour.
    `Evaluation.protocol` says it all.

    Args:
        models: Dict name -> path of a model directory, or an object with `scale` and `info` (a
            `ModelInfo`) that maps a uint8 batch (N, h, w, C) to a uint8 batch scaled by `scale`.
        data_root: Folder of the data: images, LGG slices, or NIfTI volumes, of which the slices across the
            largest spacing are scored (those of a patient's images, in order, are the stack that a model of
            volumes upscales).
        out: Folder for metrics.json, per_image.csv, per_patient.csv and figure.png; None for no files.
        predictions: Dict name -> folder of images under the names of the HR slices; see `Predictions`.
        part: Which patients: "test" or "val" of the models' splits, "all-unseen" or "held-out" (see
            `choose_common_patients`).
        kind: "auto", "lgg", "images" or "volumes".
        patient_pattern: For folders of images; the models' own pattern by default, so that their
            patients are recognised.
        scale: Refuse models of another scale than this; with predictions alone, their scale.
        degradation: A `Degradation`, its name, or a dictionary of `name` and options, to use instead of the
            models'.
        limit: Evaluate at most this many slices, evenly spread over all patients.
        ensemble: Average the models over flips and quarter turns.
        consistency: Change what the models give so that their degradation leads back to LR.
        noise_snr: Add Rician noise to LR, at this ratio of the tissue's mean to sigma (see `degrade.noise`).
        methods: Interpolators to compare with; by default nearest, bicubic and Lanczos, and for the
            degradation "kspace" also zero-filling; for models of volumes nearest, linear and cubic.
        metrics: Names of metrics (see `measures.MEASURES`); by default all that need no network.
        features: Arguments of `build_features` as a dict, for the metric "features".
        scorers: Further scorers (see `evaluation.scorers`), whose values join the tables.
        figure_cases: Number of patients in the figure and the report; 0 for none.
        report: HTML file to write, which may lie in `out`: see `Evaluation.save_html`.
        overwrite: Replace an existing `out` that holds an evaluation and nothing else, and `report`.
        progress: Called as progress(done, total) with numbers of slices.

    Returns:
        An `Evaluation`.

    Raises:
        DataError: A model, the data, the part, predictions or an output are not usable, the slices
            don't fit the models, or the models do different tasks.
    """
    if part not in PARTS:
        raise DataError(f"Unknown part {part!r} of the split. Choose one of {', '.join(PARTS)}.")
    if limit is not None and limit < 1:
        raise DataError(f"limit must be 1 or more slices. Received: limit={limit}")
    if noise_snr is not None and not 0 < noise_snr < float("inf"):
        raise DataError(f"The signal-to-noise ratio must be over 0. Received: noise_snr={noise_snr}")
    page = _place_inside(out, report)
    if out is not None and overwrite:
        check_only_holds(out, (*FILES, *([page.name] if page and page.name == str(page) else [])))
    if report is not None:
        _check_report(report, overwrite)
    measures = _measures(metrics, features)
    # The folder is opened first: a place that cannot be written is found before the work, not after.
    with whole_directory(out, overwrite) if out is not None else contextlib.nullcontext() as folder:
        models = [make_model(name, model, ensemble, consistency) for name, model in models.items()]
        degradation, notes = choose_degradation(models, degradation, scale)
        dataset = read_dataset(data_root, kind, choose_pattern(models, patient_pattern, kind))
        if dataset.kind == "volumes" and predictions:
            raise DataError(
                "Predictions are images under the names of slices; volumes have none: save them as images."
            )
        foreign = [Predictions(name, path, dataset) for name, path in (predictions or {}).items()]
        in_3d = degradation.dimensions == 3
        interpolator = StackInterpolator if in_3d else Interpolator
        plain = [interpolator(name, degradation.scale) for name in _interpolators(methods, degradation)]
        contenders = [*plain, *models, *foreign]
        check_names(plain, [*models, *foreign])
        splits = {model.name: split_of(model.info) for model in models}
        check_renamed(dataset, splits)
        patients, part, left_out = choose_common_patients(dataset.patients, splits, part)
        notes += left_out
        notes += [
            f"{one.name}: made elsewhere; whether it was made by something that saw these patients was not "
            "checked."
            for one in foreign
        ]
        fixed = [(one.info.image_channels, one.source) for one in models if one.info.image_channels]
        channels = fixed[0] if fixed else ()
        options = {"noise_snr": noise_snr}
        if dataset.kind == "volumes":
            volumes = VolumeSlices(dataset.select(patients))
            dataset = volumes.dataset
            options.update(read=volumes, stack=lambda record: record.path.parent)
        reader = (StackReader if in_3d else SliceReader)(dataset, degradation, *channels, **options)
        if in_3d and reader.left_out:
            notes.append(
                f"{reader.left_out} slices at the end of stacks were left out, to make a multiple of "
                f"{degradation.factors[2]}."
            )
        records = spread(reader.dataset.select(patients).slices, limit)
        for one in foreign:
            one.check(records, reader)
        task = _Task(reader, contenders, dataset.kind)
        if in_3d:
            measures = _without_consistency(measures, metrics)
        scorers = [*make_scorers(measures, degradation, _network(features, measures)), *scorers]
        scores = task.score(records, scorers, progress)
        cases = _cases(task, scores, records, figure_cases, measures[0])
        given = tuple(dict.fromkeys(measure for scorer in scorers for measure in scorer.measures))
        protocol = Protocol(
            methods={one.name: getattr(one, "source", pillow_version()) for one in contenders},
            interpolations=tuple(one.name for one in plain),
            data=str(data_root),
            kind=dataset.kind,
            part=part,
            patients=tuple(dict.fromkeys(record.patient for record in records)),
            images=len(records),
            limit=limit,
            scale=degradation.scale,
            degradation=degradation.to_dict(),
            resampler=pillow_version(),
            ensemble=ensemble,
            consistency=consistency,
            noise_snr=noise_snr,
            cropped=len(task.reader.cropped),
            converted=len(task.reader.converted),
            channels=tuple(dict.fromkeys(score.channel for score in scores)),
            regions=tuple(sorted({score.region for score in scores}, key=_region_order)),
            metrics={measure.title: measure.definition for measure in given},
        )
        evaluation = Evaluation(
            protocol,
            tuple(scores),
            given,
            task.patients(),
            tuple(notes),
            cases,
            {one.name: history for one in models if (history := _history(one.folder))},
        )
        if folder is not None:
            evaluation.write(folder)
        if report is not None:
            evaluation.save_html(folder / page if page else report, overwrite)
    return evaluation


class _Task:
    """Slices, the methods that upscale them, and what was learnt about the patients on the way."""

    def __init__(self, reader, contenders, kind):
        self.reader, self.contenders, self.kind = reader, contenders, kind
        self._facts = {}

    def images(self, record):
        """A `SliceImages` with what every method made."""
        hr, lr = self.reader.hr(record), self.reader.lr(record)
        images = {one.name: one(record, self.reader) for one in self.contenders}
        groups = channel_groups(hr.shape[-1], self.kind)
        return SliceImages(record, hr, lr, images, self.reader.masks(record), groups)

    def score(self, records, scorers, progress):
        """`ImageScore`s of all slices, in order."""
        scores = []
        for done, record in enumerate(records, start=1):
            images = self.images(record)
            self._learn(images)
            values = {}
            for scorer in scorers:
                for key, found in scorer(images).items():
                    values.setdefault(key, {}).update(found)
            scores += [
                ImageScore(record.path, record.patient, record.index, *key, found, record.site)
                for key, found in values.items()
            ]
            if progress is not None:
                progress(done, len(records))
        return scores

    def _learn(self, images):
        above, total = spectral_energy(images.hr)
        facts = self._facts.setdefault(images.record.patient, [images.record.site, 0, 0, 0.0, 0.0])
        for place, value in enumerate((1, int(TUMOUR in images.masks), above, total), start=1):
            facts[place] += value

    def patients(self):
        """A `Patient` for each that was scored."""
        return tuple(
            Patient(name, site, count, tumours, above / total if total else float("nan"))
            for name, (site, count, tumours, above, total) in self._facts.items()
        )


def _measures(metrics, features):
    """The chosen `Measure`s; a feature network that is given is meant to be used."""
    chosen = choose_measures(metrics)
    asked = any(measure.name == "features" for measure in chosen)
    if asked and features is None:
        raise DataError(
            "The metric 'features' needs a network: give --features vgg16:WEIGHTS, such as vgg19:imagenet."
        )
    return (*chosen, *choose_measures(["features"])) if features and not asked else chosen


def _without_consistency(measures, metrics):
    if metrics is not None and "consistency" in metrics:
        raise DataError("The metric 'consistency' is for models of slices: leave it out.")
    return tuple(measure for measure in measures if measure.name != "consistency")


def _network(features, measures):
    if not any(measure.name == "features" for measure in measures):
        return None
    from keras_mrisr.models.features import build_features

    return build_features(**features)


def _region_order(region):
    return (REGIONS.index(region), "") if region in REGIONS else (len(REGIONS), region)


def _interpolators(methods, degradation):
    """Names of the interpolators; zero-filling undoes a k-space crop, so it is that one's baseline."""
    if methods is not None:
        return tuple(dict.fromkeys(methods))
    if degradation.dimensions == 3:
        return ("nearest", "linear", "cubic")
    return ("nearest", "bicubic", "lanczos", *(("zero-filled",) if degradation.name == "kspace" else ()))


def _place_inside(out, report):
    """The report's path relative to `out` where it lies in it and is written along with it, or None."""
    if out is None or report is None:
        return None
    out, report = pathlib.Path(out).resolve(), pathlib.Path(report).resolve()
    return report.relative_to(out) if out in report.parents else None


def _check_report(path, overwrite):
    path = pathlib.Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder. Give the name of the HTML file to write.")
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path} does not end in .html. Give the name of the HTML file to write.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists. Choose another name or pass --overwrite.")
    place = path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise DataError(f"Cannot write {path}: {place} is not a writable folder. Choose another place.")


def _cases(task, scores, records, count, measure):
    """The images of figure and report, from the patient that the first model did worst on to its best."""
    names = [one.name for one in task.contenders]
    plain = [one.name for one in task.contenders if isinstance(one, Interpolator)]
    if not count:
        return ()
    baseline = next((name for name in ("bicubic", "cubic") if name in plain), names[0])
    shown = [baseline, *(name for name in names if name not in plain and name != baseline)]
    channel = list(channel_groups(task.reader.hr(records[0]).shape[-1], task.kind))[-1]
    leader, by_path = shown[min(1, len(shown) - 1)], {record.path: record for record in records}
    cases = []
    chosen = choose_cases(
        scores, count, method=leader, channel=channel, metric=measure.name, higher=measure.higher
    )
    for label, path in chosen:
        images = task.images(by_path[path])
        # NIfTI counts x from left to right and y upwards.
        turn = np.rot90 if task.kind == "volumes" else np.asarray
        mask = images.masks.get(TUMOUR)
        cases.append(
            Case(
                label=label,
                hr=turn(images.hr),
                lr=turn(images.lr),
                images={name: turn(images.images[name]) for name in shown},
                mask=None if mask is None else turn(mask),
                channel=images.groups[channel].start,
                channel_name=channel,
            )
        )
    return tuple(cases)


def _history(folder):
    """The rows of a run's history.csv as dicts of numbers; empty without one that can be read."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [{key: float(value) for key, value in row.items() if value} for row in rows]
    except (TypeError, OSError, ValueError, AttributeError):  # No folder, no file, or not of numbers.
        return []
