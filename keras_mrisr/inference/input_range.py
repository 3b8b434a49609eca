"""Is an input what a model was made for?"""

import logging

log = logging.getLogger(__name__)


def warn_outside(info, name, size, spacing=None):
    """Warns where an image is of another size or spacing than those that a model was made for.

    What a model was made for stands in its `model.json` under data, domain (see `packing.pack_model`); of one
    that says nothing, nothing is known.

    Args:
        info: `ModelInfo` of the model.
        name: What the image is called.
        size: Its edges in the plane, in pixels.
        spacing: Its in-plane spacing in mm, where it is known.
    """
    domain = info.data.get("domain", {})
    # Where the spacing is known, the size says no more than how much is in view.
    if spacing is not None and "lr_spacing" in domain:
        values, (least, most), unit = spacing, domain["lr_spacing"], "mm between pixels"
    elif "lr_size" in domain:
        values, (least, most), unit = size, domain["lr_size"], "pixels"
    else:
        return
    if min(values) < least or max(values) > most:
        text = " x ".join(f"{value:.4g}" for value in values)
        log.warning(
            "%s has %s %s; the model was made for %g to %g. Compare the result with an interpolation before "
            "you rely on it.",
            name, text, unit, least, most,
        )  # fmt: skip
