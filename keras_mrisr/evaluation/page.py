"""The report: one page of HTML that needs nothing else, with tables, plots and cases to look into."""

import logging
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mrisr.evaluation import plots
from keras_mrisr.evaluation.page_cases import page_cases
from keras_mrisr.evaluation.page_tables import (
    comparison_rows,
    group_tables,
    patient_table,
    realism_table,
    result_table,
)
from keras_mrisr.evaluation.pictures import Encoder, palette
from keras_mrisr.evaluation.realism import Realism
from keras_mrisr.evaluation.result import Evaluation
from keras_mrisr.evaluation.samples import Samples
from keras_mrisr.evaluation.scores import WHOLE
from keras_mrisr.files import check_new_file, write_text
from keras_mrisr.types import PathLike
from keras_mrisr.version import __version__

log = logging.getLogger(__name__)

LIMIT = 14_000_000
"""Characters of a page; above it pictures are reduced. People mail such files."""

TEMPLATES = pathlib.Path(__file__).with_name("templates")
_HISTORY = (("val_psnr", "validation PSNR dB"), ("val_ssim", "validation SSIM"), ("loss", "training loss"))
_DOTS = 6  # Most metrics with a plot of their own.


def write_page(evaluation: Evaluation, path: PathLike, overwrite: bool = False) -> None:
    """Writes the report of an `Evaluation` as one HTML file without links to anything outside.

    Args:
        evaluation: The `Evaluation`; its `cases` are shown, its `histories` become training curves.
        path: The file.
        overwrite: Replace an existing file.

    Raises:
        DataError: The file exists, or cannot be written.
    """
    check_new_file(path, overwrite)
    text = render_page(evaluation)
    if len(text) > LIMIT:
        log.info("%s would take %.0f MB: its pictures are reduced", path, len(text) / 1e6)
        text = render_page(evaluation, small=True)
    write_text(path, text)


def render_page(evaluation: Evaluation, small: bool = False) -> str:
    """The page as text.

    Args:
        evaluation: The `Evaluation`.
        small: Reduce and compress the pictures; only zoomed regions stay exact.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    protocol = evaluation.protocol
    cases, peak = page_cases(evaluation.cases, Encoder(small))
    return environment.get_template("report.html").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
        version=__version__,
        protocol=protocol,
        lead=_lead(evaluation),
        sections=_sections(evaluation),
        notes=evaluation.notes,
        footnotes=evaluation.footnotes,
        cases=cases,
        ranking=_ranking(evaluation),
        peak=peak,
        palette=palette(),
        small=small,
        distributions=_distributions(evaluation),
        scatters=_scatters(evaluation),
        realism=_realism(evaluation),
        patients=patient_table(evaluation),
        groups=group_tables(evaluation),
        curves=_curves(evaluation),
    )


def _lead(evaluation: Evaluation) -> list[dict[str, str]]:
    """The main result in words, one sentence for each model: what a reader would quote."""
    first = _main(evaluation)
    if first is None or not first.patients:
        return []
    measure, (channel, region) = first.measure, (first.channel, first.region)
    sentences = []
    for row in evaluation.summary:
        wanted = (measure.name, channel, region) == (row.metric, row.channel, row.region)
        if not wanted or row.method not in evaluation.protocol.models:
            continue
        form = f".{measure.digits}f"
        text = f"{row.patient_mean:{form}} {measure.unit}".rstrip()
        if math.isfinite(row.patient_low):
            text += f" (95 % interval {row.patient_low:{form}} to {row.patient_high:{form}})"
        if math.isfinite(row.patient_delta):
            text += f", {row.patient_delta:+{form}} against {evaluation.protocol.baseline}"
        sentences.append({"method": row.method, "text": f"{measure.title} {text}"})
    return sentences


def _main(evaluation: Evaluation) -> Samples | None:
    """The `Samples` that the page leads with: the first metric of the first channel set, whole slices."""
    return next(iter(evaluation.samples), None)


def _ranking(evaluation: Evaluation) -> str:
    """What the cases were chosen by: "the PSNR of A"."""
    methods = next((list(case.images) for case in evaluation.cases), [""])
    return f"the {evaluation.measures[0].title} of {methods[min(1, len(methods) - 1)]}"


def _styles(evaluation: Evaluation) -> dict[str, int]:
    """Method -> number of its colour; models first, so that theirs differ most."""
    protocol = evaluation.protocol
    others = [samples.methods for samples in evaluation.samples]
    names = (*protocol.models, *protocol.interpolations, *(name for methods in others for name in methods))
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _sections(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A table of results and one of differences for each channel set and region."""
    keys = dict.fromkeys((samples.channel, samples.region) for samples in evaluation.samples)
    return [
        {
            "title": f"{channel}, {_region(region)}",
            "table": result_table(evaluation, channel, region),
            "comparisons": comparison_rows(evaluation, channel, region),
        }
        for channel, region in keys
    ]


def _region(name: str) -> str:
    return {"whole": "whole slice"}.get(name, name)


