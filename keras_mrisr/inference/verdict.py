"""What is known of how far a result can be relied on, in one sentence."""

import dataclasses
from typing import Self


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was measured of one result, or of several.

    Attributes:
        outside: How the input differs from what the model was made for ("64 x 64 pixels; the model was made
            for 100 to 200"); "" where it does not, None where the model does not say what it was made for.
        mismatches: One number for each slice that was checked: 0 where its result degrades to it again, else
            by how much it does not, see `degradation_mismatch`.
        residual: Of a consistent result: root mean square of what is left of the difference from the measured
            image, as a share of that image's own; or None.
        uncertain: Where the eight flips and turns differ the most, as words; or None.
        degraded_by: What the input was taken to be degraded by, and the result made consistent with, of a
            model for images that were degraded in any way.
    """

    outside: str | None = None
    mismatches: tuple[float, ...] = ()
    residual: float | None = None
    uncertain: str | None = None
    degraded_by: tuple[str, ...] = ()

    @classmethod
    def joined(cls, verdicts: list[Self]) -> Self:
        """The verdict on several results together."""
        known = [one.outside for one in verdicts if one.outside is not None]
        residuals = [one.residual for one in verdicts if one.residual is not None]
        return cls(
            outside=next(filter(None, known), "") if known else None,
            mismatches=tuple(value for one in verdicts for value in one.mismatches),
            residual=max(residuals, default=None),
            uncertain=next((one.uncertain for one in verdicts if one.uncertain), None),
            degraded_by=tuple(dict.fromkeys(name for one in verdicts for name in one.degraded_by)),
        )

    def sentence(self, model: str) -> str:
        """The verdict in one sentence, with the name of the model."""
        if self.outside is None:
            text = f"{model} does not say which sizes it was made for"
        elif self.outside:
            text = f"outside of what {model} was made for ({self.outside})"
        else:
            text = f"within what {model} was made for"
        parts = [text[0].upper() + text[1:]]
        if self.degraded_by:
            parts.append(f"taken as degraded by {' or '.join(self.degraded_by)}")
        parts.append(self._fit())
        if self.residual is not None:
            parts.append(f"{self.residual:.2g} of the measured signal is not reproduced")
        parts.append(f"least certain {self.uncertain}" if self.uncertain else "uncertainty was not measured")
        return "; ".join(part for part in parts if part) + "."

    def _fit(self) -> str:
        count = len(self.mismatches)
        if not count and self.residual is not None:
            return ""  # That says it.
        if not count:
            return "it was not checked whether the result degrades to the input again"
        bad = [value for value in self.mismatches if value]
        if not bad:
            return "the result degrades to the input again"
        where = f"on {len(bad)} of {count} slices" if count > 1 else ""
        return (
            f"the result does not degrade to the input again {where}".rstrip()
            + f" (off by up to {100 * max(bad):.0f} % of the steps between its pixels): compare it with an "
            "interpolation"
        )
