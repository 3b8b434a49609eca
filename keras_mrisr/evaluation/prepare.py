"""What comes before the scores: which models and interpolators upscale which slices of whom."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

from keras_mrisr.data import SliceDataset, read_dataset
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.data.usable import usable
from keras_mrisr.data.volume_slices import as_slices
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, DataError
from keras_mrisr.evaluation.compatibility import check_names, choose_degradation, choose_pattern, split_of
from keras_mrisr.evaluation.measures import Measure, choose_measures
from keras_mrisr.evaluation.methods import (
    Interpolator,
    Method,
    Model,
    Predictions,
    SliceMethod,
    Trained,
    on_the_dial,
)
from keras_mrisr.evaluation.options import EvaluationOptions
from keras_mrisr.evaluation.patients import check_renamed, choose_common_patients
from keras_mrisr.evaluation.realism import RealismCollector, named_networks
from keras_mrisr.evaluation.scorers import Scorer, make_scorers
from keras_mrisr.evaluation.scores import channel_groups
from keras_mrisr.evaluation.slices import SliceImages, SliceReader, spread
from keras_mrisr.evaluation.volumes import StackInterpolator, StackReader, make_model, read_8bit
from keras_mrisr.folders import Failure
from keras_mrisr.types import PathLike


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """All that the scores are taken of.

    Attributes:
        reader: Reads the slices and degrades them.
        records: The slices that are scored.
        plain: The interpolators.
        models: The models.
        predictions: Images of other programs.
        scorers: What gives the numbers.
        measure: The `Measure` that patients are ranked by.
        kind: "lgg", "images" or "volumes".
        part: Which patients these are.
        notes: Lines about patients that are left out or could not be checked.
        failures: Files that cannot be scored, as far as it is known.
        realism: Gathers what is measured of all images together; None for nothing.
    """

    reader: SliceReader
    records: list[SliceRecord]
    plain: list[SliceMethod]
    models: list[Model]
    predictions: list[Predictions]
    scorers: list[Scorer]
    measure: Measure
    kind: str
    part: str
    notes: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    realism: RealismCollector | None = None

    @property
    def methods(self) -> list[Method]:
        """All methods, in the order of the tables."""
        return [*self.plain, *self.models, *self.predictions]

    @property
    def degradation(self) -> Degradation:
        """How LR is made."""
        return self.reader.degradation

    def scored(self, failures: Sequence[Failure]) -> Self:
        """The task without slices that could not be scored, which its notes name."""
        bad = {failure.path for failure in failures}
        failures = (*self.failures, *failures)
        records = [record for record in self.records if record.path not in bad]
        notes = (*self.notes, *notes_on_failures(failures))
        return dataclasses.replace(self, records=records, failures=failures, notes=notes)

    def images(self, record: SliceRecord) -> SliceImages:
        """A slice with what every method makes of it."""
        hr, lr = self.reader.hr(record), self.reader.lr(record)
        images = {one.name: one(record, self.reader) for one in self.methods}
        groups = channel_groups(hr.shape[-1], self.kind)
        return SliceImages(record, hr, lr, images, self.reader.masks(record), groups)


def prepare(models: Mapping[str, Any], data_root: PathLike, options: EvaluationOptions) -> Task:
    """Loads the models, reads the data and chooses the patients; arguments as for `evaluate_models`.

    Raises:
        MrisrError: As `evaluate_models`.
    """
    measures = _measures(options)
    trained = [
        make_model(name, Trained.load(one, perception), options.ensemble, options.consistency)
        for name, one, perception in on_the_dial(models, options.perception)
    ]
    degradation, notes = choose_degradation(trained, options.degradation, options.scale)
    if degradation.dimensions == 3 or degradation.measured:
        measures = _without_consistency(measures, options)
    pattern = choose_pattern(trained, options.patient_pattern, options.kind)
    dataset = read_dataset(data_root, options.kind, pattern, options.choice)
    predictions = _predictions(options.predictions, dataset)
    plain = _interpolators(options.methods, degradation)
    check_names(plain, [*trained, *predictions])
    splits = {model.name: split_of(model.info) for model in trained}
    check_renamed(dataset, splits)
    patients, part, left_out = choose_common_patients(dataset.patients, splits, options.part)
    chosen = dataset.select(patients)
    failures: tuple[Failure, ...] = ()
    if chosen.holds_volumes:  # Of images each is read when it is scored.
        chosen, failures = usable(chosen)
    reader = _reader(chosen, degradation, trained, options.noise_snr)
    records = spread(reader.dataset.slices, options.limit)
    for one in predictions:
        one.check(records, reader)
    scorers = make_scorers(measures, degradation, _network(options, measures), _backbone(options))
    return Task(
        reader=reader,
        records=records,
        plain=plain,
        models=trained,
        predictions=predictions,
        scorers=[*scorers, *options.scorers],
        measure=measures[0],
        kind=dataset.kind,
        part=part,
        notes=(*notes, *left_out, *map(note_on_predictions, predictions), *_note_on_stacks(reader)),
        failures=failures,
        realism=None if options.realism is None else RealismCollector(named_networks(options.realism)),
    )


def _measures(options: EvaluationOptions) -> tuple[Measure, ...]:
    """The chosen `Measure`s; a feature network that is given is meant to be used."""
    chosen = choose_measures(options.metrics)
    asked = any(measure.name == "features" for measure in chosen)
    if asked and options.features is None:
        raise ConfigError(
            "The metric 'features' needs a network: give `features`, such as vgg19:imagenet or vgg16:WEIGHTS."
        )
    return (*chosen, *choose_measures(["features"])) if options.features and not asked else chosen


def _without_consistency(measures: tuple[Measure, ...], options: EvaluationOptions) -> tuple[Measure, ...]:
    if options.metrics is not None and "consistency" in options.metrics:
        raise ConfigError(
            "The metric 'consistency' is for models of slices whose degradation is known: leave it out."
        )
    return tuple(measure for measure in measures if measure.name != "consistency")


def _network(options: EvaluationOptions, measures: Sequence[Measure]) -> Any:
    if options.features is None or not any(measure.name == "features" for measure in measures):
        return None
    from keras_mrisr.models.features import build_features

    return build_features(**options.features)


def _backbone(options: EvaluationOptions) -> PathLike | None:
    """Weights of VGG16 for LPIPS and DISTS: those that are given, or those of the first feature network."""
    first = next(iter(options.realism or ()), {})
    known = first.get("network") == "vgg16" and first.get("weights") not in (None, "imagenet")
    return options.backbone or (first["weights"] if known else None)


def _predictions(folders: Mapping[str, PathLike], dataset: SliceDataset) -> list[Predictions]:
    if dataset.kind == "volumes" and folders:
        raise DataError(
            "Predictions are images under the names of slices; volumes have none: save them as images."
        )
    return [Predictions(name, folder, dataset) for name, folder in folders.items()]


def _interpolators(names: Sequence[str] | None, degradation: Degradation) -> list[SliceMethod]:
    """The interpolators; zero-filling undoes a k-space crop, so it is that one's baseline."""
    if degradation.dimensions == 3:
        names = ("nearest", "linear", "cubic") if names is None else names
        return [StackInterpolator(name, degradation.factors) for name in dict.fromkeys(names)]
    if names is None:
        zero_filled = ("zero-filled",) if degradation.name == "kspace" else ()
        names = ("nearest", "bicubic", "lanczos", *zero_filled)
    return [Interpolator(name, degradation.factors[0]) for name in dict.fromkeys(names)]


