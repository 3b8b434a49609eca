"""A trained generator as a function from an LR array to an SR array."""

import numpy as np

from keras_mrisr.data.normalize import normalizer_for
from keras_mrisr.errors import InputError
from keras_mrisr.models.storage import load_trained


class SuperResolver:
    """Enlarges slices with a trained generator; intensities and types go in and out unchanged.

    Args:
        generator: `keras.Model` from (N, H, W, C) to (N, H * scale, W * scale, C) in [0, 1].
        info: Its `ModelInfo`.

    Example:
        >>> sr = SuperResolver.load("runs/lgg-x2")(lr)  # (H, W, 3) uint8 -> (2H, 2W, 3) uint8
    """

    def __init__(self, generator, info):
        self.generator = generator
        self.info = info
        self.scale = info.scale
        self.channels = info.channels

    @classmethod
    def load(cls, path):
        """Loads a model directory, or a `.keras` file in one.

        Raises:
            InputError: Nothing there, or it is broken.
        """
        generator, info = load_trained(path)
        # With XLA, which Keras turns on where there is a GPU, each new image size is compiled for itself.
        generator.jit_compile = False
        return cls(generator, info)

    def __call__(self, image, ensemble=False):
        """Enlarges one slice or a batch.

        Args:
            image: Array (H, W), (H, W, C) or (N, H, W, C); uint8, uint16 or float32. Each slice is
                normalised by itself and the result put back: uint8 by its 255, other types by their
                99.9th percentile (see `data.normalize`).
            ensemble: Average the results for the 8 flips and quarter turns: better by about 0.1 dB,
                8 times as slow (Lim et al. 2017, section 3.4).

        A constant image (all black, say) has nothing to resolve and stays the same constant.

        Returns:
            Array of the same number of dimensions and type, H and W times the scale. Integers are
            rounded and clipped to their type.

        Raises:
            InputError: Wrong number of dimensions or channels, or NaN or infinite values.
        """
        image = np.asarray(image)
        if image.ndim not in (2, 3, 4) or 0 in image.shape:
            raise InputError(f"Expected (H, W), (H, W, C) or (N, H, W, C). Received: shape {image.shape}")
        if image.ndim == 2:
            return self(image[..., np.newaxis], ensemble)[..., 0]
        if image.ndim == 4:
            return np.stack([self(one, ensemble) for one in image])
        self.check_image(image)
        if image.min() == image.max():
            height, width, channels = image.shape
            return np.full((height * self.scale, width * self.scale, channels), image.flat[0])
        normalizer = normalizer_for(image)
        lr = normalizer.normalize(image)
        sr = self._ensemble(lr) if ensemble else self._predict(lr)
        return normalizer.restore(sr, image.dtype)

    def check_image(self, image):
        """Raises InputError unless this model can enlarge the slice (H, W, C)."""
        if image.shape[-1] != self.channels:
            raise InputError(
                f"The model takes {self.channels} channel(s). Received an image of shape {image.shape}: "
                "use a model that was trained on images like this."
            )
        if image.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float32, np.float64):
            raise InputError(f"Expected uint8, uint16 or float pixels. Received: {image.dtype}")
        if not np.isfinite(image).all():
            raise InputError("The image holds NaN or infinite values: replace them first.")

    def _predict(self, lr):
        return np.asarray(self.generator.predict_on_batch(lr[np.newaxis]))[0]

    def _ensemble(self, lr):
        total = 0.0
        for turns in range(4):
            for flip in (False, True):
                turned = np.rot90(lr[:, ::-1] if flip else lr, turns)
                sr = np.rot90(self._predict(np.ascontiguousarray(turned)), -turns)
                total = total + (sr[:, ::-1] if flip else sr)
        return total / 8
