"""The tables of the report as plain rows, with the values that the page sorts by."""

import math
from collections.abc import Sequence
from typing import Any

from keras_mrisr.evaluation.comparisons import Comparison
from keras_mrisr.evaluation.measures import Measure
from keras_mrisr.evaluation.realism import Realism, RealismScore
from keras_mrisr.evaluation.result import Evaluation, Patient
from keras_mrisr.evaluation.samples import Samples
from keras_mrisr.evaluation.summary import Summary


def cell(
    value: float | None, digits: int, best: bool = False, detail: str = "", sign: bool = False
) -> dict[str, Any]:
    """One number of a table: its text, the value to sort by, and what stands small below it."""
    number = math.nan if value is None else float(value)
    known = math.isfinite(number)
    form = f"{'+' if sign else ''}.{digits}f"
    return {
        "text": format(number, form) if known else "-",
        "value": number if known else "",
        "best": best and known,
        "detail": detail if known else "",
        "title": "",
    }


def result_table(evaluation: Evaluation, channel: str, region: str) -> dict[str, Any]:
    """Means over patients of every method and metric in a channel set and region.

    Returns:
        Dict of `columns` (dicts of title and whether more is better) and `rows` (method and cells).
    """
    return _table(evaluation, evaluation.summary, (channel, region))


def _table(evaluation: Evaluation, rows: Sequence[Summary], where: tuple[str, str]) -> dict[str, Any]:
    found = {(row.method, row.metric): row for row in rows if (row.channel, row.region) == where}
    methods, image = list(dict.fromkeys(method for method, _ in found)), evaluation.protocol.image
    columns, cells = [], []
    for measure in evaluation.measures:
        own = [row for row in found.values() if row.metric == measure.name]
        if own:
            counts = _count(own[0], image)
            columns.append({"title": measure.heading, "higher": measure.higher, "counts": counts})
            best = _best(own, measure)
            cells.append([_mean_cell(found.get((one, measure.name)), measure, best) for one in methods])
    lines = [{"name": name, "cells": [column[i] for column in cells]} for i, name in enumerate(methods)]
    return {"columns": columns, "rows": lines}


def _mean_cell(row: Summary | None, measure: Measure, best: float) -> dict[str, Any]:
    if row is None or not math.isfinite(row.patient_mean):
        return cell(None, measure.digits)
    digits = measure.digits
    interval = f"{row.patient_low:.{digits}f} to {row.patient_high:.{digits}f}"
    shown = cell(
        row.patient_mean,
        digits,
        row.patient_mean == best,
        interval if math.isfinite(row.patient_low) else "",
    )
    spread = f"SD {row.patient_sd:.{digits}f}, " if math.isfinite(row.patient_sd) else ""
    shown["title"] = f"{spread}median {row.patient_median:.{digits}f} over {row.patients} patients"
    return shown


def _count(row: Summary, image: str) -> str:
    left = f", {row.excluded} left out" if row.excluded else ""
    return f"{row.patients} patients, {row.images} {image}s{left}"


def _best(rows: Sequence[Summary], measure: Measure) -> float:
    values = [row.patient_mean for row in rows if math.isfinite(row.patient_mean)]
    return (max if measure.higher else min)(values, default=math.nan)


def comparison_rows(evaluation: Evaluation, channel: str, region: str) -> list[dict[str, Any]]:
    """Differences between methods in a channel set and region: list of dicts of texts and cells."""
    measures = {measure.name: measure for measure in evaluation.measures}
    rows = []
    for one in evaluation.comparisons:
        if (one.channel, one.region) != (channel, region):
            continue
        measure = measures[one.metric]
        digits = measure.digits
        known = math.isfinite(one.low)
        rows.append(
            {
                "pair": f"{one.first} - {one.second}",
                "metric": measure.heading,
                "difference": cell(one.difference, digits, sign=True),
                "better": _better(one, measure),
                "interval": f"{one.low:+.{digits}f} to {one.high:+.{digits}f}" if known else "-",
                "p": cell(one.p, 3),
                "holm": cell(one.p_holm, 3),
                "effect": cell(one.effect, 2, sign=True),
                "patients": one.patients,
            }
        )
    return rows


def _better(one: Comparison, measure: Measure) -> str:
    if not one.difference or math.isnan(one.difference):
        return "-"
    return one.first if (one.difference > 0) == measure.higher else one.second


def patient_table(evaluation: Evaluation) -> dict[str, Any] | None:
    """One row a patient: facts, and the first metric of every method in the first channel set and region."""
    main = next(iter(evaluation.samples), None)
    if main is None:
        return None
    measure = main.measure
    rows = [_patient_row(evaluation, main, patient) for patient in evaluation.patients]
    return {
        "title": f"{measure.heading}, {main.channel}, {main.region}",
        "methods": main.methods,
        "higher": measure.higher,
        "images": f"{evaluation.protocol.image}s".capitalize(),
        "tumours": any(patient.tumour_images for patient in evaluation.patients),
        "rows": rows,
    }


def _patient_row(evaluation: Evaluation, main: Samples, patient: Patient) -> dict[str, Any]:
    values: list[float | None] = [None] * len(main.methods)
    if patient.name in main.patients:
        place = main.patients.index(patient.name)
        values = [float(main.patient_values[method][place]) for method in main.methods]
    known = [value for value in values if value is not None]
    best = (max if main.measure.higher else min)(known, default=math.nan)
    return {
        "name": patient.name,
        "site": patient.site or "-",
        "images": patient.images,
        "tumour": patient.tumour_images,
        "sharpness": cell(100 * patient.sharpness, 2),
        "stratum": evaluation.strata.get(patient.name, "-"),
        "cells": [cell(value, main.measure.digits, value == best) for value in values],
    }


def group_tables(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Means by site and by sharpness: list of dicts of title, note and groups, each with a result table."""
    main = next(iter(evaluation.samples), None)
    if main is None:
        return []
    thirds = "Thirds of the patients by the share of their spectral energy above half the Nyquist frequency."
    kinds = (
        ("By site", "", evaluation.by_site),
        ("By sharpness of the original", thirds, evaluation.by_sharpness),
    )
    where = (main.channel, main.region)
    return [
        {
            "title": title,
            "note": note,
            "where": ", ".join(where),
            "groups": [
                {"name": name, "table": _table(evaluation, rows, where)} for name, rows in groups.items()
            ],
        }
        for title, note, groups in kinds
        if groups
    ]


def realism_table(realism: Realism) -> dict[str, Any]:
    """What was measured of all images together, in the form of `result_table`."""
    least = {
        key: min((one.value for one in realism.scores if (one.measure, one.network) == key), default=math.nan)
        for key in realism.columns
    }
    return {
        "columns": [{"title": name, "higher": False, "counts": ""} for name in realism.columns.values()],
        "rows": [
            {
                "name": method,
                "cells": [_realism_cell(realism.score(method, *key), least[key]) for key in least],
            }
            for method in realism.spectra
        ],
    }


def _realism_cell(one: RealismScore, least: float) -> dict[str, Any]:
    digits = 2 if one.measure.startswith("spectrum") else 4
    interval = f"{one.low:.{digits}f} to {one.high:.{digits}f}" if math.isfinite(one.low) else ""
    return cell(one.value, digits, one.value == least, interval)
