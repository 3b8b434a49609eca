"""How an input is upscaled: one object that is handed down."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from keras_mrisr.errors import ConfigError
from keras_mrisr.folders import Failure
from keras_mrisr.inference.consistency import joined_residual
from keras_mrisr.inference.verdict import Verdict
from keras_mrisr.types import PathLike

NAN = ("refuse", "zero")
WAYS = ("in-plane", "through-plane")


@dataclasses.dataclass(frozen=True)
class UpscaleOptions:
    """What `upscale_path` is asked for.

    Attributes:
        ensemble: Average over the 8 flips and quarter turns (through thick slices over 4 flips).
        consistency: Change nothing that was measured.
        overwrite: Replace what is there.
        skip_existing: Of a folder: leave results that are there as they are, and make the others.
        nan: What becomes of NaN and infinite values: "refuse", or "zero" where they are background.
        plane: Of a volume: in which plane its slices lie.
        volume_index: Which volume of a 4-D one, from 0.
        series: Which series of a DICOM folder.
        uncertainty: Where the standard deviations of a volume go.
        figure: Where a picture of before and after goes.
        report: Where a page to look at before and after goes.
        way: Of a volume: "in-plane" makes its planes finer, "through-plane" its thick slices thin; None
            decides by its spacings.
        spacing: Of a volume: millimetres between its voxels, along each axis or along all; or None.
        slice_thickness: Of a volume: millimetres of a slice, where its header does not say or is wrong.
        adapt: Of thick slices: function (resolver, volume, grid) that returns the resolver for this scan; or
            None for the model as it is.
        refuse_mismatch: Whether nothing is written where the result of most slices does not degrade to them
            again; otherwise that is only warned about.
        residuals: Whether a residual is written beside each result, or by who asks for several.
    """

    ensemble: bool = False
    consistency: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    nan: str = "refuse"
    plane: str | None = None
    volume_index: int | None = None
    series: str | int | None = None
    uncertainty: PathLike | None = None
    figure: PathLike | None = None
    report: PathLike | None = None
    way: str | None = None
    spacing: tuple[float, float, float] | None = None
    slice_thickness: float | None = None
    adapt: Callable[..., Any] | None = None
    refuse_mismatch: bool = False
    residuals: bool = True

    def __post_init__(self) -> None:
        if self.overwrite and self.skip_existing:
            raise ConfigError("`overwrite` makes all again, `skip_existing` what is missing: leave out one.")
        if self.nan not in NAN:
            raise ConfigError(f"`nan` must be {' or '.join(NAN)}. Received: {self.nan!r}")
        if self.way not in (None, *WAYS):
            raise ConfigError(f"`way` must be {' or '.join(WAYS)}. Received: {self.way!r}")
        if self.way == "in-plane" and (self.spacing is not None or self.slice_thickness is not None):
            name = "spacing" if self.spacing is not None else "slice_thickness"
            raise ConfigError(f"`{name}` is for thick slices made thin: leave it out with `way=in-plane`.")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        written: The files that were written.
        verdict: What is known of how good the result is.
        residual: (before, after) of a consistent image, root mean squares in its units; or None.
        models: The names of the models that made it.
        protocol: Of a scan: what the model was trained to undo, as in its `model.json`.
        failures: Of several inputs: those that could not be upscaled.
        left_out: Of several inputs: how many hold several volumes, so that they were left out.
        skipped: Of several inputs: how many had a result already.
    """

    written: list[pathlib.Path]
    verdict: Verdict
    residual: tuple[float, float] | None = None
    models: tuple[str, ...] = ()
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    left_out: int = 0
    skipped: int = 0

    @staticmethod
    def joined(outcomes: "list[Outcome]") -> "Outcome":
        """One of several inputs: their files, their verdicts together, residuals as root mean squares."""
        residuals = [one.residual for one in outcomes if one.residual is not None]
        return Outcome(
            [path for one in outcomes for path in one.written],
            Verdict.joined([one.verdict for one in outcomes]),
            joined_residual(residuals),
            tuple(dict.fromkeys(name for one in outcomes for name in one.models)),
        )
