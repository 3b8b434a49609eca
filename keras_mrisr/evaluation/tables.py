"""An evaluation as tables on the screen, and as JSON and CSV on disk."""

import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_mrisr.evaluation.comparisons import Comparison
from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.realism import Realism
from keras_mrisr.evaluation.summary import Summary, per_patient
from keras_mrisr.files import write_csv, write_json

if TYPE_CHECKING:
    from keras_mrisr.evaluation.result import Evaluation

_BEST = "bold green"


def summary_table(
    rows: Sequence[Summary],
    title: str | None = None,
    unit: str = "patients",
    images: str = "images",
    baseline: str = "bicubic",
) -> Any:
    """A rich table of PSNR and SSIM, one section for each channel set and region.

    Args:
        rows: What `summarise` gives; channel sets and regions without PSNR and SSIM are left out.
        title: Line above the table.
        unit: What to call the patients.
        images: What to call the images.
        baseline: The method that differences are taken to.

    Returns:
        A `rich.table.Table` that fits 80 columns; the best PSNR and SSIM of a section are bold.
    """
    table = _table(title)
    from rich.text import Text

    for name in (
        f"PSNR dB\n{images}", f"vs\n{baseline}", f"PSNR dB\n{unit}", f"SSIM\n{images}", f"SSIM\n{unit}",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for section, cells in _sections(rows).items():
        if not {"psnr", "ssim"} <= {metric for _, metric in cells}:
            continue
        _add_section(table, section)
        methods = dict.fromkeys(method for method, _ in cells)
        best = {m: max(_known(cells[one, m].image_mean) for one in methods) for m in ("psnr", "ssim")}
        for method in methods:
            table.add_row(
                Text(f"  {method}"),
                *_summary_cells(cells[method, "psnr"], cells[method, "ssim"], best, baseline),
            )
    return table


def _summary_cells(psnr: Summary, ssim: Summary, best: Mapping[str, float], baseline: str) -> tuple[Any, ...]:
    bold, bold_ssim = (_BEST if row.image_mean == best[row.metric] else "" for row in (psnr, ssim))
    return (
        _styled(_spread(psnr.image_mean, psnr.image_sd, 2), bold),
        "" if psnr.method == baseline else _number(psnr.image_delta, "+.2f"),
        _styled(_spread(psnr.patient_mean, psnr.patient_sd, 2), bold),
        _styled(_spread(ssim.image_mean, ssim.image_sd, 4), bold_ssim),
        _styled(_spread(ssim.patient_mean, ssim.patient_sd, 4), bold_ssim),
    )


def metrics_table(rows: Sequence[Summary], measures: Sequence[Measure], title: str | None = None) -> Any:
    """A rich table of the means over patients of some metrics, sections as in `summary_table`.

    Args:
        rows: What `summarise` gives.
        measures: The `Measure`s that are columns.
        title: Line above the table.
    """
    from rich.text import Text

    table = _table(title)
    for measure in measures:
        table.add_column(measure.heading, justify="right")
    names = {measure.name for measure in measures}
    for section, cells in _sections([row for row in rows if row.metric in names]).items():
        _add_section(table, section)
        best = {measure.name: _best(cells, measure) for measure in measures}
        for method in dict.fromkeys(method for method, _ in cells):
            values = [_patient_cell(cells.get((method, one.name)), one, best[one.name]) for one in measures]
            table.add_row(Text(f"  {method}"), *values)
    return table


def _sections(rows: Sequence[Summary]) -> dict[tuple[str, str], dict[tuple[str, str], Summary]]:
    """(channel set, region) -> (method, metric) -> its summary."""
    sections: dict[tuple[str, str], dict[tuple[str, str], Summary]] = {}
    for row in rows:
        sections.setdefault((row.channel, row.region), {})[row.method, row.metric] = row
    return sections


def _patient_cell(row: Summary | None, measure: Measure, best: float) -> Any:
    text = _number(row.patient_mean, f".{measure.digits}f") if row else ""
    return _styled(text, _BEST if row and row.patient_mean == best else "")


def comparison_table(
    comparisons: Sequence[Comparison], metric: str = "psnr", title: str | None = None
) -> Any:
    """A rich table of the differences between methods in one metric.

    Args:
        comparisons: What `compare_methods` gives.
        metric: Name of the metric.
        title: Line above the table.
    """
    from rich.text import Text

    table = _table(title)
    for name in ("difference", "95 % interval", "p", "Holm", "effect"):
        table.add_column(name, justify="right", no_wrap=True)
    chosen = [row for row in comparisons if row.metric == metric]
    for section in dict.fromkeys((row.channel, row.region) for row in chosen):
        _add_section(table, section)
        for row in chosen:
            if (row.channel, row.region) != section:
                continue
            known = math.isfinite(row.low)
            table.add_row(
                Text(f"  {row.first} - {row.second}"),
                _number(row.difference, "+.2f"),
                f"{row.low:+.2f} to {row.high:+.2f}" if known else "-",
                _number(row.p, ".3f"),
                _number(row.p_holm, ".3f"),
                _number(row.effect, "+.2f"),
            )
    return table


def realism_tables(realism: Realism) -> Iterator[Any]:
    """Rich tables of a `Realism`: its scores, and the spectrum band by band."""
    from rich.text import Text

    table = _table(f"Like the originals, {realism.channel}: less is better")
    for heading in realism.columns.values():
        table.add_column(heading, justify="right", overflow="fold")
    for method in realism.spectra:
        found = [realism.score(method, *key) for key in realism.columns]
        table.add_row(Text(f"  {method}"), *(_number(one.value, ".4g") for one in found))
    yield table
    yield Text("Power beside the originals in dB, band by band from 0 to the Nyquist frequency")
    for method, error in realism.spectra.items():
        yield Text(f"  {method}: {' '.join(_number(value, '.1f') for value in error)}")


def report(evaluation: "Evaluation", unit: str = "patients") -> Any:
    """Tables, notes and protocol of an `Evaluation` as one rich renderable; `unit` stands for patients."""
    from rich.console import Group
    from rich.text import Text

    notes = (*evaluation.notes, *evaluation.footnotes)
    return Group(
        *_report_tables(evaluation, unit),
        *(Text(f"Note: {note}", style="yellow") for note in notes),
        *(Text(line.replace("patients", unit), style="dim") for line in evaluation.protocol.lines()),
    )


def _report_tables(evaluation: "Evaluation", unit: str) -> Iterator[Any]:
    names = {measure.name for measure in evaluation.measures}
    first = {"psnr", "ssim"} if {"psnr", "ssim"} <= names else set()
    if first:
        protocol = evaluation.protocol
        yield summary_table(
            evaluation.summary, unit=unit, images=f"{protocol.image}s", baseline=protocol.baseline
        )
    others = [measure for measure in evaluation.measures if measure.name not in first]
    if others:
        yield metrics_table(evaluation.summary, others, f"Means over {unit}")
    if evaluation.realism is not None:
        yield from realism_tables(evaluation.realism)
    models = evaluation.protocol.models
    if len(models) > 1 and "psnr" in names:
        rows = [row for row in evaluation.comparisons if row.second in models]
        yield comparison_table(rows, title=f"PSNR dB, paired by {unit[:-1]}")


def to_json(evaluation: "Evaluation") -> dict[str, Any]:
    """Protocol, notes, summary, comparisons, groups and means per patient as plain values."""
    facts = {patient.name: patient for patient in evaluation.patients}
    groups = {"site": evaluation.by_site, "sharpness": evaluation.by_sharpness}
    return {
        "protocol": evaluation.protocol.to_dict(),
        "notes": [*evaluation.notes],
        "footnotes": evaluation.footnotes,
        **({"realism": evaluation.realism.to_dict()} if evaluation.realism else {}),
        "summary": [row.to_dict() for row in evaluation.summary],
        "comparisons": [row.to_dict() for row in evaluation.comparisons],
        **{
            f"by_{kind}": {str(name): [row.to_dict() for row in rows] for name, rows in found.items()}
            for kind, found in groups.items()
        },
        "patients": [
            {
                **row,
                "sharpness": finite_or_none(facts[row["patient"]].sharpness),
                "stratum": evaluation.strata.get(row["patient"]),
            }
            for row in per_patient(evaluation.scores, evaluation.measures)
        ],
    }


def write_tables(evaluation: "Evaluation", folder: pathlib.Path) -> None:
    """Writes `metrics.json`, `per_image.csv` and `per_patient.csv` into `folder`, each whole."""
    values = to_json(evaluation)
    write_json(folder / "metrics.json", values)
    metrics = dict.fromkeys(name for score in evaluation.scores for name in score.values)
    names = ["path", "patient", "site", "index", "method", "channel", "region"]
    rows = (
        {
            **{name: getattr(score, name) for name in names},
            "path": _below(score.path, evaluation.protocol.data),
            **score.values,
        }
        for score in evaluation.scores
    )
    write_csv(folder / "per_image.csv", [*names, *metrics], rows, ".6f")
    columns = list(dict.fromkeys(name for row in values["patients"] for name in row))
    write_csv(folder / "per_patient.csv", columns, values["patients"], ".6f")


def _table(title: str | None) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True, title_justify="left")
    table.add_column("")  # May wrap, so that no number is ever cut.
    return table


def _add_section(table: Any, section: tuple[str, str]) -> None:
    from rich.text import Text

    table.add_section()
    table.add_row(Text(", ".join(section), style="dim"))


def _best(cells: Mapping[tuple[str, str], Summary], measure: Measure) -> float:
    values = [row.patient_mean for (_, metric), row in cells.items() if metric == measure.name]
    known = [value for value in values if math.isfinite(value)]
    return (max if measure.higher else min)(known, default=math.nan)


def _below(path: pathlib.Path, root: str) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _spread(mean: float, sd: float, digits: int) -> str:
    form = f".{digits}f"
    return _number(mean, form) + (f"±{sd:{form}}" if math.isfinite(sd) else "")


def _styled(text: str, style: str) -> Any:
    from rich.text import Text

    return Text(text, style="" if text == "-" else style)