def _reader(
    dataset: SliceDataset,
    degradation: Degradation,
    models: Sequence[Model],
    noise_snr: float | None,
) -> SliceReader:
    fixed = [(one.info.image_channels, one.source) for one in models if one.info.image_channels]
    options: dict[str, Any] = {"noise_snr": noise_snr}
    dataset = as_slices(dataset)
    if dataset.volumes is not None:
        read = functools.partial(read_8bit, dataset.volumes)
        options |= {"read": read, "stack": lambda record: record.path.parent}
    kind = StackReader if degradation.dimensions == 3 else SliceReader
    return kind(dataset, degradation, *(fixed[0] if fixed else ()), **options)


def note_on_predictions(one: Any) -> str:
    """What nobody checked about images that another program made; they have a `name`."""
    return (
        f"{one.name}: made elsewhere; whether it was made by something that saw these patients was not "
        "checked."
    )


def notes_on_failures(failures: Sequence[Failure]) -> tuple[str, ...]:
    """What a reader of the tables must know about files that could not be scored."""
    return tuple(f"Not scored: {failure.reason}" for failure in failures)


def _note_on_stacks(reader: SliceReader) -> tuple[str, ...]:
    if not isinstance(reader, StackReader) or not reader.left_out:
        return ()
    factor = reader.degradation.factors[2]
    return (f"{reader.left_out} slices at the end of stacks were left out, to make a multiple of {factor}.",)