def _distributions(evaluation: Evaluation) -> list[plots.Plot]:
    main = _main(evaluation)
    if main is None:
        return []
    chosen = [
        samples
        for samples in evaluation.samples
        if (samples.channel, samples.region) == (main.channel, main.region) and samples.patients
    ][:_DOTS]
    return [
        plots.strip_plot(
            f"{samples.measure.title}, {samples.channel}, {_region(samples.region)}",
            [(method, samples.patient_values[method], samples.patients) for method in samples.methods],
            _styles(evaluation),
            f"{samples.measure.heading}, mean of each patient"
            f" ({'more' if samples.measure.higher else 'less'} is better)",
            samples.measure.digits,
        )
        for samples in chosen
    ]


def _scatters(evaluation: Evaluation) -> list[plots.Plot]:
    main = _main(evaluation)
    if main is None or not main.patients:
        return []
    interpolations = evaluation.protocol.interpolations
    models = [method for method in main.methods if method not in interpolations]
    plain = [method for method in main.methods if method in interpolations]
    found = []
    if models and plain:
        baseline = evaluation.protocol.baseline
        base = baseline if baseline in plain else plain[0]
        found.append(_against(evaluation, main, base, models, "the method"))
        found += _gains(evaluation, main, base, models)
    if len(models) > 1:
        found.append(_against(evaluation, main, models[0], models[1:], "the other"))
    return found


def _against(
    evaluation: Evaluation, main: Samples, first: str, others: Sequence[str], name: str
) -> plots.Plot:
    """Each patient under one method and under others."""
    values = main.patient_values
    series = [(other, values[first], values[other], main.patients) for other in others]
    labels = (f"{main.measure.heading} of {first}", f"{main.measure.heading} of {name}")
    title = f"Each patient against {first}, {main.channel}, {_region(main.region)}"
    return plots.scatter_plot(title, labels, series, _styles(evaluation), main.measure.digits)


def _gains(evaluation: Evaluation, main: Samples, base: str, models: Sequence[str]) -> list[plots.Plot]:
    """What models gain over an interpolation, by the sharpness of the patient's originals."""
    share = {patient.name: 100 * patient.sharpness for patient in evaluation.patients}
    sharpness = np.array([share[name] for name in main.patients])
    if not np.isfinite(sharpness).all():
        return []
    values = main.patient_values
    series = [(model, sharpness, values[model] - values[base], main.patients) for model in models]
    labels = ("detail of the original, % of its energy", f"{main.measure.heading} gained over {base}")
    title = f"Gain and sharpness, {main.channel}, {_region(main.region)}"
    styles, digits = _styles(evaluation), main.measure.digits
    return [plots.scatter_plot(title, labels, series, styles, digits, diagonal=False)]


def _realism(evaluation: Evaluation) -> dict[str, Any] | None:
    """The table and the plots of what was measured of all images together."""
    realism = evaluation.realism
    if realism is None:
        return None
    styles = _styles(evaluation)
    middles = 100 * (np.arange(len(next(iter(realism.spectra.values())))) + 0.5)
    series = [
        (name, *zip(*_finite(middles / len(middles), error), strict=True))
        for name, error in realism.spectra.items()
        if _finite(middles, error)
    ]
    labels = ("frequency, % of Nyquist", "power beside the originals, dB")
    found = [plots.line_plot(f"Power spectrum, {realism.channel}", labels, series, styles, 1)]
    return {
        "channel": realism.channel,
        "about": f"{realism.images} slices of {realism.patients} patients"
        + (f", {realism.patches} patches of {realism.patch} pixels" if realism.patches else ""),
        "table": realism_table(realism),
        "plots": found + _perception_distortion(evaluation, realism),
    }


def _finite(x: Sequence[float] | np.ndarray, y: Sequence[float]) -> list[tuple[float, float]]:
    return [(float(one), two) for one, two in zip(x, y, strict=True) if math.isfinite(two)]


def _perception_distortion(evaluation: Evaluation, realism: Realism) -> list[plots.Plot]:
    """PSNR against KID, one point a method: no method is at the best end of both (Blau and Michaeli 2018)."""
    psnr = {
        row.method: row.patient_mean
        for row in evaluation.summary
        if (row.metric, row.channel, row.region) == ("psnr", realism.channel, WHOLE)
    }
    networks = dict.fromkeys(one.network for one in realism.scores if one.network)
    found = []
    for network in networks:
        kid = {method: realism.score(method, "kid", network).value for method in realism.spectra}
        known = [name for name in kid if math.isfinite(psnr.get(name, math.nan)) and math.isfinite(kid[name])]
        if known:
            series = [(name, [psnr[name]], [kid[name]], [name]) for name in known]
            labels = ("PSNR dB, more is better", f"KID {network}, less is better")
            found.append(
                plots.scatter_plot(
                    "Perception and distortion", labels, series, _styles(evaluation), 4, False, unit="method"
                )
            )
    return found


def _curves(evaluation: Evaluation) -> list[plots.Plot]:
    found, styles = [], _styles(evaluation)
    for key, label in _HISTORY:
        digits = 2 if key == "val_psnr" else 4
        curves = [(name, _curve(rows, key)) for name, rows in evaluation.histories.items()]
        series = [(name, *zip(*points, strict=True)) for name, points in curves if len(points) > 1]
        if series:
            found.append(plots.line_plot(label, ("epoch", label), series, styles, digits))
    return found


def _curve(rows: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    """(epoch, value) where both are known."""
    known = [row for row in rows if "epoch" in row and math.isfinite(row.get(key, math.nan))]
    return [(row["epoch"], row[key]) for row in known]
