"""The tables of `mrisr tune results`, as columns and rows of text."""

from collections.abc import Iterable
from typing import Any

from keras_mrisr.tuning.progress import duration
from keras_mrisr.tuning.results import FINISHED, ILL, SearchResults


def trial_rows(results: SearchResults) -> tuple[list[str], list[list[str]]]:
    """All trials by score: (columns, rows)."""
    perceptual = any("perceptual" in trial.facts for trial in results.trials)
    columns = ["trial", "status", "score", "PSNR", "SSIM", *(["features"] if perceptual else [])]
    columns += ["epochs", "parameters", "GFLOP", "time"]
    rows = []
    for trial in results.trials:
        facts = trial.facts
        row = [trial.name, trial.status, _number(trial.score, 3), _number(facts.get("psnr"), 2)]
        row += [_number(facts.get("ssim"), 4)]
        row += [_number(facts.get("perceptual"), 2)] if perceptual else []
        parameters = facts.get("parameters")
        row += [str(trial.epochs), "" if parameters is None else f"{parameters:,}"]
        row += [_number(facts.get("gflops"), 2), duration(facts["seconds"]) if facts.get("seconds") else ""]
        rows.append(row if trial.status in (FINISHED, ILL) else [*row[:2], *[""] * (len(row) - 2)])
    return columns, rows


def value_rows(results: SearchResults, top: int) -> tuple[list[str], list[list[str]]]:
    """The values of the best trials, one a column: (columns, rows)."""
    trials = results.healthy[: max(top, 1)]
    keys = results.study.space.keys
    rows = []
    for key, name in zip(keys, short_names(keys), strict=True):
        rows.append([name, *(shown(trial.values[key]) if key in trial.values else "-" for trial in trials)])
    return ["key", *(f"trial {trial.name}" for trial in trials)], rows


def front_rows(results: SearchResults) -> tuple[list[str], list[list[str]]]:
    """The trials that none beats in both score and cost: (columns, rows)."""
    rows = [
        [
            trial.name,
            _number(trial.score, 3),
            f"{trial.facts['parameters']:,}",
            _number(trial.facts["gflops"], 2),
        ]
        for trial in results.front()
    ]
    return ["trial", "score", "parameters", "GFLOP"], rows


def short_names(keys: Iterable[str]) -> list[str]:
    """The ends of dotted keys, as long as they need to be to differ: "blocks", "generator.name"."""
    parts = [key.split(".") for key in keys]
    names = []
    for part in parts:
        lengths = range(1, len(part) + 1)
        names.append(
            next(
                ".".join(part[-length:])
                for length in lengths
                if length == len(part) or sum(other[-length:] == part[-length:] for other in parts) == 1
            )
        )
    return names


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def shown(value: Any) -> str:
    """A value of a space, short: a dictionary is shown by its keys."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "+".join(value) if isinstance(value, dict) else str(value)
