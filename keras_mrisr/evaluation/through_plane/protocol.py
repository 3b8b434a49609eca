"""How scores of restored thick slices were measured."""

import dataclasses

from keras_mrisr.evaluation.protocol import Protocol


@dataclasses.dataclass(frozen=True)
class ThroughPlaneProtocol(Protocol):
    """As `Protocol`; an image is a volume, degraded along one axis, and a channel set is a factor.

    Attributes:
        factors: What the factors are in each grid: asked for -> [least, most] of the volumes'.
        axis: "slice", a plane, or "all".
        thickness: Slice thickness: "as wide as their spacing", "0.8 of their spacing", "3 mm".
        mask: Where it is scored.
    """

    factors: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    axis: str = "slice"
    thickness: str = ""
    mask: str = ""

    hr: str = "thin slices, float; lines that fill no thick slice are cut off at the end"
    lr: str = (
        "averages over the slice profile, of that full width at half maximum, along one axis; outer lines "
        "are repeated beyond the ends; float"
    )
    sr: str = "float, not clipped; of models as mrisr upscale makes it"
    predictions: str = (
        "as they are on the original's grid, else by cubic spline at its voxel centres, by both affines"
    )
    data_range_text: str = "0 to the 99.9th percentile of the original counts as 0 to 1"

    @property
    def image(self) -> str:
        return "volume"

    @property
    def choice(self) -> str:
        return (
            "in 3-D, at the first factor; both planes through the middle of the mask that hold the thick axis"
        )

    @property
    def task(self) -> str:
        factors = ", ".join(f"x{factor:g}" for factor in self.degradation["factors"])
        return f"thick slices {factors}, {self.degradation['profile']} profile, {self.thickness}"

    def lines(self) -> list[str]:
        noise = (
            f"; Rician noise at SNR {self.noise_snr:g} (mean of the tissue over sigma)"
            if self.noise_snr
            else ""
        )
        along = {"slice": "along the axis of the slices", "all": "along each of the three axes in turn"}
        grids = ", ".join(
            f"x{name} is x{low:.4g}" + (f" to x{high:.4g}" if f"{high:.4g}" != f"{low:.4g}" else "")
            for name, (low, high) in self.factors.items()
        )
        sr = ("mean over flips" * self.ensemble, "made consistent with LR" * self.consistency)
        return [
            *self.sources(),
            f"data: {self.data} ({self.kind}), part {self.part}: {self._counts()}",
            f"task: {self.task}, {along.get(self.axis, f'{self.axis} slices')}; on whole lines {grids}",
            f"interpolators: {self.resampler}",
            f"HR: {self.hr}",
            f"LR: {self.lr}{noise}",
            f"SR: {'; '.join([self.sr, *filter(None, sr)])}",
            f"predictions: {self.predictions}",
            f"mask: {self.mask}",
            f"scored: {', '.join(self.channels)}; {', '.join(self.regions)}",
            f"data range: {self.data_range_text}",
            *(f"{title}: {definition}" for title, definition in self.metrics.items()),
            f"averages: {self.averaging}; {self.exclusion}",
            f"intervals: {self.interval}",
            *([f"tests: {self.test}"] if self.models else []),
        ]
