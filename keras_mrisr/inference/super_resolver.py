"""A trained generator as a function from an LR array to an SR array."""

import dataclasses
import functools
import logging
import math
import pathlib

import numpy as np

from keras_mrisr.data.neighbours import middle_channels, stack_around
from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.inference.consistency import enforce_consistency
from keras_mrisr.inference.degradation_check import misfit
from keras_mrisr.inference.ensemble import ensemble as predict_ensemble
from keras_mrisr.inference.tiles import plan_tiles, run_tiles, smallest_tile
from keras_mrisr.memory import available_memory, memory_text, parse_memory, resident_memory

# What TensorFlow 2.21 took on a CPU over the tensors that are alive between the layers, at most, and the
# first time besides (its kernels, the traced graph).
_OVERHEAD = 2.0
_FIXED = 96 * 10**6
# Without `memory`: larger tiles are no faster, and this much fits into most GPUs, too.
_USUAL = 4 * 10**9
# Channels of an image that are taken one by one: more are likely to be a stack of slices.
_MOST_CHANNELS = 4
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class UpscaledImage:
    """What a generator makes of LR.

    Attributes:
        sr: The SR array.
        deviation: Standard deviation over the 8 flips and turns, in the units of `sr`, float32; or None.
        residual: (before, after): root mean square of degrade(SR) - LR, in those units, before and after
            SR was made consistent; or None.
    """

    sr: np.ndarray
    deviation: np.ndarray | None = None
    residual: tuple[float, float] | None = None


