"""A trained generator as a function from an LR array to an SR array."""

import dataclasses
import functools
import logging
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.data.neighbours import middle_channels, stack_around
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.degrade.degradation import Degradation
from keras_mrisr.errors import ConfigError, DataError, ModelError
from keras_mrisr.inference.consistency import enforce_consistency, rms
from keras_mrisr.inference.degradation_check import degradation_mismatch
from keras_mrisr.inference.degradation_estimate import (
    AUTO,
    UNKNOWN,
    DegradationEstimate,
    candidate,
    check_degraded_by,
    evidence,
    words,
)
from keras_mrisr.inference.ensemble import ensemble as predict_ensemble
from keras_mrisr.inference.tiled_network import TiledNetwork
from keras_mrisr.inference.upscaled_image import UpscaledImage, joined_images, upscaled_mask
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.types import Model, PathLike
from keras_mrisr.volumes.stored_values import in_units

# Channels of an image that are taken one by one: more are likely to be a stack of slices.
_MOST_CHANNELS = 4
# Of a smaller slice the spectrum says too little, in LR pixels.
_LEAST_TO_TELL = 32
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Ways:
    """How one prediction is made; see `SuperResolver.upscale`."""

    ensemble: bool = False
    uncertainty: bool = False
    consistency: bool = False


