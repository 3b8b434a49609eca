"""A picture of before and after: what was measured, interpolated, beside the result, and a part magnified."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.files import check_new_file, whole_file
from keras_mrisr.types import PathLike
from keras_mrisr.volumes import Volume
from keras_mrisr.volumes.geometry import PLANES, plane_of, slice_axis

ENDINGS = (".png", ".pdf", ".svg")
_DPI = 150
_PANEL = 2.6  # Width of an image, in inches.
_HEAD, _GAP = 0.3, 0.06
_BACKGROUND, _TEXT, _FRAME = "#0d1117", "#e6edf3", "#ffb454"
# Planes across thick slices are strips: not shown where voxels are so many times as long as wide, or as few.
_MOST_ASPECT, _FEWEST = 2.5, 8


@dataclasses.dataclass(frozen=True)
class Pair:
    """One row of the picture.

    Attributes:
        title: What it shows.
        before: The input on the grid of the result: array (H, W), or (H, W, 3) for colours.
        after: The result, of the same shape.
        aspect: Height of a pixel over its width.
    """

    title: str
    before: np.ndarray
    after: np.ndarray
    aspect: float = 1.0


def before_after_volume(
    before: Volume, after: Volume, path: PathLike, plane: str | None = None, name: str = "the model"
) -> None:
    """Writes the picture of a volume: its axial, coronal and sagittal plane, or one of them.

    Each plane lies in the middle of what is bright. Patients look at the reader: their right is on the left
    of axial and coronal planes.

    Args:
        before: What was measured.
        after: The result, on a finer grid over the same extent.
        path: File to write: .png, .pdf or .svg. An existing one is replaced.
        plane: "axial", "coronal" or "sagittal"; by default the one of the slices, and the others unless the
            slices are few or thick.
        name: What the result is called.

    Raises:
        DataError: An ending or a plane that is not known, or the file cannot be written.
    """
    if plane is not None and plane not in PLANES:
        raise DataError(f"Unknown plane {plane!r}. Choose one of {', '.join(sorted(PLANES))}.")
    before, after = _in_ras(before), _in_ras(after)
    axes = range(3) if plane is None else [PLANES.index(plane)]
    stack = slice_axis(before)
    pairs = []
    for axis in axes:
        if plane is None and axis != stack and _is_strip(before, axis) and _is_strip(after, axis):
            continue
        pairs.append(_plane_pair(before, after, axis))
    draw_before_after(pairs, path, name)


def _is_strip(volume: Volume, axis: int) -> bool:
    """Whether planes across an axis have few lines, or far apart."""
    sizes, spacing = np.delete(volume.shape, axis), np.delete(volume.spacing, axis)
    return bool(min(sizes) < _FEWEST or max(spacing) > _MOST_ASPECT * min(spacing))


def before_after_image(
    before: np.ndarray, after: np.ndarray, path: PathLike, name: str = "the model"
) -> None:
    """Writes the picture of an image (h, w, C) and its result (H, W, C); see `before_after_volume`."""
    factors = [big // small for big, small in zip(after.shape[:2], before.shape[:2], strict=True)]
    before = np.stack([_interpolated(before[..., c], factors) for c in range(before.shape[-1])], axis=-1)
    if before.shape[-1] != 3:
        before, after = before[..., 0], after[..., 0]
    draw_before_after([Pair("", before, after)], path, name)


def check_figure(path: PathLike, overwrite: bool = False) -> None:
    """Raises DataError unless a picture can be written under this name."""
    if pathlib.Path(path).suffix.lower() not in ENDINGS:
        raise DataError(f"{path} is no picture that can be written. End it in {', '.join(ENDINGS)}.")
    check_new_file(path, overwrite)


def draw_before_after(pairs: Sequence[Pair], path: PathLike, name: str = "the model") -> None:
    """Draws rows of before and after, and beside them the part with the most detail of both.

    Args:
        pairs: The rows.
        path: File to write, whole or not at all; an existing one is replaced.
        name: What the result is called.

    Raises:
        DataError: An ending that is not known, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_figure(path, overwrite=True)
    heights = [_PANEL * pair.aspect * pair.after.shape[0] / pair.after.shape[1] for pair in pairs]
    width, height = 4 * (_PANEL + _GAP) + _GAP, sum(heights) + len(pairs) * (_HEAD + _GAP)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    top = 0.0
    for pair, tall in zip(pairs, heights, strict=True):
        box = _detail_box(pair)
        part = slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3])
        window = _window(pair.after)
        title = f"{pair.title}: " if pair.title else ""
        columns = (
            (f"{title}interpolated", pair.before),
            (name, pair.after),
            ("interpolated, magnified", pair.before[part]),
            (f"{name}, magnified", pair.after[part]),
        )
        for column, (text, image) in enumerate(columns):
            left = _GAP + column * (_PANEL + _GAP)
            place = (left / width, 1 - (top + _HEAD + tall) / height, _PANEL / width, tall / height)
            axes = figure.add_axes(place)
            axes.imshow(
                _shown(image, *window), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
            )
            axes.axis("off")
            if column < 2:
                _outline(axes, box)
            figure.text(
                (left + _PANEL / 2) / width, 1 - (top + _HEAD / 2) / height, text, fontsize=8, color=_TEXT,
                ha="center", va="center", parse_math=False,
            )  # fmt: skip
        top += _HEAD + tall + _GAP
    with whole_file(path) as temporary:
        figure.savefig(temporary, facecolor=_BACKGROUND, dpi=_DPI)


