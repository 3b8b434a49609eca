"""What scanners and archives do to a slice between k-space and file, in one degradation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_mrisr.checks import check_flags, is_number, one_of
from keras_mrisr.degrade.blur_bicubic import BlurBicubic
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.degrade.kspace import KSpaceCrop, window_weights
from keras_mrisr.degrade.noise import rician_noise, tissue_signal
from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Tensor
from keras_mrisr.volumes.stored_values import rounded

FILTERS = ("bicubic", "lanczos", "bilinear", "box")


class Acquisition(Degradation):
    """Fewer pixels from a scanner (a crop of k-space) or from software (resampling), with what goes with it.

    From a scanner, where `resampled` is None: a signal that decays towards the outer lines of an echo train
    (`sigma`); the central k-space under a window (see `KSpaceCrop`); its corners left out (`ellipse`); only a
    part of the lines on one side measured, the rest zero (`partial`, without any phase correction); and
    zero-filled interpolation, so that the outer k-space of LR is empty (`filled`). From software: a Gaussian
    blur (`sigma`), then a resize with antialiasing. Noise comes after all that, or with the signal
    (`colored_noise`).

    Args:
        scale: Integer factor, 1 or more.
        window: Window on k-space, see `KSpaceCrop`.
        alpha: Its shape, see `KSpaceCrop`.
        ellipse: Leave out what lies beyond the ellipse that touches the edges of the measured k-space.
        partial: Share of the lines along the rows that is measured, over 0.5 and up to 1.
        filled: By how many times the scanner interpolated LR with zeros, 1 (not at all) to 2; its resolution
            is lower by so much. One number, or one along the rows and one along the columns.
        resampled: "bicubic", "lanczos", "bilinear" or "box": Pillow's filters, stretched by the scale.
        sigma: Standard deviation of the blur before that, in HR pixels. One number, or one along the rows and
            one along the columns.
        snr: Signal-to-noise ratio of Rician noise, see `rician_noise`; None for no noise.
        colored_noise: The noise is as soft as the image, as it was acquired with the signal: white noise, of
            another random number for each measured value, through the scanner's window and its filling with
            zeros, or through the software's blur and resize. Its strength in LR is that of `snr`, too.
            Otherwise it is white.
        seed: Seed of the noise.
        name: What the degradation is called in messages and in `model.json`.

    Raises:
        ConfigError: An argument is out of range.
    """

    scale: int

    def __init__(
        self,
        scale: int,
        window: str = "none",
        alpha: float | None = None,
        ellipse: bool = False,
        partial: float = 1.0,
        filled: float | Sequence[float] = 1.0,
        resampled: str | None = None,
        sigma: float | Sequence[float] = 0.0,
        snr: float | None = None,
        seed: int = 0,
        colored_noise: bool = False,
        name: str = "acquisition",
    ) -> None:
        crop = KSpaceCrop(scale, window, alpha, magnitude=False, name=name)
        filled, sigma = _of_axes("filled", filled, 1, 2), _of_axes("sigma", sigma, 0)
        self._blur = BlurBicubic(scale, max(sigma), name=name)
        check_flags(ellipse=ellipse, colored_noise=colored_noise)
        if not (is_number(partial) and 0.5 < partial <= 1):
            raise ConfigError(f"partial must be over 0.5 and up to 1. Received: partial={partial!r}")
        if resampled is not None:
            one_of("resampled", resampled, FILTERS)
            of_scanner = {
                "window": window != "none", "ellipse": ellipse, "partial": partial < 1,
                "filled": max(filled) > 1,
            }  # fmt: skip
            if given := [key for key, one in of_scanner.items() if one]:
                raise ConfigError(f"{given[0]} is of a scanner's k-space: leave it out with resampled.")
        if snr is not None and not (is_number(snr) and snr > 0):
            raise ConfigError(f"snr must be over 0, or None for no noise. Received: snr={snr!r}")
        # With zeros around, the window ends where the measured k-space does.
        self._crop = crop if max(filled) == 1 else KSpaceCrop(scale, magnitude=False, name=name)
        self.name = name
        self.scale = scale
        self.window, self.alpha = window, alpha
        self.ellipse, self.partial = ellipse, float(partial)
        self.filled, self.sigma = filled, sigma
        self.resampled = resampled
        self.snr, self.seed, self.colored_noise = snr, seed, colored_noise

    @property
    def fixed(self) -> bool:  # type: ignore[override]
        return self.snr is None

    @property
    def linear(self) -> bool:  # type: ignore[override]
        # The ellipse and the missing lines are no product of something along each axis.
        alike = len(set(self.filled)) == len(set(self.sigma)) == 1
        return self.fixed and alike and not self.ellipse and self.partial == 1

    @property
    def magnitude(self) -> bool:  # type: ignore[override]
        return self.resampled is None

    @property
    def smallest_size(self) -> tuple[int, ...]:
        return self.factors if self.resampled is None and not any(self.sigma) else self._blur.smallest_size

    def get_config(self) -> dict[str, Any]:
        keys = ("window", "alpha", "ellipse", "partial", "resampled", "snr", "seed", "colored_noise")
        pairs = {key: getattr(self, key) for key in ("filled", "sigma")}
        return {key: getattr(self, key) for key in keys} | {
            key: one if one == other else [one, other] for key, (one, other) in pairs.items()
        }

    def axis_matrix(self, size: int) -> np.ndarray:
        if not self.linear:
            return super().axis_matrix(size)
        if self.resampled is not None:
            return self._resized_along(np.eye(size), (0,)).astype("float64")
        matrix = self._crop.axis_matrix(size) @ self._blurred(np.eye(size), (0,))
        filled = self.filled[0]
        if filled == 1:
            return matrix
        frequencies = np.abs(2 * filled * np.fft.fftfreq(len(matrix)))
        weights = (frequencies <= 1) * window_weights(np.minimum(frequencies, 1), self.window, self.alpha)
        return np.fft.ifft(weights[:, np.newaxis] * np.fft.fft(matrix, axis=0), axis=0).real

    def __call__(self, hr: Tensor) -> Tensor:
        # Imported here, so that `degrade` needs no Keras.
        from keras import ops

        slices = [self._on_host(ops.convert_to_numpy(one)) for one in hr]
        return ops.stack([ops.convert_to_tensor(one) for one in slices])

    def _on_host(self, hr: np.ndarray) -> np.ndarray:
        x = hr.astype("float64")
        lr = self._measured(x) if self.resampled is None else self._resized(x)
        if self.snr is not None:
            rng = np.random.default_rng(self.seed)
            lr = np.maximum(lr, 0).astype("float32")
            if self.colored_noise:
                lr = np.abs(lr + tissue_signal(lr) / self.snr * self._colored_noise(x.shape, lr, rng))
            else:
                lr = rician_noise(lr, self.snr, rng)
        return rounded(lr, hr.dtype)

    def _measured(self, hr: np.ndarray) -> np.ndarray:
        """The magnitude of what a scanner measures of (H, W, C)."""
        rows, columns = (self._crop.axis_matrix(size) for size in hr.shape[:2])
        lr = np.einsum("ih,hwc,jw->ijc", rows, self._blurred(hr, (0, 1)), columns, optimize=True)
        filled = max(self.filled) > 1
        if self.ellipse or self.partial < 1 or filled:
            lr = _filtered(lr, self._weights(lr, windowed=filled))  # Else the crop has it.
        return np.abs(lr)

    def _colored_noise(self, shape: tuple[int, ...], lr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Complex noise of LR, from HR of this shape; its parts have a standard deviation of 1 by channel."""
        if self.resampled is None:
            real, imaginary = rng.standard_normal((2, *lr.shape))
            noise = _filtered(real + 1j * imaginary, self._weights(lr, windowed=True))
        else:
            real, imaginary = (self._resized(one) for one in rng.standard_normal((2, *shape)))
            noise = real + 1j * imaginary
        return noise / np.sqrt((np.abs(noise) ** 2).mean(axis=(0, 1)) / 2)

    def _weights(self, lr: np.ndarray, windowed: bool) -> np.ndarray:
        """Of the frequencies of LR (H, W, C), in the order of `numpy.fft`; 0 where none is measured."""
        # In units of the highest one that is measured along each axis.
        y, x = (2 * f * np.fft.fftfreq(size) for f, size in zip(self.filled, lr.shape[:2], strict=True))
        y = y[:, np.newaxis]
        inside = y**2 + x**2 <= 1 if self.ellipse else (np.abs(y) <= 1) & (np.abs(x) <= 1)
        inside = inside & (y >= 1 - 2 * self.partial)
        if not windowed:
            return inside
        y, x = (np.minimum(np.abs(axis), 1) for axis in (y, x))
        return (
            inside * window_weights(y, self.window, self.alpha) * window_weights(x, self.window, self.alpha)
        )

    def _resized(self, hr: np.ndarray) -> np.ndarray:
        channels = [self._resized_along(channel, (0, 1)) for channel in np.moveaxis(hr, -1, 0)]
        return np.stack(channels, axis=-1)

    def _resized_along(self, hr: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Blurs and resizes (H, W) along these axes."""
        height, width = (size // self.scale if axis in axes else size for axis, size in enumerate(hr.shape))
        how = Image.Resampling[str(self.resampled).upper()]
        blurred = self._blurred(hr, axes).astype("float32")
        return np.asarray(Image.fromarray(blurred).resize((width, height), how))

    def _blurred(self, hr: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """(H, W) or (H, W, C) blurred along these axes."""
        sigmas = [self.sigma[axis] if axis in axes else 0.0 for axis in range(hr.ndim)]
        if not any(sigmas):
            return hr
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(hr, sigmas, mode="nearest")


def _of_axes(name: str, value: Any, least: float, most: float = float("inf")) -> tuple[float, float]:
    """(along the rows, along the columns) of one number for both, or of two."""
    pair = (value, value) if is_number(value) else value
    if not (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(is_number(one) and least <= one <= most for one in pair)
    ):
        limits = f"{least} to {most}" if np.isfinite(most) else f"{least} or more"
        raise ConfigError(f"{name} must be {limits}, one number or two. Received: {name}={value!r}")
    return float(pair[0]), float(pair[1])


def _filtered(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(H, W, C), its frequencies weighted by (H, W) in the order of `numpy.fft`; complex."""
    return np.fft.ifft2(np.fft.fft2(image, axes=(0, 1)) * weights[..., np.newaxis], axes=(0, 1))
