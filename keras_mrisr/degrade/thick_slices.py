"""Thick slices along one axis by any factor: slice profiles as matrices, for images of thin lines."""

import dataclasses
import math
import typing
from typing import Any, Literal

import numpy as np

from keras_mrisr.checks import is_number, one_of
from keras_mrisr.errors import ConfigError
from keras_mrisr.factors import THICK_SLICE_FACTORS as FACTORS

Profile = Literal["gaussian", "sinc", "box"]
PROFILES = typing.get_args(Profile)
_SIGMAS = 2 * math.sqrt(2 * math.log(2))  # Full width at half maximum of a Gaussian.
# Half of the sinc's full width at half maximum, in its zero crossings, with a Hann window over three lobes.
_SINC_HALF = 0.5691


@dataclasses.dataclass(frozen=True)
class ThickSlices:
    """What acquisition in thick slices does along one axis: an average over the slice profile, and sampling.

    Slice thickness is the full width at half maximum of the profile (NEMA MS 5-2018). Slice i is centred at
    `(i + 0.5) * factor - 0.5` lines, so that the outer faces of the thick and the thin grid agree.

    Attributes:
        factor: Lines from one slice to the next, 1.2 to 8.
        thickness: Slice thickness over slice spacing: 1 for slices that touch, less for gaps, more for
            overlaps.
        profile: "gaussian", "sinc" (three lobes under a Hann window, an excitation pulse of finite length),
            or "box" (an ideal slice).

    Raises:
        ConfigError: A value is out of range.
    """

    factor: float
    thickness: float = 1.0
    profile: Profile = "gaussian"

    def __post_init__(self) -> None:
        if not (is_number(self.factor) and FACTORS[0] <= self.factor <= FACTORS[1]):
            raise ConfigError(f"factor must be {FACTORS[0]} to {FACTORS[1]:g}. Received: {self.factor!r}")
        if not (is_number(self.thickness) and 0 < self.thickness < math.inf):
            raise ConfigError(f"thickness must be over 0. Received: {self.thickness!r}")
        one_of("profile", self.profile, PROFILES)

    def slices(self, lines: int) -> int:
        """How many whole slices lie in so many lines."""
        return math.floor(lines / self.factor + 1e-6)

    @property
    def reach(self) -> float:
        """Lines from the centre of a slice beyond which its profile is (taken for) zero."""
        width = self.factor * self.thickness
        return {"gaussian": 1.5 * width, "sinc": 1.5 * width / _SINC_HALF, "box": 0.5 * width + 0.5}[
            self.profile
        ]

    def weights(self, centres: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """The weight of each line in each slice.

        Args:
            centres: Positions (n,) of the slices' centres, in lines.
            lines: Positions (m,) of the lines.

        Returns:
            Array (n, m), float64; each row has a sum of 1.
        """
        width = self.factor * self.thickness
        offset = np.asarray(lines) - np.asarray(centres)[:, np.newaxis]
        if self.profile == "gaussian":
            exponent = -0.5 * (offset * _SIGMAS / width) ** 2
            weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        elif self.profile == "sinc":
            crossings = offset * 2 * _SINC_HALF / width
            weights = np.sinc(crossings) * np.where(
                np.abs(crossings) < 3, np.cos(np.pi * crossings / 6) ** 2, 0
            )
        else:
            # The part of each line, which is 1 wide, that lies in the slice.
            weights = np.clip(
                np.minimum(offset + 0.5, width / 2) - np.maximum(offset - 0.5, -width / 2), 0, 1
            )
        return weights / weights.sum(axis=1, keepdims=True)

    def matrix(self, lines: int) -> np.ndarray:
        """The whole operator on so many lines, whose first and last are repeated beyond the ends.

        Returns:
            Array (slices(lines), lines), float64; each row has a sum of 1.
        """
        centres = (np.arange(self.slices(lines)) + 0.5) * self.factor - 0.5
        margin = math.ceil(self.reach)
        weights = self.weights(centres, np.arange(-margin, lines + margin))
        inside = weights[:, margin : margin + lines].copy()
        inside[:, 0] += weights[:, :margin].sum(axis=1)
        inside[:, -1] += weights[:, margin + lines :].sum(axis=1)
        return inside

    def degrade(self, hr: np.ndarray, axis: int) -> np.ndarray:
        """Thick slices out of an image or volume of thin lines.

        Args:
            hr: Array with any axes, float.
            axis: The axis that is averaged; lines at its end that fill no slice are left out.

        Returns:
            float32 array, `slices(lines)` long in that axis.
        """
        matrix = self.matrix(hr.shape[axis]).astype("float32")
        return np.moveaxis(np.tensordot(matrix, np.asarray(hr, "float32"), axes=(1, axis)), 0, axis)

    def to_dict(self) -> dict[str, Any]:
        """The arguments as plain values."""
        return dataclasses.asdict(self)


def positions(slices: int, lines: int) -> np.ndarray:
    """Where so many lines lie on the grid of so many slices that fill the same box, in slices from 0.

    Returns:
        Array (lines,), float64; below 0 in the outer half of the first slice.
    """
    return (np.arange(lines) + 0.5) * (slices / lines) - 0.5
