"""How far apart two sets of features are: whether images, as a set, look like others."""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.checks import check
from keras_mrisr.types import Tensor


def polynomial_kernel(x: Tensor, y: Tensor) -> np.ndarray:
    """(x · y / d + 1)³ of every two rows (Binkowski et al. 2018, section 4): (N, d), (M, d) to (N, M)."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    return (x @ y.T / x.shape[1] + 1) ** 3


def kid(hr: Tensor, sr: Tensor) -> float:
    """Kernel distance of two sets of features: the unbiased MMD² of Binkowski et al. 2018 ("KID").

    Its name is from Inception's features; of others, say which: "KID of VGG16 block3_conv3".

    Args:
        hr: Features of originals, (N, d), N at least 2.
        sr: Features of reconstructions, (M, d), M at least 2; they need not be of the same images.

    Returns:
        A number that is 0 on average for two samples of one distribution, so it may be slightly negative.

    Raises:
        ConfigError: Other shapes.
    """
    hr, sr = _pair(hr, sr)
    return kid_of_kernels(polynomial_kernel(hr, hr), polynomial_kernel(sr, sr), polynomial_kernel(hr, sr))


def kid_of_kernels(hr: np.ndarray, sr: np.ndarray, both: np.ndarray) -> float:
    """`kid` out of kernels: of originals (N, N), reconstructions (M, M), and between them (N, M)."""
    within = sum((one.sum() - np.trace(one)) / (len(one) * (len(one) - 1)) for one in (hr, sr))
    return float(within - 2 * both.mean())


def patch_means(maps: Sequence[Tensor], rows: int, columns: int) -> np.ndarray:
    """Features averaged over patches, as `kid` and `frechet_distance` take them.

    Args:
        maps: Of one image, (h, w, F) each, of any sizes, such as those of the layers of a network.
        rows: Number of patches below each other, at most the least h.
        columns: Number of patches beside each other, at most the least w.

    Returns:
        Array (rows * columns, sum of all F). What is left over at the bottom and right is not seen.
    """
    means = []
    for one in map(np.asarray, maps):
        height, width = one.shape[0] // rows, one.shape[1] // columns
        cut = one[: rows * height, : columns * width].reshape(rows, height, columns, width, -1)
        means.append(cut.mean(axis=(1, 3)).reshape(rows * columns, -1))
    return np.concatenate(means, axis=1)


def frechet_distance(hr: Tensor, sr: Tensor) -> float:
    """Fréchet distance of two sets of features, each taken for a normal distribution (Heusel et al. 2017).

    It falls with the number of samples: compare only values of the same number.

    Args:
        hr: Features of originals, (N, d), N at least 2.
        sr: Features of reconstructions, (M, d), M at least 2.

    Returns:
        |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), 0 for equal sets.

    Raises:
        ConfigError: Other shapes.
    """
    hr, sr = _pair(hr, sr)
    means = np.sum((hr.mean(axis=0) - sr.mean(axis=0)) ** 2)
    first, second = (np.atleast_2d(np.cov(one, rowvar=False)) for one in (hr, sr))
    values, vectors = np.linalg.eigh(first)
    # (C1 C2)^½ has the trace of (C1^½ C2 C1^½)^½, which is symmetric.
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ second @ root)
    covariances = np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(inner, 0)).sum()
    return max(0.0, float(means + covariances))


def _pair(hr: Tensor, sr: Tensor) -> tuple[np.ndarray, np.ndarray]:
    hr, sr = np.asarray(hr, float), np.asarray(sr, float)
    fits = hr.ndim == sr.ndim == 2 and hr.shape[1:] == sr.shape[1:] and min(len(hr), len(sr)) >= 2
    check(fits, "Two sets of features", (hr.shape, sr.shape), "(N, d) and (M, d), N and M at least 2")
    return hr, sr
