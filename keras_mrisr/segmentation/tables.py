"""The evaluation of a U-Net as a table on the screen, and as JSON and CSV on disk."""

import dataclasses
import math
import pathlib
from typing import Any

from keras_mrisr.evaluation.protocol import finite_or_none, plain_values
from keras_mrisr.files import write_csv, write_json
from keras_mrisr.segmentation.scores import PatientScore


def summary_rows(summary: Any, differences: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(columns, rows) of text: one row a method.

    Args:
        summary: List of `SegmentationSummary`; the first one is what the others are compared with.
        differences: List of `PairedDifference`.
    """
    reference = summary[0].method
    against = {row.first: row for row in differences if row.second == reference}
    columns = ("images", "Dice", "95 %", "median", f"vs {reference}", "p", "recall", "false")
    rows: list[tuple[str, ...]] = []
    for row in summary:
        other = against.get(row.method)
        rows.append(
            (
                row.method,
                _number(row.dice, ".4f") + (f" ± {row.sd:.4f}" if not math.isnan(row.sd) else ""),
                f"{row.low:.3f} to {row.high:.3f}" if not math.isnan(row.low) else "-",
                _number(row.median, ".4f"),
                _number(other.difference, "+.4f") if other else "",
                _number(other.p_holm, ".3f") if other else "",
                f"{row.found}/{row.lesions}",
                str(row.false_lesions),
            )
        )
    return columns, rows


def report(evaluation: Any) -> Any:
    """Table, notes and protocol of a `SegmentationEvaluation` as one rich renderable."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns, rows = summary_rows(evaluation.summary, evaluation.differences)
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # Fits 80 columns.
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    others = [row for row in evaluation.differences if row.second != evaluation.summary[0].method]
    return Group(
        table,
        *(Text(difference_line(row)) for row in others),
        *(Text(f"Note: {note}", style="yellow") for note in evaluation.notes),
        *(Text(line, style="dim") for line in evaluation.lines()),
    )


def difference_line(row: Any) -> str:
    """A `PairedDifference` as a line of text."""
    interval = "" if math.isnan(row.low) else f" ({row.low:+.4f} to {row.high:+.4f})"
    p = "" if math.isnan(row.p_holm) else f", p {row.p_holm:.3f}"
    return f"{row.first} against {row.second}: Dice {row.difference:+.4f}{interval}{p}"


def to_json(evaluation: Any) -> dict[str, Any]:
    """Protocol, notes, summary, differences and patients as plain values; None for what is not finite."""
    return {
        "protocol": evaluation.protocol,
        "notes": list(evaluation.notes),
        "summary": [
            {**plain_values(row), "recall": finite_or_none(row.recall)} for row in evaluation.summary
        ],
        "differences": [plain_values(row) for row in evaluation.differences],
        "patients": [plain_values(score) for score in evaluation.scores],
    }


def write_tables(evaluation: Any, folder: pathlib.Path) -> None:
    """Writes `segmentation.json` and `per_patient.csv` into `folder`, each whole."""
    write_json(folder / "segmentation.json", to_json(evaluation))
    names = [field.name for field in dataclasses.fields(PatientScore)]
    write_csv(folder / "per_patient.csv", names, map(plain_values, evaluation.scores))


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
