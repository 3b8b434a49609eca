"""The picture: slices with the outlines of the true and the predicted lesion."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_mrisr.files import whole_file
from keras_mrisr.types import PathLike

_BACKGROUND, _TEXT, _MUTED = "#0d1117", "#e6edf3", "#8b949e"
TRUTH, PREDICTION = "#58a6ff", "#ffb454"
_DPI = 150
_PANEL = 2.6  # Width of an image, in inches.
_GAP = 0.1
_CAPTION = 0.36  # Room for the numbers below it.
_HEAD = 0.32  # Room for the name of a case above its row.


@dataclasses.dataclass(frozen=True, eq=False)
class OverlayCase:
    """One row of the figure.

    Attributes:
        label: Whose slice it is.
        truth: Its mask, bool (H, W).
        columns: Name of a method -> (image (H, W, C), predicted mask (H, W), Dice of the whole patient).
    """

    label: str
    truth: np.ndarray
    columns: dict


def overlay_figure(cases: Sequence[OverlayCase], path: PathLike) -> None:
    """Writes the picture of some cases, one a row, one column a method.

    The middle channel (FLAIR in the LGG set) is shown as grey; all images of a row share a window. The
    true lesion is outlined in blue, the predicted one in orange; both look alike whatever the row, and the
    key says which is which.

    Args:
        cases: `OverlayCase`s with the same methods.
        path: File to write; the suffix says the format (.png, .pdf, .svg).

    Raises:
        DataError: `path` cannot be written.
        ValueError: There are no cases.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not cases:
        raise ValueError("a figure needs at least one case")
    names = list(cases[0].columns)
    heights = [_HEAD + _PANEL * case.truth.shape[0] / case.truth.shape[1] + _CAPTION for case in cases]
    top = 0.42
    width, height = len(names) * (_PANEL + _GAP) + _GAP, sum(heights) + top
    width = max(width, 5.6)  # Room for the key.
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    lines = [Line2D([], [], color=colour, linewidth=1.5) for colour in (TRUTH, PREDICTION)]
    figure.legend(
        lines, ("truth", "prediction"), loc="upper left", ncols=2, frameon=False, fontsize=10,
        labelcolor=_TEXT, bbox_to_anchor=(0, 1), borderaxespad=0.3,
    )  # fmt: skip
    words = "the slice with the most lesion; Dice of the whole patient"
    figure.text(1 - _GAP / width, 1 - 0.18 / height, words, color=_MUTED, fontsize=9, ha="right", va="center")
    y = top
    for case, room in zip(cases, heights, strict=True):
        _draw_row(figure, case, y, width, height)
        y += room
    with whole_file(path) as temporary:
        figure.savefig(temporary, facecolor=_BACKGROUND)


def _draw_row(figure, case, top, width, height):
    text = {"fontsize": 10, "va": "center", "parse_math": False}  # Names may have dollar signs.
    figure.text(_GAP / width, 1 - (top + 0.18) / height, case.label, color=_TEXT, **text)
    top += _HEAD
    panel_height = _PANEL * case.truth.shape[0] / case.truth.shape[1]
    planes = [image[..., image.shape[-1] // 2].astype("float32") for image, _, _ in case.columns.values()]
    white = max(1.0, float(np.percentile(planes[0], 99.7)))
    for column, (name, (_, prediction, dice)) in enumerate(case.columns.items()):
        left = _GAP + column * (_PANEL + _GAP)
        axes = figure.add_axes(
            (left / width, 1 - (top + panel_height) / height, _PANEL / width, panel_height / height)
        )
        axes.set_axis_off()
        axes.imshow(planes[column], cmap="gray", vmin=0, vmax=white, aspect="auto", interpolation="nearest")
        for mask, colour in ((case.truth, TRUTH), (prediction, PREDICTION)):
            if mask.any():
                axes.contour(mask, levels=[0.5], colors=colour, linewidths=0.9)
        figure.text(
            (left + _PANEL / 2) / width,
            1 - (top + panel_height + 0.15) / height,
            f"{name} · Dice {dice:.3f}",
            color=_TEXT if column == 0 else _MUTED,
            ha="center",
            **text,
        )
