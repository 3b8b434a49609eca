"""What a number was measured on, and how: printed and stored beside every number."""

import dataclasses
import math
from typing import Any, Self

from keras_mrisr.evaluation.scores import TUMOUR
from keras_mrisr.factors import scale_text

SR = "SR"
"""What a model is called that is evaluated alone."""

BASELINES = ("bicubic", "cubic")
"""Interpolators that differences are taken to: the first one that was scored."""

_NAMED = ("name", "scale")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that has to be equal before two numbers may be compared.

    Attributes:
        methods: Name of each method -> where it comes from: the resampler, a model's folder, or the
            folder of predictions.
        interpolations: Which of them are plain interpolators.
        data: Folder of the data.
        kind: How it was read: "lgg", "images" or "volumes".
        part: Which patients: "test" or "val" of the model's split, "all-unseen", "held-out", or "unknown"
            when the model doesn't say whom it was trained on.
        patients: The patients that were evaluated.
        images: Number of slices that were evaluated.
        limit: Number of slices asked for, evenly spread over all; None for all of them.
        scale: Factor of the super-resolution; three for volumes.
        degradation: How LR was made: `get_degradation(**degradation)`.
        resampler: Library of the degradation and the interpolators.
        ensemble: Whether SR is the mean over flips and quarter turns.
        consistency: Whether SR was made consistent with LR.
        noise_snr: Signal-to-noise ratio of the noise on LR (see `degrade.noise`); None for no noise.
        cropped: Number of slices whose bottom or right edge was cut to a multiple of the scale.
        converted: Number of slices that were not 8 bit and were brought to 8 bit first.
        channels: The sets of channels that are scored.
        regions: The regions that are scored.
        metrics: Name of each metric -> its definition.
        data_range: Distance between black and white in the images that are scored.
        border: Pixels left out at the edges.
    """

    methods: dict[str, str]
    interpolations: tuple[str, ...]
    data: str
    kind: str
    part: str
    patients: tuple[str, ...]
    images: int
    scale: int | tuple
    degradation: dict
    resampler: str
    channels: tuple[str, ...]
    regions: tuple[str, ...]
    metrics: dict[str, str]
    limit: int | None = None
    ensemble: bool = False
    consistency: bool = False
    noise_snr: float | None = None
    cropped: int = 0
    converted: int = 0
    data_range: float = 1.0
    border: int = 0

    # Fixed by the code of this package; fields of the stored protocol all the same.
    hr: str = "8-bit slices, whole"
    lr: str = "degraded whole, rounded to 8 bit"
    sr: str = "rounded and clipped to 8 bit, as are the interpolations"
    tumour: str = "inside the data set's mask, only slices whose mask is not empty"
    averaging: str = "mean and standard deviation (n - 1) over images, and over the means of patients"
    interval: str = "95 % of the mean over patients, BCa bootstrap of patients, 10000 resamples, seed 0"
    test: str = (
        "two-sided Wilcoxon signed-rank over the means of patients; Holm: adjusted for all pairs of a "
        "metric, channel set and region; effect: matched-pairs rank-biserial correlation"
    )
    exclusion: str = "an image without a finite value for every method is left out of that row's means"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, for JSON."""
        values = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The protocol that `to_dict` wrote."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the methods that are no interpolator: models and predictions."""
        return tuple(name for name in self.methods if name not in self.interpolations)

    @property
    def baseline(self) -> str:
        """The interpolator that differences are taken to."""
        return next((name for name in BASELINES if name in self.interpolations), BASELINES[0])

    @property
    def image(self) -> str:
        """What one image is called."""
        return "slice"

    @property
    def choice(self) -> str:
        """How the cases of figure and page were chosen, after the name of the metric."""
        return "on tissue; of each the slice nearest to the patient's own median"

    @property
    def task(self) -> str:
        """Scale and degradation in a few words."""
        # What is off (None, False, 0) is left out here; the stored protocol has it.
        options = (f"{key}={value}" for key, value in self.degradation.items() if key not in _NAMED and value)
        name = self.degradation.get("name", "?")
        return f"x{scale_text(self.scale)}, degradation {name} ({', '.join(options)})"

    def lines(self) -> list[str]:
        """The protocol for a person: a list of short lines without line breaks."""
        hr, lr, sr = self._images()
        return [
            *self.sources(),
            f"data: {self.data} ({self.kind}), part {self.part}: {self._counts()}",
            f"task: {self.task}",
            f"resampler: {self.resampler}",
            f"HR: {hr}",
            f"LR: {lr}",
            f"SR: {sr}",
            f"scored: channels {', '.join(self.channels)}; regions {', '.join(self.regions)}; "
            f"border crop {self.border} px; data range {self.data_range:g}",
            *([f"tumour: {self.tumour}"] if TUMOUR in self.regions else []),
            *(f"{title}: {definition}" for title, definition in self.metrics.items()),
            f"averages: {self.averaging}; {self.exclusion}",
            f"intervals: {self.interval}",
            *([f"tests: {self.test}"] if len(self.models) > 0 else []),
        ]

    def _counts(self) -> str:
        counts = ((self.images, self.image), (len(self.patients), "patient"))
        text = " of ".join(f"{count} {noun}{'s' if count != 1 else ''}" for count, noun in counts)
        return text if self.limit is None else f"{text} (limit {self.limit}, evenly spread)"

    def _images(self) -> tuple[str, str, str]:
        """What HR, LR and SR are."""
        depth = f"; {self.converted} of other depth brought to 8 bit (0 to the 99.9th percentile)"
        cropped = f"; {self.cropped} cropped at the bottom and right to a multiple of {self.scale}"
        hr = (
            ("; volumes by their own range (0 to the 99.9th percentile)", self.kind == "volumes"),
            (depth, self.converted),
            (cropped, self.cropped),
        )
        snr = self.noise_snr
        noise = f"; Rician noise at SNR {snr:g} (mean of the tissue over sigma, by channel)" if snr else ""
        sr = (
            ("; mean of 8 flips and turns", self.ensemble),
            ("; made consistent with LR", self.consistency),
        )
        return (
            self.hr + "".join(text for text, holds in hr if holds),
            self.lr + noise,
            self.sr + "".join(text for text, holds in sr if holds),
        )

    def sources(self) -> list[str]:
        """A line for each model and each set of predictions: "method A: runs/a"."""
        if self.models == (SR,):
            return [f"model: {self.methods[SR]}"]
        return [f"method {name}: {self.methods[name]}" for name in self.models]


def pillow_version() -> str:
    """Name and version of the resampler, as in `Protocol.resampler`."""
    import PIL

    return f"Pillow {PIL.__version__}"


def finite_or_none(value: float | None) -> float | None:
    """A number for JSON, which has no nan and no infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def plain_values(row: Any) -> dict[str, Any]:
    """The fields of a dataclass for JSON: None for numbers that are not finite."""
    values = dataclasses.asdict(row).items()
    return {key: finite_or_none(value) if isinstance(value, float) else value for key, value in values}
