"""The cases of the report: every picture of a slice, its error, and a part of it upscaled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_mrisr.evaluation.pictures import outline
from keras_mrisr.evaluation.views import CaseView, peak_error


def page_cases(cases: Sequence[Any], encoder: Any) -> tuple[list[dict[str, Any]], float]:
    """Makes cases ready for the page.

    Args:
        cases: `Case`s.
        encoder: An `Encoder` for the pictures.

    Returns:
        (list of dicts, the error in grey levels that the brightest colour stands for).
    """
    views = [CaseView(case, rgb=False) for case in cases]
    if not views:
        return [], 1.0
    peak = peak_error(views)
    return [_case(place, view, encoder, peak) for place, view in enumerate(views)], peak


def _case(place, view, encoder, peak):
    case = view.case
    height, width = view.hr.shape[:2]
    top, left, size = box = _region(view)
    methods = list(case.images)
    names = ["LR", *methods, "original"]
    # LR is shown by its own pixels; the browser upscales them.
    planes = [view.lr, *view.images[1:]]
    panels = []
    for number, (name, plane) in enumerate(zip(names, planes, strict=True)):
        method = 0 < number <= len(methods)
        error = view.errors[number - 1] if method else None
        panels.append(
            {
                "name": name,
                "caption": view.captions[number],
                "source": encoder.plane(plane),
                "alt": f"{name} of {case.label}, {case.channel_name}: {view.captions[number]}",
                "zoom": encoder.plane(_cut(view.images[number], box), exact=True),
                "error": None if error is None else encoder.error(error, peak),
                "mean_error": None if error is None else f"mean error {error.mean():.2f} grey levels",
                "lr": name == "LR",
            }
        )
    tumour = case.mask is not None and case.mask.any()
    return {
        "id": f"case-{place + 1}",
        "label": case.label,
        "channel": case.channel_name,
        "width": width,
        "height": height,
        "box": {"x": left, "y": top, "size": size},
        "region": "the tumour" if tumour else "the part with the most detail",
        "outline": outline(case.mask) if tumour else "",
        "panels": panels,
        "left": methods[0],
        "right": methods[1] if len(methods) > 1 else "original",
    }


def _region(view):
    """(top, left, size) of what is upscaled: the tumour and what is around it, or where the detail is."""
    mask, (height, width) = view.case.mask, view.hr.shape[:2]
    if mask is None or not mask.any():
        return view.box
    rows, columns = np.nonzero(mask)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    size = int(np.clip(1.5 * extent, view.box[2], min(height, width) // 2))
    top = int(np.clip((rows.min() + rows.max() - size) // 2, 0, height - size))
    left = int(np.clip((columns.min() + columns.max() - size) // 2, 0, width - size))
    return top, left, size


def _cut(plane, box):
    top, left, size = box
    return plane[top : top + size, left : left + size]
