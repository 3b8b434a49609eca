"""The air around a head, which no network needs to look at: it is interpolated."""

import dataclasses

import numpy as np
from scipy import ndimage

from keras_mrisr.degrade.interpolate import interpolate

_BLOCK = 8
# Of Rician noise in air the mean is 1.25 sigma and the standard deviation 0.66 sigma: even where the noise of
# neighbours is one, four times the mean is six standard deviations over it.
_OVER_NOISE = 4.0
# Above this share of the range, what is darkest is no air, or its noise is as bright as tissue.
_MOST = 0.05
# The network goes on so many LR pixels beyond tissue, blending into the interpolation over so many.
_RIM, _BLEND = 4, 4
# Where the network would see more than this share of a slice, it may as well see all of it.
_WORTH = 0.95


def air_level(lr: np.ndarray) -> float | None:
    """What the mean over 3 x 3 pixels is below where there is nothing but noise.

    Args:
        lr: Slices (N, H, W, C) of a volume, nominally in [0, 1]; several that lie apart are enough.

    Returns:
        The level, four times the mean of the darkest 5 % of blocks of 8 x 8 pixels, but for those that are
        empty, as where a face was removed: what lies beside them may have noise. Where nothing but tissue
        does, 0. None where there is no air, or too much noise in it to tell: the level is more than a
        twentieth of the range.
    """
    height, width = (size // _BLOCK * _BLOCK for size in lr.shape[1:3])
    if not height or not width:
        return None
    blocks = lr[:, :height, :width].reshape(
        len(lr), height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, lr.shape[-1]
    )
    means = np.abs(blocks).mean(axis=(2, 4, 5))
    for some in (means[means > 0], means):
        level = _OVER_NOISE * float(np.quantile(some, 0.05)) if some.size else 0.0
        if level <= _MOST:
            return level
    return None


@dataclasses.dataclass(frozen=True)
class Inside:
    """The rectangle of a slice that holds what is not air, in LR pixels.

    Attributes:
        core: Where the network's result is kept.
        window: What it must see for that.
    """

    core: tuple[slice, slice]
    window: tuple[slice, slice]

    def fill(self, lr: np.ndarray, part: np.ndarray, scale: int) -> np.ndarray:
        """The whole result: interpolated, and inside of that what the network made of the window.

        Args:
            lr: Slices (N, H, W, C) with the channels of the result, float32.
            part: The network's result for the window, (N, h * scale, w * scale, C).
            scale: Of the super-resolution.

        Returns:
            (N, H * scale, W * scale, C), float32.
        """
        sr = np.stack([interpolate(one, scale, "bicubic") for one in lr])
        weights = [_ramp(core, size, scale) for core, size in zip(self.core, lr.shape[1:3], strict=True)]
        weight = (weights[0][:, np.newaxis] * weights[1])[..., np.newaxis]
        inner = tuple(
            slice((core.start - window.start) * scale, (core.stop - window.start) * scale)
            for core, window in zip(self.core, self.window, strict=True)
        )
        place = (slice(None), *(slice(core.start * scale, core.stop * scale) for core in self.core))
        # Exactly the network's where it counts alone.
        sr[place] = np.where(weight == 1, part[:, *inner], sr[place] + weight * (part[:, *inner] - sr[place]))
        return sr


def inside_air(lr: np.ndarray, level: float, radius: int) -> Inside | None:
    """Where slices (N, H, W, C) are more than air; None where that is nearly everywhere.

    Args:
        lr: The slices, which share one rectangle.
        level: Of `air_level`.
        radius: Of the network's receptive field.
    """
    bright = ndimage.uniform_filter(np.abs(lr).max(axis=-1), (0, 3, 3), mode="nearest") > level
    cores, windows = [], []
    for axis in (1, 2):
        size = lr.shape[axis]
        found = np.flatnonzero(bright.any(axis=(0, 3 - axis)))
        first, last = (found[0], found[-1] + 1) if len(found) else (size // 2, size // 2)
        # Whole blocks, so that few shapes occur.
        start = max(first - _RIM, 0) // _BLOCK * _BLOCK
        stop = min(-(-(last + _RIM) // _BLOCK) * _BLOCK, size)
        cores.append(slice(int(start), int(stop)))
        windows.append(slice(max(int(start) - radius, 0), min(int(stop) + radius, size)))
    seen = np.prod([window.stop - window.start for window in windows])
    if seen > _WORTH * np.prod(lr.shape[1:3]):
        return None
    return Inside((cores[0], cores[1]), (windows[0], windows[1]))


def _ramp(core: slice, size: int, scale: int) -> np.ndarray:
    """Weights of the network along one axis of the core: 1, but falling at edges inside the slice."""
    count = (core.stop - core.start) * scale
    rise = (np.arange(count, dtype="float32") + 0.5) / (_BLEND * scale)
    up = np.ones(count, "float32") if core.start == 0 else np.minimum(rise, 1)
    down = np.ones(count, "float32") if core.stop == size else np.minimum(rise[::-1], 1)
    return up * down
