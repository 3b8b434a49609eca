"""The factor of a super-resolution: one number for slices, one an axis for volumes."""

import typing
from collections.abc import Sequence

# What thick slices can be restored by; whole numbers and fractions between. Below, there is nothing to
# restore; above, what a network adds is not measured any more.
THICK_SLICE_FACTORS = (1.2, 8.0)


def factors_of(scale: int | Sequence[int]) -> tuple[int, ...]:
    """The factor of each axis: (2, 2) of the scale 2 of slices, (1, 1, 2) of such a scale of volumes."""
    return tuple(scale) if isinstance(scale, list | tuple) else (typing.cast(int, scale),) * 2


def scale_of(factors: int | Sequence[int]) -> int | tuple[int, ...]:
    """The scale as builders and `model.json` have it: 2 of the factors (2, 2), (1, 1, 2) of (1, 1, 2)."""
    each = factors_of(factors)
    return each[0] if len(each) == 2 and each[0] == each[1] else each


def scale_text(scale: int | Sequence[int]) -> str:
    """The scale for a person: "2", or "1x1x2" of volumes."""
    scale = scale_of(scale)
    return "x".join(map(str, scale)) if isinstance(scale, tuple) else str(scale)