class SuperResolver:
    """Upscales slices with a trained generator; intensities and types go in and out unchanged.

    What does not fit into memory at once is cut into tiles; the result is the same (see
    `inference.tiles`). Volumes go through `upscale_volume`.

    Args:
        generator: `keras.Model` from (N, H, W, C) to (N, H * scale, W * scale, C) in [0, 1].
        info: Its `ModelInfo`.
        memory: Bytes that this process may come to occupy in all, or text such as "2GB"; by default what the
            machine has available, of which no more than 4 GB is used for the network.
        name: What messages and headers call the model.

    Example:
        >>> sr = SuperResolver.load("runs/lgg-x2")(lr)  # (H, W, 3) uint8 -> (2H, 2W, 3) uint8
    """

    # Small slices of a volume go through the network together until they have as many pixels as this: more
    # are no faster.
    pixels_together = 256 * 256
    # Images of a folder that are upscaled at the same time.
    images_at_once = 1
    # Whether a result that does not degrade to its image again is still to be warned about.
    warns = True

    def __init__(self, generator, info, memory=None, name="the model"):
        self.generator = generator
        self.info = info
        self.scale = info.scale
        self.channels = info.channels
        self.factors = info.factors
        self.memory = parse_memory(memory) if isinstance(memory, str) else memory
        self.name = name
        self._kept = 0

    @classmethod
    def load(cls, path, memory=None):
        """Loads a model directory, a `.keras` file in one, or a model that comes with the package.

        Args:
            path: Its path, or its name, such as "lgg-x2" (see `mrisr models`).
            memory: See `SuperResolver`.

        Raises:
            DataError: Nothing there, or it is broken.
        """
        from keras_mrisr.models.storage import load_trained

        generator, info = load_trained(path)
        # With XLA, which Keras turns on where there is a GPU, each new image size is compiled for itself.
        generator.jit_compile = False
        return cls(generator, info, memory, pathlib.Path(path).resolve().name)

    def cancel(self):
        """Ends what is under way in other threads, where it can be ended; a network here can't."""

    def __call__(self, image, ensemble=False, consistency=False):
        """Upscales one slice or a batch; the `sr` of `upscale`."""
        return self.upscale(image, ensemble, consistency=consistency).sr

    def upscale(self, image, ensemble=False, uncertainty=False, consistency=False):
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
                back to `image` (see `inference.consistency`).

        A result that does not degrade to the image again is warned about, once.

        A constant image (all black, say) has nothing to resolve and stays the same constant.

        Returns:
            `UpscaledImage`; `sr` has the dimensions and the type of `image`, H and W times the scale.
            Integers are rounded and clipped to their type. The residual is that before rounding.

        Raises:
            DataError: Wrong number of dimensions or channels, or NaN or infinite values.
        """
        image = np.asarray(image)
        if image.ndim not in (2, 3, 4) or 0 in image.shape:
            raise DataError(f"Expected (H, W), (H, W, C) or (N, H, W, C). Received: shape {image.shape}")
        if image.ndim == 2:
            one = self.upscale(image[..., np.newaxis], ensemble, uncertainty, consistency)
            deviation = None if one.deviation is None else one.deviation[..., 0]
            return UpscaledImage(one.sr[..., 0], deviation, one.residual)
        if image.ndim == 4:
            neighbours = self.info.neighbours
            if neighbours and image.shape[-1] == self.channels:
                image = [stack_around(image, place, neighbours) for place in range(len(image))]
            return _together([self.upscale(one, ensemble, uncertainty, consistency) for one in image])
        self.check_image(image)
        if self.separates(image.shape[-1]):
            parts = [
                self.upscale(image[..., [channel]], ensemble, uncertainty, consistency)
                for channel in range(image.shape[-1])
            ]
            return _together(parts, lambda arrays: np.concatenate(arrays, axis=-1))
        middle = middle_channels(image, self.channels)
        if image.min() == image.max():
            sr = middle.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
            deviation = np.zeros(sr.shape, "float32") if uncertainty else None
            return UpscaledImage(sr, deviation, (0.0, 0.0) if consistency else None)
        normalizer = normalizer_for(image.astype("float32") if image.dtype == np.float16 else image)
        lr = normalizer.normalize(image)
        if lr.shape[-1] != self.info.input_channels:
            lr = np.concatenate([lr] * (2 * self.info.neighbours + 1), axis=-1)
        one = self.predict(lr[np.newaxis], ensemble, uncertainty, consistency)
        unit = normalizer.high - normalizer.low
        return UpscaledImage(
            normalizer.restore(one.sr[0], image.dtype),
            None if one.deviation is None else one.deviation[0] * np.float32(unit),
            None if one.residual is None else tuple(each * unit for each in one.residual),
        )

    def check_image(self, image):
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

    def separates(self, channels):
        """Whether the model takes the channels of an image with so many one by one."""
        return self.info.image_channels is None and channels > 1

    def predict(self, lr, ensemble=False, uncertainty=False, consistency=False, most_pixels=None, step=None):
        """Upscales a batch that is normalised already.

        Args:
            lr: float32 (N, H, W, D) with the channels that the generator takes, or (N, X, Y, Z, C) for a
                generator of volumes; nominally in [0, 1].
            ensemble: See `upscale`.
            uncertainty: See `upscale`.
            consistency: See `upscale`.
            most_pixels: LR pixels that may go through the network at once; by default `most_pixels()`.
            step: Called with the number of tiles that were just done; see `count_tiles`.

        Returns:
            `UpscaledImage`, float32, with the residual over the whole batch.
        """
        most_pixels = self.most_pixels(lr.shape[1:-1]) if most_pixels is None else most_pixels
        deviation = residual = None
        if ensemble or uncertainty:
            if len(set(self.factors[:2])) > 1:
                raise DataError(f"A scale of {self.info.scale_text} does not allow the turns of an ensemble.")
            parts = [
                predict_ensemble(
                    lambda one: self._run(one[np.newaxis], most_pixels, step)[0], one, uncertainty
                )
                for one in lr
            ]
            sr = np.stack([mean for mean, _ in parts])
            deviation = np.stack([deviation for _, deviation in parts]) if uncertainty else None
        else:
            sr = self._run(lr, most_pixels, step)
        measured = middle_channels(lr, self.channels)
        self._warn_of_misfit(sr, measured)
        if consistency:
            parts = [
                enforce_consistency(one, slice_, self.degradation)
                for one, slice_ in zip(sr, measured, strict=True)
            ]
            sr = np.stack([one for one, _, _ in parts])
            residual = _rms([before for _, before, _ in parts]), _rms([after for _, _, after in parts])
        return UpscaledImage(sr, deviation, residual)

    def _warn_of_misfit(self, sr, lr):
        """Warns once where what the model undoes is not what was done to an image (see `misfit`)."""
        if not self.warns or self.info.dimensions == 3 or not self.info.degradation:
            return
        for one, slice_ in zip(sr, lr, strict=True):
            share = misfit(one, slice_, self.degradation)
            if share is not None:
                self.warns = False
                log.warning(
                    "%s: the result does not degrade to the image again (off by %.0f %% of the steps between "
                    "its pixels): the image was not degraded by `%s`, which this model undoes, or the model "
                    "is poor. Look at the result, or choose another model.",
                    self.name, 100 * share, self.degradation.name,
                )  # fmt: skip
                return

    @functools.cached_property
    def degradation(self):
        """What the model was trained to undo, for `consistency`.

        Raises:
            DataError: The model does not say it, or is for volumes.
        """
        from keras_mrisr.degrade import get_degradation

        if self.info.dimensions == 3:
            raise DataError(f"{self.name} is a model for volumes: leave out --consistency with it.")
        if not self.info.degradation:
            raise DataError(
                f"{self.name} does not say what it was trained to undo: leave out --consistency with it."
            )
        return get_degradation(**self.info.degradation)

    def most_pixels(self, sizes, memory=None):
        """How many LR pixels may go through the network at once.

        Args:
            sizes: LR size along each spatial axis.
            memory: Bytes for the whole process, instead of the resolver's own `memory`. What is read or
                allocated by now counts as taken.

        Returns:
            A number for `predict`, infinite where nothing is known of a network that needs no tiles.

        Raises:
            DataError: That memory is too little, or the network cannot be cut into tiles.
        """
        memory = self.memory if memory is None else memory
        try:
            field, cost = self._field, self._cost
        except MrisrError:
            if memory is None:
                return math.inf
            raise
        smallest = smallest_tile(sizes, field.radius, field.period)
        # SR is collected beside the network's own tensors, and an ensemble holds it four times.
        collected = 4 * 4 * self.channels * math.prod((*sizes, *self.factors))
        if memory is None:
            room = min(available_memory() + self._kept, _USUAL)
            return max((room - _FIXED - collected) / cost, smallest)
        most = (memory - resident_memory() + self._kept - _FIXED - collected) / cost
        if most < smallest:
            needed = memory + (smallest - most) * cost
            raise DataError(
                f"{memory_text(memory)} of memory are too little: this program, the images and the smallest "
                f"tiles take {memory_text(needed)}. Allow more with --memory."
            )
        return most

    def count_tiles(self, sizes, most_pixels):
        """How many tiles an image of these sizes is cut into."""
        return len(self._plan(sizes, most_pixels))

    @functools.cached_property
    def _field(self):
        from keras_mrisr.models.receptive_field import receptive_field

        return receptive_field(self.generator)

    @functools.cached_property
    def _cost(self):
        """Bytes that the network takes for each LR pixel."""
        from keras_mrisr.models.footprint import activation_bytes

        return _OVERHEAD * activation_bytes(self.generator)

    def _plan(self, sizes, most_pixels):
        if math.prod(sizes) <= most_pixels:  # Nothing needs to be known of the network.
            return plan_tiles(sizes, most_pixels, radius=0)
        return plan_tiles(sizes, most_pixels, self._field.radius, self._field.period)

    def _run(self, lr, most_pixels, step):
        tiles = self._plan(lr.shape[1:-1], most_pixels)
        tile_pixels = math.prod(part.stop - part.start for part in tiles[0].window)
        at_once = max(1, int(min(most_pixels / tile_pixels, len(lr))))
        return run_tiles(self._forward, lr, tiles, self.factors, at_once, step)

    def _forward(self, lr):
        """The network itself: float32 (n, ..., D) to (n, ... * factor, C)."""
        before = resident_memory()
        sr = np.asarray(self.generator.predict_on_batch(lr))
        # TensorFlow gives the memory of its tensors back to its own pool, not to the system: it is there
        # for the next tiles, although it counts as taken.
        self._kept += max(resident_memory() - before, 0)
        return sr


def _together(parts, join=np.stack):
    """The `UpscaledImage` of a batch from those of its slices, or of a slice from those of its channels."""
    first = parts[0]
    return UpscaledImage(
        join([one.sr for one in parts]),
        None if first.deviation is None else join([one.deviation for one in parts]),
        None
        if first.residual is None
        else tuple(_rms(each) for each in zip(*(p.residual for p in parts), strict=True)),
    )


def _rms(values):
    return math.sqrt(np.mean(np.square(values)))
