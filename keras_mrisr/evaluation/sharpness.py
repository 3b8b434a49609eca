"""How sharp the originals are: a soft patient is an easy one, whatever the method."""

from collections.abc import Mapping
from typing import Any

import numpy as np

STRATA = ("soft", "middle", "sharp")


def spectral_energy(hr: np.ndarray) -> tuple[float, float]:
    """Energy of a slice's detail, and all of its energy.

    Detail is what lies above half the Nyquist frequency (over 0.25 cycles per pixel, in any direction):
    what a x2 task takes away. The mean is taken off and a Hann window is applied, so that edges of the
    field of view don't count as detail. Of several channels the middle one is taken (FLAIR in LGG).

    Args:
        hr: Array (H, W, C), any real type.

    Returns:
        (above, total), floats in squared grey levels; both 0 for a constant slice.
    """
    plane = np.asarray(hr)[..., hr.shape[-1] // 2].astype(float)
    window = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    energy = np.abs(np.fft.rfft2((plane - plane.mean()) * window)) ** 2
    # Every column of rfft2 but the first, and the last of an even width, stands for two.
    energy[:, 1 : -1 if plane.shape[1] % 2 == 0 else None] *= 2
    frequency = np.hypot(np.fft.fftfreq(plane.shape[0])[:, np.newaxis], np.fft.rfftfreq(plane.shape[1]))
    return float(energy[frequency > 0.25].sum()), float(energy.sum())


def strata(sharpness: Mapping[Any, float]) -> dict[str, str]:
    """Thirds of the patients by sharpness.

    Args:
        sharpness: Dict patient -> share of the energy that is detail; nan for a patient without any.

    Returns:
        Dict patient -> "soft", "middle" or "sharp", softest first; empty for fewer than three patients.
    """
    known = sorted((share, patient) for patient, share in sharpness.items() if np.isfinite(share))
    if len(known) < len(STRATA):
        return {}
    thirds = np.array_split([patient for _, patient in known], len(STRATA))
    return {str(patient): name for name, third in zip(STRATA, thirds, strict=True) for patient in third}
