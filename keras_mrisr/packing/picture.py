"""The picture of a card: what a model makes of what it was trained to undo, and of something else."""

import pathlib
import tempfile
from typing import Any

import numpy as np
from PIL import Image

from keras_mrisr.data import read_image
from keras_mrisr.degrade import get_degradation, interpolate
from keras_mrisr.errors import ModelError, MrisrError
from keras_mrisr.evaluation.figure import comparison_figure
from keras_mrisr.evaluation.slices import to_8bit
from keras_mrisr.evaluation.views import Case
from keras_mrisr.types import PathLike

_WIDTH, _QUALITY = 1500, 88


def draw_failure(resolver: Any, source: PathLike, target: PathLike) -> tuple[str, ...]:
    """Writes a JPEG with two rows: a slice degraded as in the model's training, and degraded otherwise.

    Args:
        resolver: The `SuperResolver` of a model of slices.
        source: Image file of an HR slice that may be shown; a grey one stands for all channels.
        target: The file to write.

    Returns:
        The names of the two degradations.

    Raises:
        ModelError: The slice cannot be read, or has channels that the model doesn't take.
    """
    image = read_image(source)
    image, scale = to_8bit(image, image), resolver.scale
    hr = image[tuple(slice(size // scale * scale) for size in image.shape[:2])]
    if hr.shape[-1] == 1:
        hr = np.repeat(hr, resolver.channels, axis=-1)
    own = get_degradation(**resolver.info.degradation)
    other = get_degradation({"paper": "bicubic", "random-blur": "kspace"}.get(own.name, "paper"), scale)
    cases = []
    for degradation, label in ((own, "made for"), (other, "not made for")):
        lr = degradation.degrade(hr)
        try:
            sr = resolver(lr)
        except MrisrError as error:
            raise ModelError(f"{source}: {error}") from error
        images = {"bicubic": interpolate(lr, scale, "bicubic"), "SR": sr}
        cases.append(Case(label=f"{label}: {degradation.name}", hr=hr, lr=lr, images=images))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "figure.png")
        comparison_figure(cases, path, rgb=bool(np.ptp(hr, axis=-1).any()))
        picture = Image.open(path).convert("RGB")
    picture = picture.resize(
        (_WIDTH, round(picture.height * _WIDTH / picture.width)), Image.Resampling.LANCZOS
    )
    picture.save(target, quality=_QUALITY)
    return own.name, other.name
