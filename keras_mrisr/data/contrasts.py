"""Contrasts that the training images do not show, for networks that take scans of any sequence."""

import numpy as np

GAIN = (0.4, 1.2)
GAMMA = (0.6, 1.6)  # Of three samples in ten.
INVERTED = 0.1  # Share of the samples.


def random_contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image as another sequence might show it: gain, gamma, or inverted.

    Args:
        image: Array of any shape, float32, nominally in [0, 1].
        rng: Source of what is drawn.

    Returns:
        float32 array of this shape.
    """
    image = random_curve(image, rng)
    return image * np.float32(np.exp(rng.uniform(*np.log(GAIN))))


def random_curve(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`random_contrast` without the gain: for images that stay normalised to [0, 1]."""
    if rng.random() < INVERTED:
        image = image.max() - image
    if rng.random() < 0.3:
        image = np.clip(image, 0, None) ** np.float32(rng.uniform(*GAMMA))
    return image
