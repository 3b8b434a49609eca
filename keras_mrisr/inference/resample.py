"""Interpolation of one axis of a volume onto another number of voxels that cover the same extent."""

import math

import numpy as np

from keras_mrisr.degrade.kernels import keys_kernel


def resample_axis(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Interpolates an axis so that it has `count` voxels; its outer faces stay where they are.

    Finer by cubic B-splines (Unser 1999, "Splines: a perfect fit for signal and image processing"), mirrored
    beyond the outer voxels; coarser by averages over the wider voxels, Keys' kernel stretched to them, as
    Pillow does it.

    Args:
        array: Array with any axes, integer or float.
        axis: The axis.
        count: Its new number of voxels.

    Returns:
        float32 array.
    """
    size = array.shape[axis]
    if count == size:
        return np.asarray(array, "float32")
    matrix = spline_matrix(size, count) if count > size else _average_matrix(size, count)
    return apply_matrix(matrix, array, axis)


def apply_matrix(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    """Multiplies an axis of an array with a matrix (new, old); float32."""
    product = np.tensordot(matrix.astype("float32"), np.asarray(array, "float32"), axes=(1, axis))
    return np.moveaxis(product, 0, axis)


def spline_matrix(size: int, count: int) -> np.ndarray:
    """The cubic B-spline interpolation from `size` to `count` voxels over the same extent, (count, size)."""
    from scipy import ndimage

    if size < 2:
        return np.ones((count, size))
    coefficients = ndimage.spline_filter1d(np.eye(size), order=3, axis=0, mode="mirror")
    # No value beyond the centres of the outer voxels was measured: they are repeated there.
    places = np.clip((np.arange(count) + 0.5) * (size / count) - 0.5, 0, size - 1)
    columns = [
        ndimage.map_coordinates(column, places[np.newaxis], order=3, mode="mirror", prefilter=False)
        for column in coefficients.T
    ]
    return np.stack(columns, axis=1)


def _average_matrix(size: int, count: int) -> np.ndarray:
    ratio = size / count
    centres = (np.arange(count) + 0.5) * ratio - 0.5
    weights = keys_kernel((np.arange(size) - centres[:, np.newaxis]) / ratio)
    return weights / weights.sum(axis=1, keepdims=True)


def voxels_for(extent: float, spacing: float) -> int:
    """How many voxels of about this spacing fill an extent; at least one."""
    return max(1, math.floor(extent / spacing + 0.5))
