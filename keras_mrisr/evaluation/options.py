"""What an evaluation does: the options of `evaluate_models` besides its models and data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_mrisr.checks import check
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.evaluation.patients import check_part
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike

if TYPE_CHECKING:
    from keras_mrisr.evaluation.scorers import Scorer


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is scored, on whom, and how it is made.

    Attributes:
        predictions: Dict name -> folder of images under the names of the HR slices; see `Predictions`.
        part: Which patients: "test" or "val" of the models' splits, "all-unseen" or "held-out" (see
            `choose_common_patients`).
        kind: "auto", "lgg", "images" or "volumes".
        patient_pattern: For folders of images; the models' own pattern by default, so that their
            patients are recognised.
        choice: Which files of the data are taken.
        scale: Refuse models of another scale than this; with predictions alone, their scale.
        degradation: A `Degradation`, its name, or a dictionary of `name` and options, to use instead of the
            models'. A bare Keras model needs it.
        limit: Evaluate at most this many slices, evenly spread over all patients.
        ensemble: Average the models over flips and quarter turns.
        consistency: Change what the models give so that their degradation leads back to LR.
        perception: Of models with a GAN end, how far towards it, from 0 to 1; all models must have one
            where it is over 0. With several values each such model is scored at each of them, and a model
            without a GAN end once.
        noise_snr: Add Rician noise to LR, at this ratio of the tissue's mean to sigma (see `degrade.noise`).
        methods: Interpolators to compare with; by default nearest, bicubic and Lanczos, and for the
            degradation "kspace" also zero-filling; for models of volumes nearest, linear and cubic.
        metrics: Names of metrics (see `measures.MEASURES`); by default all that need no network.
        features: Arguments of `build_features` as a dict, for the metric "features".
        realism: Feature networks for KID and FD of the images as a set (see `evaluation.realism`), each as a
            dict of arguments of `build_features`; an empty list for the power spectrum alone; None for none.
        backbone: File with the weights of VGG16 for the metrics "lpips_vgg" and "dists" (see
            `metrics.PiqMetric`); by default that of the first network of `realism`, if it is VGG16.
        scorers: Further scorers (see `evaluation.scorers`), whose values join the tables.
        figure_cases: Number of patients in the figure and the report; 0 for none.

    Raises:
        ConfigError: The part is unknown, or a number is out of range.
    """

    predictions: Mapping[str, PathLike] = dataclasses.field(default_factory=dict)
    part: str = "test"
    kind: str = "auto"
    patient_pattern: str | None = None
    choice: Choice = ALL
    scale: int | tuple[int, ...] | None = None
    degradation: Degradation | str | dict[str, Any] | None = None
    limit: int | None = None
    ensemble: bool = False
    consistency: bool = False
    perception: float | Sequence[float] = 0.0
    noise_snr: float | None = None
    methods: Sequence[str] | None = None
    metrics: Sequence[str] | None = None
    features: dict[str, Any] | None = None
    realism: Sequence[dict[str, Any]] | None = None
    backbone: PathLike | None = None
    scorers: "Sequence[Scorer]" = ()
    figure_cases: int = 3

    def __post_init__(self) -> None:
        check_part(self.part)
        check(self.limit is None or self.limit >= 1, "`limit`", self.limit, "1 or more slices")
        ratio = self.noise_snr
        check(ratio is None or 0 < ratio < float("inf"), "`noise_snr`", ratio, "a ratio over 0")
        check(self.figure_cases >= 0, "`figure_cases`", self.figure_cases, "0 or more")
