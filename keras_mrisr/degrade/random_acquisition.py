"""A degradation of another kind for each slice: for one model that is right on any scan."""

import zlib
from typing import Any

import numpy as np

from keras_mrisr.checks import is_number
from keras_mrisr.degrade.acquisition import FILTERS, Acquisition
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.kspace import WINDOWS
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor

# Shapes of the windows that have one: what is drawn between.
_ALPHA = {"tukey": (0.1, 1.0), "kaiser": (1.0, 8.0), "fermi": (0.02, 0.1)}
_QUIET = 200.0  # A signal-to-noise ratio beyond which noise is not seen in 8 bits.


class RandomAcquisition(Degradation):
    """An `Acquisition` of each slice's own, drawn in the ranges that scanners and archives have.

    Six slices in ten come from a scanner: half of them without a window, the others with each of the windows;
    the ellipse for a fifth, 0.6 to 0.95 of the lines for a sixth, interpolation with zeros by up to 2 for a
    sixth (half of them along one axis only), and a signal that decays along one axis for a sixth. The others
    are resampled: with each of the filters, half of them blurred before. Blurs are more often strong than
    slight (the square of sigma is uniform). One slice in five gets noise: what learns to remove it also
    removes the noise of scans that are noisy themselves, where that counts as an error. Half of that noise is
    as soft as the image: what never saw such sharpens it into strokes.

    What is drawn follows from the pixels of a slice, so that it has the same LR wherever it is degraded.

    Args:
        scale: Integer factor, 1 or more.
        largest_sigma: Upper bound of the blur, in HR pixels.
        lowest_snr: Lower bound of the signal-to-noise ratio, which is drawn on a logarithmic scale.
        noisy: Share of the slices that get noise, from 0 to 1.
        colored: Share of these whose noise is `colored_noise`, see `Acquisition`, from 0 to 1.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: int
    fixed = False

    def __init__(
        self,
        scale: int,
        largest_sigma: float = 2.0,
        lowest_snr: float = 10.0,
        noisy: float = 0.2,
        colored: float = 0.5,
        name: str = "random-acquisition",
    ) -> None:
        if not (is_number(lowest_snr) and 0 < lowest_snr <= _QUIET):
            raise ConfigError(
                f"lowest_snr must be over 0 and up to {_QUIET:g}. Received: lowest_snr={lowest_snr!r}"
            )
        for option, share in {"noisy": noisy, "colored": colored}.items():
            if not (is_number(share) and 0 <= share <= 1):
                raise ConfigError(f"{option} must be from 0 to 1. Received: {option}={share!r}")
        self._widest = BlurBicubic(scale, largest_sigma, name=name)
        self.name = name
        self.scale = scale
        self.largest_sigma = float(largest_sigma)
        self.lowest_snr = float(lowest_snr)
        self.noisy = float(noisy)
        self.colored = float(colored)

    @property
    def smallest_size(self) -> tuple[int, ...]:
        return self._widest.smallest_size

    def axis_matrix(self, size: int) -> np.ndarray:
        raise ConfigError(
            f"`{self.name}` degrades every image in a way of its own: leave out `consistency`. What a model "
            "of it makes agrees anyway with the way that is told from an image, or that `degraded_by` names."
        )

    def get_config(self) -> dict[str, Any]:
        keys = ("largest_sigma", "lowest_snr", "noisy", "colored")
        return {key: getattr(self, key) for key in keys}

    def __call__(self, hr: Tensor) -> Tensor:
        # Imported here, so that the other methods need no Keras.
        from keras import ops

        slices = [ops.convert_to_numpy(one) for one in hr]
        return ops.stack([ops.convert_to_tensor(self._on_host(one)) for one in slices])

    def of_slice(self, hr: np.ndarray) -> Acquisition:
        """The `Acquisition` of this slice, array (H, W, C)."""
        seed = zlib.crc32(hr.tobytes())
        rng = np.random.default_rng(seed)
        options = self._scanner(rng) if rng.random() < 0.6 else self._software(rng)
        if rng.random() < self.noisy:
            options["snr"] = float(np.exp(rng.uniform(np.log(self.lowest_snr), np.log(_QUIET))))
            options["colored_noise"] = bool(rng.random() < self.colored)
        return Acquisition(self.scale, **options, seed=seed, name=self.name)

    def _scanner(self, rng: np.random.Generator) -> dict[str, Any]:
        windows = [name for name in WINDOWS if name != "none"]
        window = "none" if rng.random() < 0.5 else windows[int(rng.integers(len(windows)))]
        options: dict[str, Any] = {
            "window": window,
            "alpha": float(rng.uniform(*_ALPHA[window])) if window in _ALPHA else None,
            "ellipse": bool(rng.random() < 1 / 5),
            "partial": float(rng.uniform(0.6, 0.95)) if rng.random() < 1 / 6 else 1.0,
            "filled": float(rng.uniform(1, 2)) if rng.random() < 1 / 6 else 1.0,
        }
        axis = int(rng.integers(2))
        if rng.random() < 1 / 2:
            options["filled"] = _along(axis, options["filled"], 1.0)
        if rng.random() < 1 / 6:
            options["sigma"] = _along(axis, self._sigma(rng), 0.0)
        return options

    def _software(self, rng: np.random.Generator) -> dict[str, Any]:
        sigma = self._sigma(rng) if rng.random() < 0.5 else 0.0
        return {"resampled": FILTERS[int(rng.integers(len(FILTERS)))], "sigma": sigma}

    def _sigma(self, rng: np.random.Generator) -> float:
        return self.largest_sigma * float(np.sqrt(rng.random()))

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        return self.of_slice(hr).degrade(hr)


def _along(axis: int, value: float, other: float) -> tuple[float, float]:
    """(along the rows, along the columns): the value along the axis, the other one across it."""
    return (value, other) if axis == 0 else (other, value)