def _outline(axes: Any, box: tuple[int, int, int, int]) -> None:
    from matplotlib.patches import Rectangle

    top, left, tall, wide = box
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), wide, tall, fill=False, edgecolor=_FRAME, linewidth=0.8)
    )


def _in_ras(volume: Volume) -> Volume:
    """The volume with its axes in the order and direction right, anterior, superior; channels averaged."""
    array = volume.array if volume.array.ndim == 3 else volume.array.mean(axis=-1)
    turn = nibabel.orientations.io_orientation(volume.affine)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turn, array.shape)
    return Volume(nibabel.orientations.apply_orientation(array, turn), affine, volume.name)


def _plane_pair(before: Volume, after: Volume, axis: int) -> Pair:
    """The planes across an axis of two volumes in RAS, as one looks at them: the head up, or the nose."""
    index = _middle(before, axis)
    factors = np.divide(after.shape, before.shape)
    in_plane = np.delete(factors, axis).tolist()
    # The plane of the result in the middle of the measured one.
    place = int((index + 0.5) * factors[axis])
    # From (x, y) to rows from the top: the second axis downwards, and right to left but for sagittal planes.
    flip = (slice(None, None, -1), slice(None) if axis == 0 else slice(None, None, -1))
    lr = _interpolated(np.take(before.array, index, axis=axis), in_plane).T[flip]
    sr = np.take(after.array, place, axis=axis).T[flip]
    across, down = np.delete(after.spacing, axis)
    title = f"{plane_of(before.affine, axis)} {index + 1} of {before.shape[axis]}"
    return Pair(title, lr, sr, float(down / across))


def _middle(volume: Volume, axis: int) -> int:
    """The index of the plane across an axis in the middle of what is bright."""
    sums = np.abs(volume.array).sum(axis=tuple(other for other in range(3) if other != axis), dtype="float64")
    places = np.arange(len(sums))
    return int(np.rint((places * sums).sum() / sums.sum())) if sums.any() else len(sums) // 2


def _interpolated(plane: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """A plane on a grid that is finer over the same extent, by cubic splines."""
    from scipy import ndimage

    plane = plane.astype("float64")
    return ndimage.zoom(plane, factors, order=3, mode="nearest", grid_mode=True)


def _window(image: np.ndarray) -> tuple[float, float]:
    """Black and white: from the darkest to what only few pixels exceed."""
    low, high = np.percentile(image.astype("float64"), (0.5, 99.7)).tolist()
    low = min(low, 0.0) if low < 0 else 0.0
    return low, high if high > low else low + 1.0


def _shown(image: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((image.astype("float64") - low) / (high - low), 0, 1)


def _detail_box(pair: Pair) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part with the most detail that is not at the rim of the tissue."""
    from scipy import ndimage

    image = pair.after.astype("float64")
    image = image if image.ndim == 2 else image.mean(axis=-1)
    tall, wide = (min(size, max(4, size // 4)) for size in image.shape)
    low, high = _window(image)
    tissue = ndimage.binary_fill_holes(image > low + 0.15 * (high - low))
    inside = ndimage.uniform_filter(tissue.astype("float64"), (tall, wide), mode="constant")
    energy = ndimage.uniform_filter(ndimage.gaussian_gradient_magnitude(image, 1.0), (tall, wide))
    # A part that lies wholly in the tissue counts fully; scalp and air are the sharpest edges.
    score = (energy * inside**4)[tall // 2 : image.shape[0] - (tall - tall // 2) + 1, :]
    score = score[:, wide // 2 : image.shape[1] - (wide - wide // 2) + 1]
    top, left = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(top), int(left), tall, wide
