"""Is an input what a model was made for?"""

import logging
from collections.abc import Sequence

from keras_mrisr.model_info import ModelInfo

log = logging.getLogger(__name__)


def outside_of(info: ModelInfo, size: Sequence[int], spacing: Sequence[float] | None = None) -> str | None:
    """How an image differs from the sizes or spacings that a model was made for.

    What a model was made for stands in its `model.json` under data, domain (see `packing.pack_model`).

    Args:
        info: `ModelInfo` of the model.
        size: The edges of the image in the plane, in pixels.
        spacing: Its in-plane spacing in mm, where it is known.

    Returns:
        "64 x 64 pixels; the model was made for 100 to 200"; "" where it does not differ; None where the model
        says nothing.
    """
    domain = info.data.get("domain", {})
    # Where the spacing is known, the size says no more than how much is in view.
    if spacing is not None and "lr_spacing" in domain:
        values, (least, most), unit = spacing, domain["lr_spacing"], "mm between pixels"
    elif "lr_size" in domain:
        values, (least, most), unit = size, domain["lr_size"], "pixels"
    else:
        return None
    if min(values) >= least and max(values) <= most:
        return ""
    text = " x ".join(f"{value:.4g}" for value in values)
    return f"{text} {unit}; the model was made for {least:g} to {most:g}"


def warn_outside(name: object, outside: str | None) -> None:
    """Warns of what `outside_of` found in the input of that name."""
    if outside:
        log.warning(
            "%s has %s. Compare the result with an interpolation before you rely on it.", name, outside
        )
