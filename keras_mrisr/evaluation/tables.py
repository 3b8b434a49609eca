"""An evaluation as a table on the screen, and as JSON and CSV on disk."""

import csv
import dataclasses
import io
import math
import pathlib

from keras_mrisr.evaluation.scores import ImageScore
from keras_mrisr.evaluation.summary import per_patient
from keras_mrisr.files import write_json, write_text


def summary_table(rows, title=None):
    """A rich table of `Summary` rows, one section for each channel set and region.

    Args:
        rows: What `summarise` gives.
        title: Line above the table.

    Returns:
        A `rich.table.Table` that fits 80 columns; the best PSNR and SSIM of a section are bold.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True, title_justify="left")
    table.add_column("")  # May wrap, so that no number is ever cut.
    for name in ("PSNR dB\nimages", "vs\nbicubic", "PSNR dB\npatients", "SSIM\nimages", "SSIM\npatients"):
        table.add_column(name, justify="right", no_wrap=True)
    cells = {(row.channel, row.region, row.method, row.metric): row for row in rows}
    sections = dict.fromkeys((row.channel, row.region) for row in rows)
    for section in sections:
        methods = list(dict.fromkeys(row.method for row in rows if (row.channel, row.region) == section))
        table.add_section()
        table.add_row(f"[dim]{', '.join(section)}[/dim]")
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


def report(evaluation):
    """Table, notes and protocol of an `Evaluation` as one rich renderable."""
    from rich.console import Group
    from rich.text import Text

    excluded = sorted({row.excluded for row in evaluation.summary if row.excluded})
    notes = list(evaluation.notes)
    if excluded:
        number = f"{excluded[0]} to {excluded[-1]}" if len(excluded) > 1 else excluded[0]
        notes.append(
            f"{number} images per row have no finite value (equal to the original, or no tissue) "
            "and are left out of its means."
        )
    return Group(
        summary_table(evaluation.summary),
        *(Text(f"Note: {note}", style="yellow") for note in notes),
        *(Text(line, style="dim") for line in evaluation.protocol.lines()),
    )


def to_json(evaluation):
    """Protocol, notes, summary and means per patient as plain values."""
    return {
        "protocol": evaluation.protocol.to_dict(),
        "notes": list(evaluation.notes),
        "summary": [row.to_dict() for row in evaluation.summary],
        "patients": per_patient(evaluation.scores),
    }


def write_tables(evaluation, folder):
    """Writes `metrics.json`, `per_image.csv` and `per_patient.csv` into `folder`, each whole."""
    write_json(folder / "metrics.json", to_json(evaluation))
    names = [field.name for field in dataclasses.fields(ImageScore)]
    rows = (
        {**{name: getattr(s, name) for name in names}, "path": _below(s.path, evaluation.protocol.data)}
        for s in evaluation.scores
    )
    write_text(folder / "per_image.csv", _csv(names, rows))
    patients = per_patient(evaluation.scores)
    write_text(folder / "per_patient.csv", _csv(list(patients[0]), patients))


def _below(path, root):
    path = pathlib.Path(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _csv(names, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def _known(value):
    return value if math.isfinite(value) else -math.inf


def _number(value, form):
    return format(value, form) if math.isfinite(value) else "-"


def _spread(mean, sd, digits):
    form = f".{digits}f"
    return _number(mean, form) + (f"±{sd:{form}}" if math.isfinite(sd) else "")


def _styled(text, style):
    return f"[{style}]{text}[/{style}]" if style and text != "-" else text
