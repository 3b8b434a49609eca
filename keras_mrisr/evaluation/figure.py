"""The picture: LR, bicubic, SR, original and where both are wrong, on patients of all qualities."""

import dataclasses

import numpy as np

from keras_mrisr.evaluation.regions import tissue_mask
from keras_mrisr.files import whole_file

_BACKGROUND, _TEXT, _MUTED, _FRAME = "#0d1117", "#e6edf3", "#8b949e", "#ffb454"
_DPI = 150
_PANEL = 2.3  # Width of an image, in inches.
_CAPTION = 0.42  # Room for the numbers below it.
_INSET = 0.38  # Side of the inset, as a share of the image's shorter side.
_HEAD = 0.34  # Room for the name of a case above its row.


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One row of the figure; all arrays uint8 (H, W, C), `lr` smaller by the scale.

    Attributes:
        label: Whose slice it is.
        hr: The original.
        lr: What it was degraded to.
        bicubic: `lr` enlarged by interpolation.
        sr: `lr` enlarged by the model.
        mask: Region to outline, bool (H, W), or None.
        channel: The channel that is shown as grey.
        channel_name: Its name, for the numbers.
    """

    label: str
    hr: np.ndarray
    lr: np.ndarray
    bicubic: np.ndarray
    sr: np.ndarray
    mask: np.ndarray | None = None
    channel: int = 0
    channel_name: str = "grey"


def comparison_figure(cases, path, rgb=False, title=None, outline=False):
    """Writes the picture of some cases, one a row.

    The columns are LR (pixels enlarged), bicubic, SR, the original, and the absolute errors of bicubic
    and SR on one scale for the whole figure. Each image has an inset: the part of the tissue with the
    most detail, twice enlarged or more. Numbers are PSNR and SSIM of the channel that is shown.

    Args:
        cases: `Case`s, all of one scale.
        path: File to write; the suffix says the format (.png, .pdf, .svg).
        rgb: Show three channels as colours instead of one as grey.
        title: Line above the figure.
        outline: Draw the outline of each case's `mask`.

    Raises:
        InputError: `path` cannot be written.
        ValueError: There are no cases.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not cases:
        raise ValueError("a figure needs at least one case")
    rows = [_Row(case, rgb) for case in cases]
    top = 0.32 + (0.34 if title else 0.04)
    heights = [_PANEL * row.hr.shape[0] / row.hr.shape[1] + _CAPTION + _HEAD for row in rows]
    width, height = 6 * (_PANEL + 0.08) + 0.75, sum(heights) + top
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    # One scale for all: the 99.5th percentile of bicubic's errors, so that single pixels don't set it.
    peak = max(1.0, float(np.percentile(np.concatenate([row.errors[0].ravel() for row in rows]), 99.5)))
    if title:
        figure.text(0.1 / width, 1 - 0.2 / height, title, color=_MUTED, fontsize=10, va="center")
    names = (f"LR (x{rows[0].scale} smaller)", "bicubic", "SR", "original", "error of bicubic", "error of SR")
    for column, name in enumerate(names):
        x = 0.1 + column * (_PANEL + 0.08) + _PANEL / 2
        colour = _FRAME if name == "SR" else _TEXT
        figure.text(
            x / width, 1 - (top - 0.06) / height, name, color=colour, fontsize=12, ha="center", weight="bold"
        )
    y = top
    for row, room in zip(rows, heights, strict=True):
        _draw_row(figure, row, y, peak, outline)
        y += room
    _draw_scale(figure, width, height, top, peak)
    with whole_file(path) as temporary:
        figure.savefig(temporary, facecolor=_BACKGROUND)


class _Row:
    """What one row shows: planes for display, errors, numbers and where the detail is."""

    def __init__(self, case, rgb):
        self.case = case
        self.hr = case.hr
        self.scale = case.hr.shape[0] // case.lr.shape[0]
        colours = rgb and case.hr.shape[-1] == 3
        part = slice(0, 3) if colours else slice(case.channel, case.channel + 1)
        lr = case.lr.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        images = [image[..., part].astype("float32") for image in (lr, case.bicubic, case.sr, case.hr)]
        # One window for the row, opened to the slice's own brightness: LGG slices are dim.
        white = max(1.0, float(np.percentile(images[-1], 99.7)))
        shown = [np.clip(image / white, 0, 1) for image in images]
        self.images = shown if colours else [image[..., 0] for image in shown]
        self.errors = [np.abs(image - images[-1]).mean(axis=-1) for image in images[1:3]]
        channel = "RGB" if colours else case.channel_name
        numbers = _numbers(images[-1], images[1:3])
        self.captions = [
            f"{lr.shape[1] // self.scale} x {lr.shape[0] // self.scale} pixels",
            *(f"{psnr:.2f} dB · SSIM {ssim:.4f}" for psnr, ssim in numbers),
            f"{channel}, {lr.shape[1]} x {lr.shape[0]} pixels",
            f"mean {self.errors[0].mean():.2f}",
            f"mean {self.errors[1].mean():.2f}",
        ]
        self.box = detail_box(case.hr[..., part])
        self.corner = _free_corner(case.hr[..., part], self.box)


