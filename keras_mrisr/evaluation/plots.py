"""Plots of the report as SVG text: small, sharp, and in the colours of the page, dark or light.

Colours come from the page's style sheet by class (s0, s1, ... for series), and series differ in the shape of
their marks too. Every plot has a title, a description for screen readers, and names at its points.
"""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot: its title, and itself as SVG text."""

    title: str
    svg: str


_WIDTH = 560
COLOURS = 6
_SHAPES = ("circle", "square", "triangle", "diamond", "cross", "bar")


def strip_plot(
    title: str, rows: Sequence[Any], styles: Mapping[str, int], unit: str = "", digits: int = 2
) -> Plot:
    """One value a patient for several methods: points, with a box from quartile to quartile.

    Args:
        title: Of the plot.
        rows: List of (method, values, names of the patients).
        styles: Method -> number of its colour and shape, the same in every plot.
        unit: Of the values.
        digits: Decimals in the texts.

    Returns:
        A `Plot`.
    """
    left, row_height = 20 + 7.6 * max(len(name) for name, _, _ in rows), 34
    height = row_height * len(rows) + 44
    values = np.concatenate([np.asarray(v, float) for _, v, _ in rows])
    across = _Axis(values, left, _WIDTH - 16)
    body = [_grid_columns(across, 8, height - 36, height - 20, digits)]
    body.append(_text(_WIDTH - 16, height - 4, unit, "end", "label"))
    for place, (name, own, patients) in enumerate(rows):
        y = 8 + row_height * (place + 0.5)
        own = np.asarray(own, float)
        low, middle, high = np.percentile(own, (25, 50, 75))
        body.append(_text(left - 8, y + 4, name, "end", "label"))
        box = f'x="{across(low):.1f}" y="{y - 9:.1f}" width="{max(1, across(high) - across(low)):.1f}"'
        style = styles[name]
        body.append(f'<rect class="box s{style % COLOURS}" {box} height="18" rx="2"/>')
        x = across(middle)
        body.append(f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}"/>')
        for number, (value, patient) in enumerate(zip(own, patients, strict=True)):
            offset = (number * 7 % 5 - 2) * 2.2  # Spread, so that equal values are seen.
            note = f"{patient}: {value:.{digits}f} {unit}".rstrip()
            body.append(_mark(across(value), y + offset, style, note))
    medians = ", ".join(f"{name} {np.median(own):.{digits}f}" for name, own, _ in rows)
    return _svg(title, f"One point a patient. Medians: {medians}.", height, body)


def scatter_plot(
    title: str,
    labels: Sequence[str],
    series: Sequence[Any],
    styles: Mapping[str, int],
    digits: int = 2,
    diagonal: bool = True,
    height: int = 380,
    unit: str = "patient",
) -> Plot:
    """One point a patient (or another `unit`) and series.

    Args:
        title: Of the plot.
        labels: (of x, of y).
        series: List of (name, x values, y values, names of the patients).
        styles: As in `strip_plot`.
        digits: Decimals in the texts.
        diagonal: Draw the line on which x and y are equal.
        height: In pixels.
        unit: What a point is.

    Returns:
        A `Plot`.
    """
    xs = np.concatenate([np.asarray(x, float) for _, x, _, _ in series])
    ys = np.concatenate([np.asarray(y, float) for _, _, y, _ in series])
    up = _Axis(ys, height - 72, 12)
    across = _Axis(xs, up.margin, _WIDTH - 16)
    body = [_frame(across, up, labels, digits)]
    if diagonal:
        ends = max(across.low, up.low), min(across.high, up.high)
        if ends[0] < ends[1]:
            body.append(_path([(across(end), up(end)) for end in ends], "diagonal"))
    for name, x, y, patients in series:
        for one, two, patient in zip(x, y, patients, strict=True):
            body.append(
                _mark(across(one), up(two), styles[name], f"{patient}: {one:.{digits}f}, {two:.{digits}f}")
            )
    body.append(_legend([name for name, *_ in series], styles, height - 18))
    description = f"{labels[1]} against {labels[0]}, one point a {unit}" + (
        "; the line is where both are equal." if diagonal else "."
    )
    return _svg(title, description, height, body)


def line_plot(
    title: str,
    labels: Sequence[str],
    series: Sequence[Any],
    styles: Mapping[str, int],
    digits: int = 2,
    height: int = 320,
) -> Plot:
    """Lines over a common axis, such as a score over epochs.

    Args:
        title: Of the plot.
        labels: (of x, of y).
        series: List of (name, x values, y values).
        styles: As in `strip_plot`.
        digits: Decimals in the texts.
        height: In pixels.

    Returns:
        A `Plot`.
    """
    up = _Axis(np.concatenate([np.asarray(y, float) for _, _, y in series]), height - 72, 12)
    xs = np.concatenate([np.asarray(x, float) for _, x, _ in series])
    across = _Axis(xs, up.margin, _WIDTH - 16, whole=True)
    body = [_frame(across, up, labels, digits)]
    for name, x, y in series:
        style = styles[name]
        body.append(
            _path([(across(a), up(b)) for a, b in zip(x, y, strict=True)], f"line s{style % COLOURS}")
        )
        body.append(_mark(across(x[-1]), up(y[-1]), style, f"{y[-1]:.{digits}f}"))
    body.append(_legend([name for name, *_ in series], styles, height - 18))
    ends = ", ".join(f"{name} ends at {y[-1]:.{digits}f}" for name, _, y in series)
    return _svg(title, f"{labels[1]} over {labels[0]}: {ends}.", height, body)


class _Axis:
    """Maps values to pixels, with a little room at both ends and round numbers as ticks."""

    def __init__(self, values, first, last, whole=False):
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
        self.low, self.high = low - room, high + room
        self.first, self.last = first, last
        step = _round_step((self.high - self.low) / 5)
        step = max(1, math.ceil(step)) if whole else step
        start = math.ceil(self.low / step)
        self.ticks = [step * i for i in range(start, math.floor(self.high / step) + 1)]
        self.digits = max(0, -math.floor(math.log10(step) + 1e-9))
        if not float(step * 10**self.digits).is_integer():  # Steps of 2.5.
            self.digits += 1
        # Room on the left for these ticks and a label beside them.
        self.margin = 28 + 7.2 * max((len(f"{tick:.{self.digits}f}") for tick in self.ticks), default=0)

    def __call__(self, value):
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def _round_step(rough):
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _frame(across, up, labels, digits):
    parts = [_grid_columns(across, up.last, up.first, up.first + 16, digits)]
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="{across.first}" x2="{across.last}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(across.first - 6, y + 4, f"{tick:.{up.digits}f}", "end", "tick"))
    parts.append(_text((across.first + across.last) / 2, up.first + 34, labels[0], "middle", "label"))
    middle = (up.first + up.last) / 2
    parts.append(
        f'<text class="label" text-anchor="middle" transform="translate(13 {middle:.1f}) rotate(-90)">'
        f"{html.escape(labels[1])}</text>"
    )
    return "".join(parts)


def _grid_columns(across, top, bottom, text, digits):
    parts = []
    for tick in across.ticks:
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(_text(x, text, f"{tick:.{across.digits}f}", "middle", "tick"))
    return "".join(parts)


def _legend(names, styles, y):
    parts, x = [], 40.0
    for name in names:
        parts.append(_mark(x, y - 4, styles[name]))
        parts.append(_text(x + 10, y, name, "start", "label"))
        x += 34 + 7.0 * len(name)
    return "".join(parts)


def _mark(x, y, series, note=None):
    """A point; the shape says the series to those who don't see the colour."""
    shape = _SHAPES[series % len(_SHAPES)]
    path = {
        "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        "square": "M-3.6 -3.6h7.2v7.2h-7.2z",
        "triangle": "M0 -4.6L4.6 3.6H-4.6z",
        "diamond": "M0 -5L5 0L0 5L-5 0z",
        "cross": "M-4.4 -1.5h2.9v-2.9h3v2.9h2.9v3h-2.9v2.9h-3v-2.9h-2.9z",
        "bar": "M-1.8 -5h3.6v10h-3.6z",
    }[shape]
    title = f"<title>{html.escape(note)}</title>" if note else ""
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="mark s{series % COLOURS}" {place} d="{path}">{title}</path>'


def _path(points, style):
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{style}" d="M{steps}"/>'


def _text(x, y, text, anchor, style):
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{html.escape(str(text))}</text>'


def _svg(title, description, height, body):
    label = html.escape(f"{title}. {description}", quote=True)
    return Plot(
        title,
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}">'
        f"{''.join(body)}</svg>",
    )
