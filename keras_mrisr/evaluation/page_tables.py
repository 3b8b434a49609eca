"""The tables of the report as plain rows, with the values that the page sorts by."""

import math

import numpy as np


def cell(value, digits, best=False, detail="", sign=False):
    """One number of a table: its text, the value to sort by, and what stands small below it."""
    known = value is not None and math.isfinite(value)
    form = f"{'+' if sign else ''}.{digits}f"
    return {
        "text": format(value, form) if known else "-",
        "value": float(value) if known else "",
        "best": best and known,
        "detail": detail if known else "",
        "title": "",
    }


def result_table(evaluation, channel, region):
    """Means over patients of every method and metric in a channel set and region.

    Returns:
        Dict of `columns` (dicts of title and whether more is better) and `rows` (method and cells).
    """
    rows = [row for row in evaluation.summary if (row.channel, row.region) == (channel, region)]
    measures = [m for m in evaluation.measures if any(row.metric == m.name for row in rows)]
    found = {(row.method, row.metric): row for row in rows}
    return _table(measures, list(dict.fromkeys(row.method for row in rows)), found)


def _table(measures, methods, found):
    best = {m.name: _best([found[x, m.name] for x in methods if (x, m.name) in found], m) for m in measures}
    counts = {m.name: next(row for row in found.values() if row.metric == m.name) for m in measures}
    return {
        "columns": [
            {"title": m.heading, "higher": m.higher, "counts": _count(counts[m.name])} for m in measures
        ],
        "rows": [
            {
                "name": method,
                "cells": [_mean_cell(found.get((method, m.name)), m, best[m.name]) for m in measures],
            }
            for method in methods
        ],
    }


def _mean_cell(row, measure, best):
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


def _count(row):
    left = f", {row.excluded} left out" if row.excluded else ""
    return f"{row.patients} patients, {row.images} slices{left}"


def _best(rows, measure):
    values = [row.patient_mean for row in rows if math.isfinite(row.patient_mean)]
    return (max if measure.higher else min)(values, default=math.nan)


def comparison_rows(evaluation, channel, region):
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


def _better(one, measure):
    if not one.difference or math.isnan(one.difference):
        return "-"
    return one.first if (one.difference > 0) == measure.higher else one.second


def patient_table(evaluation):
    """One row a patient: facts, and the first metric of every method in the first channel set and region."""
    main = next(iter(evaluation.samples), None)
    if main is None:
        return None
    places = {name: place for place, name in enumerate(main.patients)}
    measure = main.measure
    rows = []
    for patient in evaluation.patients:
        place = places.get(patient.name)
        own = {m: None if place is None else main.patient_values[m][place] for m in main.methods}
        known = [value for value in own.values() if value is not None]
        best = (max if measure.higher else min)(known, default=np.nan)
        rows.append(
            {
                "name": patient.name,
                "site": patient.site or "-",
                "images": patient.images,
                "tumour": patient.tumour_images,
                "sharpness": cell(100 * patient.sharpness, 2),
                "stratum": evaluation.strata.get(patient.name, "-"),
                "cells": [cell(value, measure.digits, value == best) for value in own.values()],
            }
        )
    return {
        "title": f"{measure.heading}, {main.channel}, {main.region}",
        "methods": main.methods,
        "higher": measure.higher,
        "rows": rows,
    }


def group_tables(evaluation):
    """Means by site and by sharpness: list of dicts of title, note and groups, each with a result table."""
    main = next(iter(evaluation.samples), None)
    tables = []
    for title, note, groups in (
        ("By site", "", evaluation.by_site),
        (
            "By sharpness of the original",
            "Thirds of the patients by the share of their spectral energy above half the Nyquist frequency.",
            evaluation.by_sharpness,
        ),
    ):
        if not groups or main is None:
            continue
        found = []
        for name, rows in groups.items():
            own = [row for row in rows if (row.channel, row.region) == (main.channel, main.region)]
            measures = [m for m in evaluation.measures if any(row.metric == m.name for row in own)]
            methods = list(dict.fromkeys(row.method for row in own))
            by_key = {(row.method, row.metric): row for row in own}
            found.append({"name": name, "table": _table(measures, methods, by_key)})
        tables.append(
            {"title": title, "note": note, "where": f"{main.channel}, {main.region}", "groups": found}
        )
    return tables
