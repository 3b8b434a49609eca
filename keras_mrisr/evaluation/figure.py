"""The picture: LR, interpolation, SR, original and where they are wrong, on patients of all qualities."""

from collections.abc import Sequence
from typing import Any

from keras_mrisr.evaluation.views import INSET, CaseView, peak_error
from keras_mrisr.files import whole_file
from keras_mrisr.types import PathLike

_BACKGROUND, _TEXT, _MUTED, _FRAME = "#0d1117", "#e6edf3", "#8b949e", "#ffb454"
_DPI = 150
_PANEL = 2.3  # Width of an image, in inches.
_CAPTION = 0.42  # Room for the numbers below it.
_HEAD = 0.34  # Room for the name of a case above its row.


def comparison_figure(
    cases: Sequence[Any], path: PathLike, rgb: bool = False, title: str | None = None, outline: bool = False
) -> None:
    """Writes the picture of some cases, one a row.

    The columns are LR (pixels upscaled), every method, the original, and the absolute errors of the
    methods on one scale for the whole figure. Each image has an inset: the part of the tissue with the
    most detail, twice upscaled or more. Numbers are PSNR and SSIM of the channel that is shown.

    Args:
        cases: `Case`s, all of one scale and with the same methods.
        path: File to write; the suffix says the format (.png, .pdf, .svg).
        rgb: Show three channels as colours instead of one as grey.
        title: Line above the figure.
        outline: Draw the outline of each case's `mask`.

    Raises:
        DataError: `path` cannot be written.
        ValueError: There are no cases.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not cases:
        raise ValueError("a figure needs at least one case")
    rows = [CaseView(case, rgb) for case in cases]
    top = 0.32 + (0.34 if title else 0.04)
    heights = [_PANEL * row.hr.shape[0] / row.hr.shape[1] + _CAPTION + _HEAD for row in rows]
    methods = list(cases[0].images)
    names = [f"LR (x{rows[0].scale} smaller)", *methods, "original", *(f"error of {m}" for m in methods)]
    width, height = len(names) * (_PANEL + 0.08) + 0.75, sum(heights) + top
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    peak = peak_error(rows)
    if title:
        figure.text(0.1 / width, 1 - 0.2 / height, title, color=_MUTED, fontsize=10, va="center")
    for column, name in enumerate(names):
        x = 0.1 + column * (_PANEL + 0.08) + _PANEL / 2
        colour = _FRAME if name in methods[1:] else _TEXT
        text: dict[str, Any] = {
            "color": colour,
            "fontsize": min(12, 270 / len(name)),  # A long name fits its column, too.
            "ha": "center",
            "weight": "bold",
            "parse_math": False,
        }
        figure.text(x / width, 1 - (top - 0.06) / height, name, **text)
    y = top
    for row, room in zip(rows, heights, strict=True):
        _draw_row(figure, row, y, peak, outline)
        y += room
    _draw_scale(figure, width, height, top, peak)
    with whole_file(path) as temporary:
        figure.savefig(temporary, facecolor=_BACKGROUND)


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
    text = {"fontsize": 10, "va": "center", "parse_math": False}  # Names may have dollar signs.
    figure.text(0.1 / width, 1 - (top + 0.2) / height, row.case.label, color=_TEXT, **text)
    top += _HEAD
    for column, image in enumerate([*row.images, *row.errors]):
        left = 0.1 + column * (_PANEL + 0.08)
        axes = _axes(figure, left, top, _PANEL, panel_height)
        error = column >= len(row.images)
        look = {"cmap": "inferno" if error else "gray", "vmin": 0, "vmax": peak if error else 1}
        look["interpolation"] = "nearest"
        axes.imshow(image, aspect="auto", **look)
        if outline and row.case.mask is not None and row.case.mask.any():
            axes.contour(row.case.mask, levels=[0.5], colors="#58a6ff", linewidths=0.7)
        _draw_inset(figure, axes, image, row, left, top, panel_height, look)
        methods = len(row.case.images)
        colour = _FRAME if 1 < column <= methods else _TEXT if column == 1 else _MUTED
        figure.text(
            (left + _PANEL / 2) / width,
            1 - (top + panel_height + 0.17) / height,
            row.captions[column],
            color=colour,
            ha="center",
            **text,
        )


def _draw_inset(figure, axes, image, row, left, top, panel_height, look):
    from matplotlib.patches import Rectangle

    y, x, size = row.box
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), size, size, fill=False, edgecolor=_FRAME, linewidth=0.8))
    side = INSET * min(_PANEL, panel_height)
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
