"""Scans whose slices a scanner or a program interpolated: stored finer than they were acquired."""

import numpy as np

# Slices below which there is no spectrum to speak of.
_LEAST = 16
_COLUMNS = 20_000
# Bands in cycles a slice, where 0.5 is the finest that slices can hold. From the lower to the upper one the
# power of slices as acquired fell by 4 to 10 dB (three scans, all axes that were not interpolated), of the
# same ones interpolated twice by zeros, lines or cubic splines by 18 to 45 dB.
_LOW, _HIGH = (0.1, 0.2), (0.35, 0.45)
_DROP = 15.0
# Below the fall of 6 dB an octave that images have, where detail ends.
_END = 8.0


def interpolated_by(array: np.ndarray, axis: int) -> float | None:
    """By how many times the slices of a scan were interpolated, at least; None where nothing says so.

    Interpolation leaves the finer half (or third) of the spectrum along the axis all but empty. The factor is
    0.5 cycles over the frequency where detail ends; linear interpolation lets it end sooner than it need be.

    Args:
        array: (X, Y, Z), with real values.
        axis: Across the slices.

    Returns:
        A factor over 1, or None.
    """
    if array.shape[axis] < _LEAST:
        return None
    frequency, power = _spectrum(np.moveaxis(array, axis, 0))
    if not power.min() > 0:
        return None
    level = 10 * np.log10(power)
    low = _mean(level, frequency, _LOW)
    if low - _mean(level, frequency, _HIGH) < _DROP:
        return None
    usual = low - 20 * np.log10(frequency / np.sqrt(_LOW[0] * _LOW[1]))
    ended = (frequency > _LOW[1]) & (level < usual - _END)
    return float(0.5 / frequency[ended][0]) if ended.any() else None


def _spectrum(slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frequencies in cycles a slice, mean power at them) where there is signal."""
    brightness = np.abs(slices).mean(axis=0, dtype="float64").ravel()
    places = np.flatnonzero(brightness > np.percentile(brightness, 60))
    places = places[:: max(1, len(places) // _COLUMNS)]
    columns = slices.reshape(len(slices), -1)[:, places].astype("float64")
    # Of differences, so that the ends of a stack, which do not meet, add nothing.
    steps = np.diff(columns, axis=0) * np.hanning(len(slices) + 1)[1:-1, np.newaxis]
    frequency = np.fft.rfftfreq(len(steps))[1:]
    power = (np.abs(np.fft.rfft(steps, axis=0)[1:]) ** 2).mean(axis=1) if len(places) else frequency * 0
    return frequency, power / (2 * np.sin(np.pi * frequency)) ** 2


def _mean(level: np.ndarray, frequency: np.ndarray, band: tuple[float, float]) -> float:
    return float(level[(frequency >= band[0]) & (frequency <= band[1])].mean())
