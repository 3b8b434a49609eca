"""What an evaluation of thick slices does."""

import dataclasses
from collections.abc import Mapping, Sequence

from keras_mrisr.checks import check, is_number, one_of
from keras_mrisr.degrade.thick_slices import FACTORS, PROFILES, Profile
from keras_mrisr.evaluation.patients import check_part
from keras_mrisr.folders import ALL, Choice
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.geometry import PLANES

AXES = ("slice", *PLANES, "all")
# What restoring takes: slice thickness over slice spacing.
_RATIOS = (1 / 3, 3.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughPlaneOptions:
    """How thin slices are made thick, and what is scored.

    Attributes:
        factors: How many times as far apart the thick slices lie, 1.2 to 8; each is scored by itself.
        axis: "slice" for the axis along which the scan was stacked, the plane of the thick slices ("axial",
            "coronal", "sagittal"), or "all" for each of the three.
        profile: "gaussian", "sinc" or "box": see `degrade.ThickSlices`.
        slice_thickness: Millimetres of the thick slices; by default their spacing, less `gap`.
        gap: The part of the spacing that no slice covers: 0.2 for slices of 0.8 of it; below 0 they overlap.
        noise_snr: Add Rician noise to the thick slices, at this ratio of the tissue's mean to sigma.
        mask: File (of one volume) or folder (the same names as the volumes) of masks; by default tissue is
            found in each volume: see `volumes.tissue_mask`.
        predictions: Dict name -> folder of volumes that another program restored, under the names of the HR
            volumes; for one factor and one axis.
        lr_out: Folder for the thick volumes, so that another program can restore the same ones.
        part: Which patients, as in `EvaluationOptions`.
        patient_pattern: Finds the patient in a path; see `read_volume_folder`.
        choice: Which files of a folder are taken.
        limit: At most this many volumes, evenly spread.
        ensemble: Average the models over flips, too.
        consistency: Make what the models give agree with the thick slices.
        methods: Interpolators; by default "nearest", "linear" and "cubic" (B-spline).
        figure_cases: Number of patients in figure and report; 0 for none.

    Raises:
        ConfigError: A value is unknown or out of range.
    """

    factors: Sequence[float] = (4.0,)
    axis: str = "slice"
    profile: Profile = "gaussian"
    slice_thickness: float | None = None
    gap: float = 0.0
    noise_snr: float | None = None
    mask: PathLike | None = None
    predictions: Mapping[str, PathLike] = dataclasses.field(default_factory=dict)
    lr_out: PathLike | None = None
    part: str = "test"
    patient_pattern: str | None = None
    choice: Choice = ALL
    limit: int | None = None
    ensemble: bool = False
    consistency: bool = False
    methods: Sequence[str] | None = None
    figure_cases: int = 3

    def __post_init__(self) -> None:
        check_part(self.part)
        object.__setattr__(self, "factors", tuple(dict.fromkeys(self.factors)))
        check(bool(self.factors), "`factor`", self.factors, "one number or more")
        for factor in self.factors:
            inside = is_number(factor) and FACTORS[0] <= factor <= FACTORS[1]
            check(inside, "`factor`", factor, f"{FACTORS[0]} to {FACTORS[1]:g}")
        one_of("`axis`", self.axis, AXES)
        one_of("`profile`", self.profile, PROFILES)
        thickness = self.slice_thickness
        check(thickness is None or (is_number(thickness) and thickness > 0), "`slice_thickness`", thickness,
              "millimetres over 0")  # fmt: skip
        check(self.gap == 0 or thickness is None, "`gap`", self.gap, "left out beside `slice_thickness`")
        inside = is_number(self.gap) and _RATIOS[0] <= 1 - self.gap <= _RATIOS[1]
        check(inside, "`gap`", self.gap, f"{1 - _RATIOS[1]:g} to {1 - _RATIOS[0]:.2f} of the spacing")
        self._check_counts()

    def _check_counts(self) -> None:
        check(self.limit is None or self.limit >= 1, "`limit`", self.limit, "1 or more volumes")
        ratio = self.noise_snr
        check(ratio is None or 0 < ratio < float("inf"), "`noise_snr`", ratio, "a ratio over 0")
        check(self.figure_cases >= 0, "`figure_cases`", self.figure_cases, "0 or more")
        single = len(self.factors) == 1 and self.axis != "all"
        for name, given in (("predictions", self.predictions), ("lr_out", self.lr_out)):
            check(single or not given, f"`{name}`", given, "left out, or one `factor` and one `axis`")

    def thickness_ratio(self, spacing: float) -> float:
        """Slice thickness over the spacing of the thick slices, which is given in millimetres."""
        if self.slice_thickness is None:
            return 1 - self.gap
        ratio = self.slice_thickness / spacing
        check(
            _RATIOS[0] <= ratio <= _RATIOS[1], "`slice_thickness`", self.slice_thickness,
            f"{_RATIOS[0] * spacing:.3g} to {_RATIOS[1] * spacing:.3g} mm for slices {spacing:.4g} mm apart",
        )  # fmt: skip
        return ratio