def detail_box(hr):
    """Finds the square with the most detail, inside the tissue where there is some.

    Args:
        hr: Array (H, W, C), uint8.

    Returns:
        (top, left, size) in pixels; the size is a fifth of the shorter side.
    """
    from scipy import ndimage

    plane = hr.astype("float32").mean(axis=-1)
    size = max(4, min(plane.shape) // 5)
    # Well inside: scalp fat is the sharpest edge of a slice, and nobody's question.
    depth = ndimage.distance_transform_edt(np.pad(tissue_mask(hr / np.float32(255)), 1))[1:-1, 1:-1]
    inside = depth > 0.75 * size
    energy = ndimage.gaussian_gradient_magnitude(plane, 1.0)
    energy = ndimage.uniform_filter(energy, size, mode="constant")
    half = size // 2
    valid = np.zeros(plane.shape, bool)
    valid[half : plane.shape[0] - (size - half) + 1, half : plane.shape[1] - (size - half) + 1] = True
    allowed = valid & inside if (valid & inside).any() else valid
    top, left = np.unravel_index(np.argmax(np.where(allowed, energy, -1)), plane.shape)
    return int(top) - half, int(left) - half, size


def _free_corner(hr, box):
    """(bottom, right): the corner where an inset hides the least tissue, and nothing of the box."""
    mask = tissue_mask(hr / np.float32(255)).astype(int)
    top, left, size = box
    mask[top : top + size, left : left + size] = 100
    side = int(_INSET * min(mask.shape)) + 2
    corners = [(bottom, right) for bottom in (True, False) for right in (True, False)]
    cut = {True: slice(-side, None), False: slice(0, side)}
    return min(corners, key=lambda corner: mask[cut[corner[0]], cut[corner[1]]].sum())


def _numbers(hr, images):
    from keras import ops

    from keras_mrisr.metrics import psnr, ssim

    hr, images = np.stack([hr] * len(images)), np.stack(images)
    values = (ops.convert_to_numpy(metric(hr, images, 255.0)).tolist() for metric in (psnr, ssim))
    return list(zip(*values, strict=True))


def _axes(figure, left, top, width, height):
    """Axes at a place in inches from the figure's top left, without ticks or frame."""
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def _draw_row(figure, row, top, peak, outline):
    width, height = figure.get_size_inches()
    panel_height = _PANEL * row.hr.shape[0] / row.hr.shape[1]
    figure.text(0.1 / width, 1 - (top + 0.2) / height, row.case.label, color=_TEXT, fontsize=10, va="center")
    top += _HEAD
    for column, image in enumerate([*row.images, *row.errors]):
        left = 0.1 + column * (_PANEL + 0.08)
        axes = _axes(figure, left, top, _PANEL, panel_height)
        error = column > 3
        look = {"cmap": "inferno" if error else "gray", "vmin": 0, "vmax": peak if error else 1}
        look["interpolation"] = "nearest"
        axes.imshow(image, aspect="auto", **look)
        if outline and row.case.mask is not None and row.case.mask.any():
            axes.contour(row.case.mask, levels=[0.5], colors="#58a6ff", linewidths=0.7)
        _draw_inset(figure, axes, image, row, left, top, panel_height, look)
        colour = _FRAME if column == 2 else _TEXT if column == 1 else _MUTED
        figure.text(
            (left + _PANEL / 2) / width,
            1 - (top + panel_height + 0.17) / height,
            row.captions[column],
            color=colour,
            fontsize=10,
            ha="center",
            va="center",
        )


def _draw_inset(figure, axes, image, row, left, top, panel_height, look):
    from matplotlib.patches import Rectangle

    y, x, size = row.box
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), size, size, fill=False, edgecolor=_FRAME, linewidth=0.8))
    side = _INSET * min(_PANEL, panel_height)
    bottom, right = row.corner
    left += _PANEL - side if right else 0
    top += panel_height - side if bottom else 0
    inset = _axes(figure, left, top, side, side)
    inset.imshow(image[y : y + size, x : x + size], aspect="auto", **look)
    for edge in inset.spines.values():
        edge.set(visible=True, color=_FRAME, linewidth=1.0)


def _draw_scale(figure, width, height, top, peak):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    length = min(_PANEL, height - top - _HEAD - _CAPTION)
    axes = _axes(figure, width - 0.62, top + _HEAD, 0.12, length)
    bar = figure.colorbar(ScalarMappable(Normalize(0, peak), "inferno"), cax=axes)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_MUTED, labelsize=8, length=0)
    figure.text(
        (width - 0.1) / width,
        1 - (top + _HEAD + length / 2) / height,
        "absolute error (of 255)",
        color=_MUTED,
        fontsize=8,
        rotation=90,
        ha="center",
        va="center",
    )