class SuperResolver(TiledNetwork):
    """Upscales slices with a trained generator; intensities and types go in and out unchanged.

    What does not fit into memory at once is cut into tiles; the result is the same (see
    `inference.tiles`). Volumes go through `upscale_volume`.

    Args:
        generator: `keras.Model` from (N, H, W, C) to (N, H * scale, W * scale, C) in [0, 1], such as one
            that `model.fit` trained.
        info: Its `ModelInfo`; by default what its shapes say (see `models.storage.describe_network`).
        memory: Bytes that this process may come to occupy in all, or text such as "2GB"; by default what the
            machine has available, of which no more than 4 GB is used for the network.
        name: What messages and headers call the model.
        degradation: What the model was trained to undo, where `info` is left out: a `Degradation`, its
            dictionary, or a name such as "bicubic". `consistency` needs it, and so does the check whether a
            result degrades to its image again.

    Raises:
        ModelError: The shapes of the generator are not those of a network for super-resolution.

    Examples:
        >>> sr = SuperResolver.load("runs/lgg-x2")(lr)  # (H, W, 3) uint8 -> (2H, 2W, 3) uint8
        >>> sr = SuperResolver(model, degradation="bicubic")(lr)  # After model.fit(...)
    """

    # Small slices of a volume go through the network together until they have as many pixels as this: more
    # are no faster.
    pixels_together = 256 * 256
    # Images of a folder that are upscaled at the same time.
    images_at_once = 1
    # Whether it is checked, and warned about once, if a result does not degrade to its image again.
    warns = True
    # Whether that is only noted in `UpscaledImage.mismatches`, for one who refuses such a result.
    quiet = False

    def __init__(
        self,
        generator: Model,
        info: ModelInfo | None = None,
        memory: int | str | None = None,
        name: str = "the model",
        degradation: Degradation | Mapping[str, Any] | str | None = None,
    ) -> None:
        if info is None:
            info = _described(generator, degradation)
        elif degradation is not None:
            raise ConfigError("`degradation` stands in the model's `info`: give one of the two.")
        super().__init__(generator, info, memory)
        self.scale: int = info.scale
        self.name = name
        self._warned = False
        self._degraded_by = AUTO

    @classmethod
    def load(cls, path: PathLike, memory: int | str | None = None, perception: float = 0.0) -> Self:
        """Loads a run directory, a `.keras` file, or a bundled model.

        Args:
            path: Its path, or its name, such as "lgg-x2" (see `mrisr models`). A `.keras` file without a
                `model.json` beside it is described by its shapes.
            memory: See `SuperResolver`.
            perception: Of a model with a GAN end, how far to go towards it: from 0, the fidelity model, to 1.
                See `models.perception`; texture over 0 may be invented.

        Raises:
            ConfigError: `perception` is out of range.
            ModelError: Nothing there, or it is broken.
        """
        from keras_mrisr.models.storage import load_trained

        generator, info = load_trained(path, perception)
        # With XLA, which Keras turns on where there is a GPU, each new image size is compiled for itself.
        generator.jit_compile = False
        name = pathlib.Path(path).resolve().name
        return cls(generator, info, memory, f"{name} (perception {perception:g})" if perception else name)

    @property
    def degraded_by(self) -> str:
        """Of a model for images that were degraded in any way, how they were.

        "auto" tells it from each image, or volume, and makes the result consistent with that where it can be
        told; "unknown" leaves the result as the network makes it; and a name from
        `degradation_estimate.CANDIDATES`, such as "kspace" or "hamming", is for one who knows.

        Raises:
            ConfigError: Set to an unknown name, or of a model that undoes one known degradation.
        """
        return self._degraded_by

    @degraded_by.setter
    def degraded_by(self, name: str) -> None:
        check_degraded_by(name)
        if name not in (AUTO, UNKNOWN) and not self.info.estimate:
            raise ConfigError(
                f"{self.name} does not tell how images were degraded: leave out `degraded_by`, or take a "
                "model for any degradation."
            )
        self._degraded_by = name

    def cancel(self) -> None:
        """Ends what is under way in other threads, where it can be ended; a network here can't."""

    def __call__(self, image: np.ndarray, ensemble: bool = False, consistency: bool = False) -> np.ndarray:
        """Upscales one slice or a batch; the `sr` of `upscale`."""
        return self.upscale(image, ensemble, consistency=consistency).sr

    def enlarge(self, *arguments: Any, **options: Any) -> UpscaledImage:
        """The old name of `upscale`."""
        warnings.warn("SuperResolver.enlarge is now upscale.", DeprecationWarning, stacklevel=2)
        return self.upscale(*arguments, **options)

    def upscale(
        self,
        image: np.ndarray,
        ensemble: bool = False,
        uncertainty: bool = False,
        consistency: bool = False,
    ) -> UpscaledImage:
        """Upscales one slice or a batch.

        Args:
            image: Array (H, W), (H, W, C) or (N, H, W, C) of any integer or float type; a stack (N, H, W) of
                grey slices as `stack[..., None]`. Each slice is normalised by itself and the result put back:
                uint8 by its 255, other types by their minimum where it is negative and their 99.9th
                percentile (see `data.normalize`). For a model with neighbours k, a batch is one
                stack of N slices in order, and each is normalised with its neighbours; or C is (2k+1) times
                the model's channels, in the order of `data.neighbours`. A slice that comes alone stands for
                its neighbours, too.
            ensemble: Average the results for the 8 flips and quarter turns: better by about 0.1 dB,
                8 times as slow (Lim et al. 2017, section 3.4).
            uncertainty: Also give the standard deviation of these; implies `ensemble`.
            consistency: Change the result as little as possible so that the model's degradation takes it
                back to `image` (see `inference.consistency`). A model that was trained so always does.

        A result that does not degrade to the image again is warned about, once.

        A constant image (all black, say) has nothing to resolve and stays the same constant.

        Returns:
            `UpscaledImage`; `sr` has the dimensions and the type of `image`, H and W times the scale.
            Integers are rounded and clipped to their type. The residual is that before rounding.

        Raises:
            DataError: Wrong number of dimensions or channels, or NaN or infinite values.
            ModelError: The network gives something that is not finite.
        """
        image, ways = np.asarray(image), _Ways(ensemble, uncertainty, consistency or self.info.consistent)
        if image.ndim not in (2, 3, 4) or 0 in image.shape:
            raise DataError(f"Expected (H, W), (H, W, C) or (N, H, W, C). Received: shape {image.shape}")
        if image.ndim == 2:
            return self._upscale_slice(image[..., np.newaxis], ways).with_arrays(lambda one: one[..., 0])
        if image.ndim == 3:
            return self._upscale_slice(image, ways)
        slices: Sequence[np.ndarray] = list(image)
        if self.info.neighbours and image.shape[-1] == self.channels:
            slices = [stack_around(image, place, self.info.neighbours) for place in range(len(image))]
        return joined_images([self._upscale_slice(one, ways) for one in slices], np.stack)

    def _upscale_slice(self, image: np.ndarray, ways: _Ways) -> UpscaledImage:
        """Upscales a slice (H, W, C)."""
        self.check_image(image)
        if self.separates(image.shape[-1]):
            parts = [self._upscale_slice(image[..., [c]], ways) for c in range(image.shape[-1])]
            return joined_images(parts, functools.partial(np.concatenate, axis=-1))
        if image.min() == image.max():
            return self._repeated(image, ways)
        return self._upscale_structured(image, ways)

    def _repeated(self, image: np.ndarray, ways: _Ways) -> UpscaledImage:
        """Upscales a slice of one value."""
        sr = upscaled_mask(middle_channels(image, self.channels), self.factors)
        deviation = np.zeros(sr.shape, "float32") if ways.uncertainty else None
        return UpscaledImage(sr, deviation, (0.0, 0.0) if ways.consistency else None)

    def _upscale_structured(self, image: np.ndarray, ways: _Ways) -> UpscaledImage:
        """Upscales a slice with the network, between its own range and [0, 1]."""
        normalizer = normalizer_for(image.astype("float32") if image.dtype == np.float16 else image)
        lr, beyond = normalizer.normalize(image), normalizer.beyond(image)
        if lr.shape[-1] != self.info.input_channels:
            lr = np.concatenate([lr] * (2 * self.info.neighbours + 1), axis=-1)
        one = self.predict(lr[np.newaxis], **dataclasses.asdict(ways))
        unit = normalizer.high - normalizer.low
        if beyond is not None:
            beyond = upscaled_mask(middle_channels(beyond, self.channels), self.factors)
        return dataclasses.replace(
            one,
            sr=normalizer.restore(one.sr[0], image.dtype, beyond),
            deviation=None if one.deviation is None else in_units(one.deviation[0], unit),
            residual=None if one.residual is None else (one.residual[0] * unit, one.residual[1] * unit),
        )

    def check_image(self, image: np.ndarray) -> None:
        """Raises DataError unless this model can upscale the slice (H, W, C)."""
        if self.info.dimensions == 3:
            raise DataError(
                "The model is for volumes, not for slices: use a model that was trained on slices."
            )
        known = image.shape[-1] in (self.channels, self.info.input_channels)
        if not known and not self.separates(image.shape[-1]):
            raise DataError(
                f"The model takes {self.channels} channel(s). Received an image of shape {image.shape}: "
                "use a model that was trained on images like this."
            )
        if not known and image.shape[-1] > _MOST_CHANNELS:
            raise DataError(
                f"An image (H, W, C) has at most {_MOST_CHANNELS} channels. Received: shape {image.shape}. "
                "To a stack of grey slices (N, H, W) add a last axis, stack[..., None]."
            )
        if image.dtype.kind not in "iuf":
            raise DataError(f"Expected integer or float pixels. Received: {image.dtype}")
        if not np.isfinite(image).all():
            raise DataError("The image holds NaN or infinite values: replace them first.")

    def separates(self, channels: int) -> bool:
        """Whether the model takes the channels of an image with so many one by one."""
        return self.info.image_channels is None and channels > 1

    def predict(
        self,
        lr: np.ndarray,
        ensemble: bool = False,
        uncertainty: bool = False,
        consistency: bool = False,
        most_pixels: float | None = None,
        step: Callable[[int], None] | None = None,
        numbers: Sequence[int] | None = None,
        air: float | None = None,
        degraded_by: str | None = None,
    ) -> UpscaledImage:
        """Upscales a batch that is normalised already.

        Args:
            lr: float32 (N, H, W, D) with the channels that the generator takes, or (N, X, Y, Z, C) for a
                generator of volumes; nominally in [0, 1].
            ensemble: See `upscale`.
            uncertainty: See `upscale`.
            consistency: See `upscale`.
            most_pixels: LR pixels that may go through the network at once; by default `most_pixels()`.
            step: Called with the number of tiles that were just done; see `count_tiles`.
            numbers: What messages call the slices of the batch; by default they are counted from 0.
            air: What is air by `inference.air.air_level`: around what is brighter, slices are interpolated
                (bicubic), and the network saves that time. None looks at all of them.
            degraded_by: Of a model for any way, how all of these slices were degraded, in place of the
                resolver's own `degraded_by`.

        Returns:
            `UpscaledImage`, float32, with the residual over the whole batch.

        Raises:
            ModelError: The network gives something that is not finite.
        """
        most_pixels = self.most_pixels(lr.shape[1:-1]) if most_pixels is None else most_pixels
        deviation = residual = None
        if ensemble or uncertainty:
            sr, deviation = self._predict_ensemble(lr, uncertainty, most_pixels, step, air)
        else:
            sr = self._run_inside(lr, most_pixels, step, air)
        self._check_finite(sr, range(len(lr)) if numbers is None else numbers)
        measured = middle_channels(lr, self.channels)
        mismatches = self._mismatches(sr, measured)
        if consistency or self.info.consistent:
            parts = [
                enforce_consistency(one, slice_, self.degradation)
                for one, slice_ in zip(sr, measured, strict=True)
            ]
            sr = np.stack([one for one, _, _ in parts])
            residual = rms([before for _, before, _ in parts]), rms([after for _, _, after in parts])
        elif self.info.estimate:
            return self._consistent_as_told(UpscaledImage(sr, deviation), measured, degraded_by)
        return UpscaledImage(sr, deviation, residual, mismatches)

    def _predict_ensemble(
        self,
        lr: np.ndarray,
        uncertainty: bool,
        most_pixels: float,
        step: Callable[[int], None] | None,
        air: float | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The means, and the standard deviations or None, of a batch over its flips and turns."""
        if len(set(self.factors[:2])) > 1:
            raise DataError(f"A scale of {self.info.scale_text} does not allow the turns of an ensemble.")

        def predict(one: np.ndarray) -> np.ndarray:
            return self._run_inside(one[np.newaxis], most_pixels, step, air)[0]

        parts = [predict_ensemble(predict, one, uncertainty) for one in lr]
        sr = np.stack([mean for mean, _ in parts])
        deviations = [deviation for _, deviation in parts if deviation is not None]
        return sr, np.stack(deviations) if deviations else None

    def tell_degradation(self, sr: np.ndarray, lr: np.ndarray) -> str:
        """How slices of one scan were degraded, of a model for any way.

        Args:
            sr: What the network made of them, (N, H, W, 1), nominally in [0, 1].
            lr: The slices, (N, h, w, 1), likewise.

        Returns:
            A name from `degradation_estimate.CANDIDATES`, or "unknown".
        """
        estimate = DegradationEstimate.from_dict(self.info.estimate)
        if estimate is None or min(lr.shape[1:3]) < _LEAST_TO_TELL:
            return UNKNOWN
        return estimate.choose([evidence(*pair, self.scale) for pair in zip(sr, lr, strict=True)]) or UNKNOWN

    def _consistent_as_told(
        self, one: UpscaledImage, lr: np.ndarray, degraded_by: str | None
    ) -> UpscaledImage:
        """The result made consistent with how each of its slices was degraded, where that is known."""
        told = self.degraded_by if degraded_by is None else degraded_by
        parts, mismatches, names = [], [], []
        for sr, slice_ in zip(one.sr, lr, strict=True):
            name = self.tell_degradation(sr[np.newaxis], slice_[np.newaxis]) if told == AUTO else told
            if name != UNKNOWN:
                degradation = candidate(name, self.scale)
                # What was told from the image fits; who says it may be wrong.
                said = name == self.degraded_by
                mismatches.append(degradation_mismatch(sr, slice_, degradation) if said else 0.0)
                sr = enforce_consistency(sr, slice_, degradation)[0]
                names.append(words(name))
            parts.append(sr)
        known = tuple(value for value in mismatches if value is not None)
        if worst := max(known, default=0.0):
            self._warn_once(
                "%s: the result does not degrade to the image again (off by %.0f %% of the steps between "
                "its pixels): the image was not degraded by %s. Leave out `degraded_by`.",
                self.name, 100 * worst, words(self.degraded_by),
            )  # fmt: skip
        return dataclasses.replace(
            one, sr=np.stack(parts), mismatches=known, degraded_by=tuple(dict.fromkeys(names))
        )

    def _warn_once(self, text: str, *values: Any) -> None:
        """Logs the first warning about a result that does not degrade to its image again."""
        if self.warns and not self.quiet and not self._warned:
            self._warned = True
            log.warning(text, *values)

    def _check_finite(self, sr: np.ndarray, numbers: Sequence[int]) -> None:
        """Raises ModelError where a result is not finite, whatever the network runs on."""
        for number, one in zip(numbers, sr, strict=True):
            bad = one.size - int(np.count_nonzero(np.isfinite(one)))
            if bad and self.info.dimensions == 3:
                number = int(np.argwhere(~np.isfinite(one))[0][2]) // self.factors[2]
            if bad:
                raise ModelError(
                    f"{self.name} gives {bad} NaN or infinite values, first in slice {number} (counted from "
                    "0): nothing is written. The model diverged, or its precision is too low for these "
                    "values: take another model, or export it in float32."
                )

    def _mismatches(self, sr: np.ndarray, lr: np.ndarray) -> tuple[float, ...]:
        """`degradation_mismatch` of each slice where it can be told; the first that is not 0 is warned of."""
        if not self.warns or self.info.dimensions == 3 or not self.info.degradation:
            return ()
        shares = [degradation_mismatch(*pair, self.degradation) for pair in zip(sr, lr, strict=True)]
        known = tuple(share for share in shares if share is not None)
        if worst := max(known, default=0.0):
            self._warn_once(
                "%s: the result does not degrade to the image again (off by %.0f %% of the steps between "
                "its pixels): the image was not degraded by `%s`, which this model undoes, or the model "
                "is poor. Look at the result, or choose another model.",
                self.name, 100 * worst, self.degradation.name,
            )  # fmt: skip
        return known

    @functools.cached_property
    def degradation(self) -> Degradation:
        """What the model was trained to undo, for `consistency`.

        Raises:
            DataError: The model does not say it, or is for volumes.
        """
        from keras_mrisr.degrade import get_degradation

        if self.info.dimensions == 3:
            raise DataError(f"{self.name} is a model for volumes: leave out `consistency` with it.")
        if not self.info.degradation:
            raise DataError(
                f"{self.name} does not say what it was trained to undo: leave out `consistency` with it."
            )
        return get_degradation(**self.info.degradation)


def _described(generator: Model, degradation: Degradation | Mapping[str, Any] | str | None) -> ModelInfo:
    """The `ModelInfo` of a network by its shapes and what it is said to undo."""
    from keras_mrisr.degrade import get_degradation
    from keras_mrisr.models.storage import describe_network

    if isinstance(degradation, str):
        degradation = {"name": degradation, "scale": describe_network(generator).scale}
    known = get_degradation(**degradation) if isinstance(degradation, Mapping) else degradation
    return describe_network(generator, known)
