"""Pictures of a search: all trials at once, what matters, and quality against cost."""

import pathlib
from collections.abc import Sequence
from typing import Any

from keras_mrisr.files import whole_file
from keras_mrisr.tuning.importance import EPOCHS, Importance, importance, place
from keras_mrisr.tuning.results import ILL, SearchResults, TrialRecord
from keras_mrisr.tuning.space import Parameter
from keras_mrisr.tuning.tables import shown

PLOTS = ("parallel.png", "pareto.png", "importance.png")
_ILL, _MUTED, _FRONT = "#d1495b", "#8b949e", "#1f77b4"
_DPI = 130


def write_plots(results: SearchResults, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `parallel.png`, `pareto.png` and, with trials enough for it, `importance.png`.

    Args:
        results: A `SearchResults` with a healthy trial.
        folder: Where to.

    Returns:
        List of the paths written.
    """
    written = [parallel_plot(results, folder / "parallel.png"), pareto_plot(results, folder / "pareto.png")]
    found = importance(results)
    if found is not None:
        written.append(importance_plot(found, folder / "importance.png"))
    return written


def parallel_plot(results: SearchResults, path: pathlib.Path) -> pathlib.Path:
    """Writes parallel coordinates: an axis for each parameter and the score, a line for each trial.

    Lines are coloured by score; trials that fell ill are dashed, and end at the bottom.

    Args:
        results: A `SearchResults`.
        path: File to write.
    """
    shown = [parameter for parameter in results.study.space.parameters if _varies(parameter, results)]
    scores = [trial.score or 0.0 for trial in results.healthy]
    low, high = min(scores), max(scores)
    figure, axes = _figure(max(1.45 * (len(shown) + 1), 6), 5)
    ill = [trial for trial in results.trials if trial.status == ILL]
    lines = list(enumerate([*results.healthy, *ill]))
    for number, trial in reversed(lines):  # The best on top.
        # Apart by a hair, so that equal values don't hide each other.
        shift = 0.012 * ((number * 7) % 5 - 2)
        heights = [place(parameter, trial.values.get(parameter.key)) + shift for parameter in shown]
        height, style = _line(trial, number, low, high)
        axes.plot(range(len(shown) + 1), [*heights, height], alpha=0.9, **style)
    ends = [(0.0, f"{low:.2f}"), (1.0, f"{high:.2f}")] if high > low else [(0.5, f"{low:.2f}")]
    _draw_axes(axes, shown, results, ends)
    dashed = f"; {len(ill)} ill, dashed" if ill else ""
    title = f"{len(results.healthy)} trials, the best one bold{dashed}"
    axes.set_title(title, fontsize=10, loc="left")
    return _save(figure, axes, path)


def _draw_axes(
    axes: Any, shown: Sequence[Parameter], results: SearchResults, ends: list[tuple[float, str]]
) -> None:
    """An axis for each parameter, and the last one for the score."""
    for x, ticks in enumerate([*(_ticks(parameter, results) for parameter in shown), ends]):
        _draw_axis(axes, x, ticks)
    axes.set_xlim(-0.4, len(shown) + 0.7)
    axes.set_ylim(-0.22, 1.05)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    names = [_short(parameter.key) for parameter in shown]
    axes.set_xticks(range(len(shown) + 1), [*names, f"score\n({results.study.objective}, dB)"], fontsize=8)
    axes.tick_params(length=0)


def _line(trial: TrialRecord, number: int, low: float, high: float) -> tuple[float, dict[str, Any]]:
    """Where the line of a trial ends on the axis of scores, and how it is drawn."""
    if trial.status == ILL:
        return -0.15, {"color": _ILL, "linestyle": "--", "linewidth": 0.8}
    height = ((trial.score or 0.0) - low) / (high - low) if high > low else 0.5
    return height, {"color": _colour(height), "linewidth": 2.6 if number == 0 else 1.1}


def pareto_plot(results: SearchResults, path: pathlib.Path) -> pathlib.Path:
    """Writes quality against cost: each trial's score and the operations of its generator.

    Args:
        results: A `SearchResults`.
        path: File to write.
    """
    figure, axes = _figure(7, 4.6)
    trials, front = results.healthy, results.front()
    axes.scatter([t.facts["gflops"] for t in trials], [t.score for t in trials], s=26, color=_MUTED, zorder=2)
    x, y = [t.facts["gflops"] for t in front], [t.score for t in front]
    axes.step(x, y, where="post", color=_FRONT, linewidth=1.3, zorder=1)
    axes.scatter(x, y, s=42, color=_FRONT, zorder=3)
    for trial in front:
        axes.annotate(
            f"trial {trial.name}\n{_count(trial.facts['parameters'])} parameters",
            (trial.facts["gflops"], trial.score),
            xytext=(6, -20), textcoords="offset points", fontsize=7,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=8)
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel("GFLOP for a slice of 256x256 (convolutions)", fontsize=9)
    axes.set_ylabel(f"score ({results.study.objective}, dB)", fontsize=9)
    axes.set_title("Quality against inference cost: nothing beats the blue ones", fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    return _save(figure, axes, path)


def importance_plot(found: Importance, path: pathlib.Path) -> pathlib.Path:
    """Writes bars of an `Importance`.

    Args:
        found: The `Importance`.
        path: File to write.
    """
    figure, axes = _figure(7, 0.9 + 0.32 * len(found.shares))
    keys = list(reversed(found.shares))
    colours = [_MUTED if key == EPOCHS else _FRONT for key in keys]
    axes.barh(keys, [found.shares[key] for key in keys], color=colours)
    axes.set_xlabel("share of what the forest sees (permutation)", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(
        f"Importance, from {found.trials} trials.\nThe forest explains "
        f"{max(found.explained, 0):.0%} of the variance of unseen ones"
        + ("" if found.explained > 0.2 else ": too few to tell"),
        fontsize=9, loc="left",
    )  # fmt: skip
    return _save(figure, axes, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure: Any, axes: Any, path: pathlib.Path) -> pathlib.Path:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary)
    return path


def _colour(share: float) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.95 - 0.9 * (1 - share))


def _varies(parameter: Parameter, results: SearchResults) -> bool:
    return len({str(trial.values.get(parameter.key)) for trial in results.trials}) > 1


def _ticks(parameter: Parameter, results: SearchResults) -> list[tuple[float, str]]:
    """(height, text) of the marks on the axis of a parameter."""
    if parameter.values:
        ticks = [(place(parameter, value), _text(value)) for value in parameter.values]
    else:
        ticks = [(0, _text(parameter.low)), (1, _text(parameter.high))]
    if any(parameter.key not in trial.values for trial in results.trials):
        ticks.append((place(parameter, None), "-"))
    return ticks


def _draw_axis(axes: Any, x: float, ticks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(x, color="black", linewidth=0.8, zorder=0)
    for height, text in ticks:
        axes.annotate(
            text, (x, height), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip


def _short(key: str) -> str:
    return "\n".join(key.replace("_", " ").split(".")[1:])


def _text(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 14 else f"{text[:12]}.."


def _count(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
