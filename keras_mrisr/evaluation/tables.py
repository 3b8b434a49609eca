"""An evaluation as tables on the screen, and as JSON and CSV on disk."""

import math
import pathlib

from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.summary import per_patient
from keras_mrisr.files import write_csv, write_json


def summary_table(rows, title=None):
    """A rich table of PSNR and SSIM, one section for each channel set and region.

    Args:
        rows: What `summarise` gives; channel sets and regions without PSNR and SSIM are left out.
        title: Line above the table.

    Returns:
        A `rich.table.Table` that fits 80 columns; the best PSNR and SSIM of a section are bold.
    """
    table = _table(title)
    for name in ("PSNR dB\nimages", "vs\nbicubic", "PSNR dB\npatients", "SSIM\nimages", "SSIM\npatients"):
        table.add_column(name, justify="right", no_wrap=True)
    cells = {(row.channel, row.region, row.method, row.metric): row for row in rows}
    sections = dict.fromkeys((row.channel, row.region) for row in rows)
    for section in sections:
        of = [row for row in rows if (row.channel, row.region) == section]
        methods = list(dict.fromkeys(row.method for row in of))
        if not {"psnr", "ssim"} <= {row.metric for row in of}:
            continue
        _add_section(table, section)
        best = {
            metric: max(_known(cells[*section, m, metric].image_mean) for m in methods)
            for metric in ("psnr", "ssim")
        }
        for method in methods:
            psnr, ssim = cells[*section, method, "psnr"], cells[*section, method, "ssim"]
            psnr_style = "bold green" if psnr.image_mean == best["psnr"] else ""
            ssim_style = "bold green" if ssim.image_mean == best["ssim"] else ""
            table.add_row(
                f"  {method}",
                _styled(_spread(psnr.image_mean, psnr.image_sd, 2), psnr_style),
                "" if method == "bicubic" else _number(psnr.image_delta, "+.2f"),
                _styled(_spread(psnr.patient_mean, psnr.patient_sd, 2), psnr_style),
                _styled(_spread(ssim.image_mean, ssim.image_sd, 4), ssim_style),
                _styled(_spread(ssim.patient_mean, ssim.patient_sd, 4), ssim_style),
            )
    return table


def metrics_table(rows, measures, title=None):
    """A rich table of the means over patients of some metrics, sections as in `summary_table`.

    Args:
        rows: What `summarise` gives.
        measures: The `Measure`s that are columns.
        title: Line above the table.
    """
    table = _table(title)
    for measure in measures:
        table.add_column(measure.heading, justify="right")
    cells = {(row.channel, row.region, row.method, row.metric): row for row in rows}
    for section in dict.fromkeys((row.channel, row.region) for row in rows):
        methods = dict.fromkeys(row.method for row in rows if (row.channel, row.region) == section)
        names = [m for m in methods if any((*section, m, measure.name) in cells for measure in measures)]
        if not names:
            continue
        _add_section(table, section)
        best = {measure: _best(cells, section, names, measure) for measure in measures}
        for method in names:
            row = [f"  {method}"]
            for measure in measures:
                cell = cells.get((*section, method, measure.name))
                text = _number(cell.patient_mean, f".{measure.digits}f") if cell else ""
                row.append(_styled(text, "bold green" if cell and cell.patient_mean == best[measure] else ""))
            table.add_row(*row)
    return table


def comparison_table(comparisons, metric="psnr", title=None):
    """A rich table of the differences between methods in one metric.

    Args:
        comparisons: What `compare_methods` gives.
        metric: Name of the metric.
        title: Line above the table.
    """
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
                f"  {row.first} - {row.second}",
                _number(row.difference, "+.2f"),
                f"{row.low:+.2f} to {row.high:+.2f}" if known else "-",
                _number(row.p, ".3f"),
                _number(row.p_holm, ".3f"),
                _number(row.effect, "+.2f"),
            )
    return table


def report(evaluation):
    """Tables, notes and protocol of an `Evaluation` as one rich renderable."""
    from rich.console import Group
    from rich.text import Text

    names = {measure.name for measure in evaluation.measures}
    parts = []
    if {"psnr", "ssim"} <= names:
        parts.append(summary_table(evaluation.summary))
    others = [
        m for m in evaluation.measures if not ({"psnr", "ssim"} <= names and m.name in ("psnr", "ssim"))
    ]
    if others:
        parts.append(metrics_table(evaluation.summary, others, "Means over patients"))
    if len(evaluation.protocol.models) > 1 and "psnr" in names:
        rows = [row for row in evaluation.comparisons if row.second in evaluation.protocol.models]
        parts.append(comparison_table(rows, title="PSNR dB, paired by patient"))
    notes = (*evaluation.notes, *evaluation.footnotes)
    return Group(
        *parts,
        *(Text(f"Note: {note}", style="yellow") for note in notes),
        *(Text(line, style="dim") for line in evaluation.protocol.lines()),
    )


def to_json(evaluation):
    """Protocol, notes, summary, comparisons, groups and means per patient as plain values."""
    facts = {patient.name: patient for patient in evaluation.patients}
    groups = {"site": evaluation.by_site, "sharpness": evaluation.by_sharpness}
    return {
        "protocol": evaluation.protocol.to_dict(),
        "notes": [*evaluation.notes],
        "footnotes": evaluation.footnotes,
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


def write_tables(evaluation, folder):
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


def _table(title):
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True, title_justify="left")
    table.add_column("")  # May wrap, so that no number is ever cut.
    return table


def _add_section(table, section):
    table.add_section()
    table.add_row(f"[dim]{', '.join(section)}[/dim]")


def _best(cells, section, methods, measure):
    values = [
        cells[*section, m, measure.name].patient_mean for m in methods if (*section, m, measure.name) in cells
    ]
    values = [value for value in values if math.isfinite(value)]
    return (max if measure.higher else min)(values, default=math.nan)


def _below(path, root):
    path = pathlib.Path(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _known(value):
    return value if math.isfinite(value) else -math.inf


def _number(value, form):
    return format(value, form) if math.isfinite(value) else "-"


def _spread(mean, sd, digits):
    form = f".{digits}f"
    return _number(mean, form) + (f"±{sd:{form}}" if math.isfinite(sd) else "")


def _styled(text, style):
    return f"[{style}]{text}[/{style}]" if style and text not in ("", "-") else text
