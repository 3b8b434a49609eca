"""How an input is upscaled: one object that is handed down."""

import dataclasses
import math

import numpy as np

from keras_mrisr.errors import ConfigError
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.types import PathLike

NAN = ("refuse", "zero")


@dataclasses.dataclass(frozen=True)
class UpscaleOptions:
    """What `upscale_path` is asked for.

    Attributes:
        ensemble: Average over the 8 flips and quarter turns.
        consistency: Change nothing that was measured.
        overwrite: Replace what is there.
        nan: What becomes of NaN and infinite values: "refuse", or "zero" where they are background.
        plane: Of a volume: in which plane its slices lie.
        volume_index: Which volume of a 4-D one, from 0.
        series: Which series of a DICOM folder.
        uncertainty: Where the standard deviations of a volume go.
        figure: Where a picture of before and after goes.
        report: Whether a residual is written beside each result, or by who asks for several.
    """

    ensemble: bool = False
    consistency: bool = False
    overwrite: bool = False
    nan: str = "refuse"
    plane: str | None = None
    volume_index: int | None = None
    series: str | int | None = None
    uncertainty: PathLike | None = None
    figure: PathLike | None = None
    report: bool = True

    def __post_init__(self) -> None:
        if self.nan not in NAN:
            raise ConfigError(f"`nan` must be {' or '.join(NAN)}. Received: {self.nan!r}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        written: The files that were written.
        verdict: What is known of how good the result is.
        residual: (before, after) of a consistent image, root mean squares in its units; or None.
    """

    written: list
    verdict: Verdict
    residual: tuple[float, float] | None = None

    @staticmethod
    def joined(outcomes: "list[Outcome]") -> "Outcome":
        """One of several inputs: their files, their verdicts together, residuals as root mean squares."""
        residuals = [one.residual for one in outcomes if one.residual is not None]
        before, after = np.sqrt(np.mean(np.square(residuals), axis=0)) if residuals else (math.nan, math.nan)
        return Outcome(
            [path for one in outcomes for path in one.written],
            Verdict.joined([one.verdict for one in outcomes]),
            (float(before), float(after)) if residuals else None,
        )
