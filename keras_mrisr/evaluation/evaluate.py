"""The evaluation of a model on patients it never saw, against plain interpolation."""

import contextlib
import dataclasses
import functools
import pathlib

import numpy as np

from keras_mrisr.data import Split, normalizer_for, read_dataset, read_image
from keras_mrisr.errors import InputError
from keras_mrisr.evaluation.figure import Case, comparison_figure
from keras_mrisr.evaluation.patients import PARTS, choose_patients
from keras_mrisr.evaluation.protocol import Protocol, pillow_version
from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.evaluation.scores import REGIONS, ImageScore, channel_groups, choose_cases, score_batch
from keras_mrisr.evaluation.summary import summarise
from keras_mrisr.evaluation.tables import report, to_json, write_tables
from keras_mrisr.files import check_only_holds, whole_directory

SR = "SR"
FILES = ("metrics.json", "per_image.csv", "per_patient.csv", "figure.png")
_BATCH = 8  # Enough to fill two cores or a GPU; a batch of 256 x 256 slices needs about 200 MB.
_SMALLEST = 11  # The window of SSIM.


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of a model and of the interpolators, with how they were measured.

    Attributes:
        protocol: What was measured on what, and how.
        scores: One `ImageScore` for each image, method, channel set and region.
        notes: Lines about patients that were left out or could not be checked.
        cases: The images of the figure.
    """

    protocol: Protocol
    scores: tuple[ImageScore, ...]
    notes: tuple[str, ...] = ()
    cases: tuple[Case, ...] = dataclasses.field(default=(), repr=False, compare=False)

    @functools.cached_property
    def summary(self):
        """Means over images and patients: a list of `Summary`."""
        return summarise(self.scores)

    def mean(self, method=SR, metric="psnr", channel=None, region="whole", delta=False):
        """One number: the mean per image, or its difference to bicubic.

        Args:
            method: "SR", "nearest", "bicubic" or "lanczos".
            metric: "psnr" or "ssim".
            channel: The first set scored ("RGB" or "grey") by default.
            region: "whole" or "tissue".
            delta: Return the difference to bicubic.

        Raises:
            InputError: Nothing of that name was scored.
        """
        wanted = (method, metric, channel or self.protocol.channels[0], region)
        for row in self.summary:
            if (row.method, row.metric, row.channel, row.region) == wanted:
                return row.image_delta if delta else row.image_mean
        raise InputError(f"Nothing was scored as {' / '.join(wanted)}. See the rows of .summary.")

    def report(self):
        """Table, notes and protocol as a rich renderable: `rich.print(evaluation.report())`."""
        return report(self)

    def to_dict(self):
        """Protocol, notes, summary and means per patient as plain values."""
        return to_json(self)

    def save(self, out, overwrite=False):
        """Writes metrics.json, per_image.csv, per_patient.csv and figure.png to the folder `out`.

        Raises:
            InputError: `out` exists (and `overwrite` is false), holds something else, or cannot be written.
        """
        if overwrite:
            check_only_holds(out, FILES)
        with whole_directory(out, overwrite) as folder:
            self._write(folder)

    def _write(self, folder):
        write_tables(self, folder)
        if self.cases:
            comparison_figure(self.cases, folder / "figure.png", title=self.protocol.task)


def evaluate_model(
    model,
    data_root,
    out=None,
    *,
    part="test",
    kind="auto",
    patient_pattern=None,
    scale=None,
    degradation=None,
    limit=None,
    ensemble=False,
    methods=("nearest", "bicubic", "lanczos"),
    figure_cases=3,
    overwrite=False,
    progress=None,
):
    """Scores a model and plain interpolation on the patients it was not trained on.

    Each HR slice is degraded whole by what the model was trained to undo, as 8-bit images throughout;
    the model and each interpolator enlarge the same LR; PSNR and SSIM are taken per image for all
    channels and for FLAIR, on the whole slice and on tissue. `Evaluation.protocol` says it all.

    Args:
        model: Path of a model directory, or an object with `scale`, `channels`, `info` (a `ModelInfo`)
            that maps a uint8 batch (N, h, w, C) to a uint8 batch scaled by `scale`.
        data_root: Folder of the data.
        out: Folder for metrics.json, per_image.csv, per_patient.csv and figure.png; None for no files.
        part: Which patients: "test" or "val" of the model's split, or "all-unseen" (see
            `choose_patients`).
        kind: "auto", "lgg" or "images".
        patient_pattern: For folders of images; the model's own pattern by default, so that its
            patients are recognised.
        scale: Refuse a model of another scale than this.
        degradation: A `Degradation` to use instead of the model's.
        limit: Evaluate at most this many slices, evenly spread over all patients.
        ensemble: Average the model over flips and quarter turns.
        methods: Interpolators to compare with.
        figure_cases: Number of patients in the figure; 0 for no figure.
        overwrite: Replace an existing `out` that holds an evaluation and nothing else.
        progress: Called as progress(done, total) with numbers of slices.

    Returns:
        An `Evaluation`.

    Raises:
        InputError: The model, the data, the part or the output folder is not usable, or the slices
            don't fit the model.
    """
    if part not in PARTS:
        raise InputError(f"Unknown part {part!r} of the split. Choose one of {', '.join(PARTS)}.")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more slices. Received: limit={limit}")
    if out is not None and overwrite:
        check_only_holds(out, FILES)
    # The folder is opened first: a place that cannot be written is found before the work, not after.
    with whole_directory(out, overwrite) if out is not None else contextlib.nullcontext() as folder:
        task = _Task(model, scale, degradation, ensemble, methods)
        if patient_pattern is None and kind != "lgg":
            patient_pattern = task.info.data.get("patient_pattern")
        dataset = read_dataset(data_root, kind, patient_pattern)
        split = task.info.data.get("split")
        split = Split.from_dict(split) if isinstance(split, dict) else split
        patients, part, notes = choose_patients(dataset.patients, split, part)
        records = _spread(dataset.select(patients).slices, limit)
        scores = task.score(records, dataset.kind, progress)
        cases = ()
        if figure_cases:
            by_path = {record.path: record for record in records}
            chosen = choose_cases(scores, figure_cases)
            cases = tuple(task.case(by_path[path], label, dataset.kind) for label, path in chosen)
        protocol = Protocol(
            model=task.name,
            data=str(data_root),
            kind=dataset.kind,
            part=part,
            patients=tuple(dict.fromkeys(record.patient for record in records)),
            images=len(records),
            limit=limit,
            scale=task.scale,
            degradation=task.degradation.to_dict(),
            resampler=pillow_version(),
            ensemble=ensemble,
            cropped=len(task.cropped),
            converted=len(task.converted),
            channels=tuple(dict.fromkeys(score.channel for score in scores)),
            regions=REGIONS,
        )
        evaluation = Evaluation(protocol, tuple(scores), tuple(notes), cases)
        if folder is not None:
            evaluation._write(folder)
    return evaluation


class _Task:
    """A model, what it undoes and what it is compared with."""

    def __init__(self, model, scale, degradation, ensemble, methods):
        from keras_mrisr.degrade import get_degradation
        from keras_mrisr.degrade.interpolate import METHODS

        for method in methods:
            if method not in METHODS:
                raise InputError(f"Unknown interpolation {method!r}. Known: {', '.join(METHODS)}.")
        self.name = str(model) if isinstance(model, (str, pathlib.Path)) else type(model).__name__
        self.model = _load(model)
        self.info = self.model.info
        self.scale = self.model.scale
        if scale is not None and scale != self.scale:
            raise InputError(
                f"{self.name} is a x{self.scale} model, not x{scale}. Choose another model or leave it out."
            )
        if degradation is None and not self.info.degradation:
            raise InputError(f"{self.name} does not say what it was trained to undo. Pass a degradation.")
        self.degradation = degradation or get_degradation(**self.info.degradation)
        if self.degradation.scale != self.scale:
            raise InputError(
                f"The degradation {self.degradation.name!r} has scale {self.degradation.scale}, "
                f"but {self.name} is a x{self.scale} model. Choose one of the same scale."
            )
        self.options = {"ensemble": True} if ensemble else {}
        self.methods = tuple(dict.fromkeys(methods))
        self.cropped, self.converted = set(), set()

    def score(self, records, kind, progress):
        """`ImageScore`s of all slices, in order."""
        scores, done = [], 0
        for batch in _batches((record, self.read(record)) for record in records):
            scores.extend(self._score_batch([r for r, _ in batch], np.stack([hr for _, hr in batch]), kind))
            done += len(batch)
            if progress is not None:
                progress(done, len(records))
        return scores

    def read(self, record):
        """The slice as uint8 (H, W, C), cut to a multiple of the scale."""
        hr = read_image(record.path)
        if hr.shape[-1] != self.model.channels:
            raise InputError(
                f"{record.path} has {hr.shape[-1]} channels, but {self.name} takes {self.model.channels}. "
                "Convert the images, or use a model for them."
            )
        if hr.dtype != np.uint8:
            self.converted.add(record.path)
            hr = np.rint(np.clip(normalizer_for(hr).normalize(hr), 0, 1) * 255).astype(np.uint8)
        height, width = (size - size % self.scale for size in hr.shape[:2])
        if (height, width) != hr.shape[:2]:
            self.cropped.add(record.path)
        if min(height, width) < _SMALLEST:
            raise InputError(
                f"{record.path} is too small for SSIM ({hr.shape[0]}x{hr.shape[1]} pixels): "
                f"at least {_SMALLEST}x{_SMALLEST} are needed. Remove it."
            )
        return hr[:height, :width]

    def enlarge(self, record, hr, methods):
        """(lr, {method: image}) of one slice."""
        from keras_mrisr.degrade import upscale_image

        try:
            lr = self.degradation.degrade_image(hr)
        except InputError as error:
            raise InputError(f"{record.path}: {error}") from error
        return lr, {method: upscale_image(lr, self.scale, method) for method in methods}

    def super_resolve(self, lr):
        """Applies the model to a uint8 batch (N, h, w, C)."""
        sr = np.asarray(self.model(lr, **self.options))
        expected = (lr.shape[0], lr.shape[1] * self.scale, lr.shape[2] * self.scale, lr.shape[3])
        if sr.dtype != np.uint8 or sr.shape != expected:
            raise ValueError(f"the model must give uint8 {expected}. Received: {sr.dtype} {sr.shape}")
        return sr

    def _score_batch(self, records, hr, kind):
        pairs = [self.enlarge(record, one, self.methods) for record, one in zip(records, hr, strict=True)]
        images = {method: np.stack([each[method] for _, each in pairs]) for method in self.methods}
        images[SR] = self.super_resolve(np.stack([lr for lr, _ in pairs]))
        masks = np.stack([tissue_mask(one / np.float32(255)) for one in hr])
        groups = channel_groups(hr.shape[-1], kind)
        tables = {method: score_batch(hr, image, masks, groups) for method, image in images.items()}
        return [
            ImageScore(r.path, r.patient, r.index, method, *key, float(psnr[i]), float(ssim[i]))
            for i, r in enumerate(records)
            for method, table in tables.items()
            for key, (psnr, ssim) in table.items()
        ]

    def case(self, record, label, kind):
        """One image of the figure."""
        hr = self.read(record)
        lr, images = self.enlarge(record, hr, ("bicubic",))
        name, part = list(channel_groups(hr.shape[-1], kind).items())[-1]
        return Case(
            label=label,
            hr=hr,
            lr=lr,
            bicubic=images["bicubic"],
            sr=self.super_resolve(lr[np.newaxis])[0],
            channel=part.start,
            channel_name=name,
        )


def _load(model):
    if not isinstance(model, (str, pathlib.Path)):
        return model
    from keras_mrisr.inference import SuperResolver

    return SuperResolver.load(model)


def _spread(records, limit):
    """At most `limit` of the records, evenly spread, in order."""
    if limit is None or limit >= len(records):
        return list(records)
    # Middles of equal stretches: the first and last slices of a volume are nearly empty.
    places = ((np.arange(limit) + 0.5) * len(records) / limit).astype(int)
    return [records[place] for place in places]


def _batches(pairs):
    """Groups neighbours of one shape, at most `_BATCH`."""
    batch = []
    for record, image in pairs:
        if batch and (len(batch) == _BATCH or batch[0][1].shape != image.shape):
            yield batch
            batch = []
        batch.append((record, image))
    if batch:
        yield batch
