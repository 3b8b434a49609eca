"""Scores of single images, by channel and region, and the choice of images to show."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np

from keras_mrisr.data.slices import evenly_spaced

WHOLE, TISSUE, TUMOUR = REGIONS = ("whole", "tissue", "tumour")


@dataclasses.dataclass(frozen=True, slots=True)
class ImageScore:
    """One row of `per_image.csv`.

    Attributes:
        path: The HR slice.
        patient: Whose it is.
        index: Its position in the patient's stack.
        method: "nearest", "bicubic", "lanczos", or the name of a model or of predictions.
        channel: "RGB" and "FLAIR" ("green" where the data isn't LGG), or "grey".
        region: "whole", "tissue", or "tumour" for slices whose mask is not empty.
        values: Name of a metric -> its value: `inf` for the PSNR of equal images, `nan` without a pixel in
            the region.
        site: The patient's hospital or scanner, or None.
    """

    path: pathlib.Path
    patient: str
    index: int
    method: str
    channel: str
    region: str
    values: dict[str, float]
    site: str | None = None


def channel_groups(channels: int, kind: str) -> dict[str, slice]:
    """Which channels are scored together: name -> slice of the channel axis.

    LGG's channel 1 is FLAIR; it is scored beside all three, because in some patients a missing sequence
    was filled with a copy of FLAIR, which would count twice.
    """
    if channels == 1:
        return {"grey": slice(0, 1)}
    middle = channels // 2
    names = ("all", f"channel {middle}")
    if channels == 3:
        names = ("RGB", "FLAIR" if kind == "lgg" else "green")
    return {names[0]: slice(0, channels), names[1]: slice(middle, middle + 1)}


def choose_cases(
    scores: Iterable[ImageScore],
    count: int = 3,
    method: str = "SR",
    channel: str | None = None,
    region: str = TISSUE,
    metric: str = "psnr",
    higher: bool = True,
) -> list[tuple[str, pathlib.Path]]:
    """Picks images to show, from the patient with the worst mean to the one with the best.

    Of each it is the image nearest to the patient's own median in the middle half of the stack (the ends show
    little).

    Args:
        scores: `ImageScore`s.
        count: How many images; fewer when there are fewer patients. Three: worst, median, best.
        method: Whose values count.
        channel: Whose channel; the last one scored (FLAIR) by default.
        region: Whose region; images without a finite value in it are not chosen.
        metric: Name of the metric that counts.
        higher: Larger values of it are better.

    Returns:
        List of (label, path).
    """
    # Scores of another kind, such as Dice, have channel sets of their own.
    scores = [score for score in scores if metric in score.values]
    channel = channel or (scores[-1].channel if scores else "")
    stacks: dict[str, list[ImageScore]] = collections.defaultdict(list)
    for score in scores:
        is_wanted = (score.method, score.channel, score.region) == (method, channel, region)
        if is_wanted and np.isfinite(score.values[metric]):
            stacks[score.patient].append(score)
    means = {name: _mean(own, metric) for name, own in stacks.items()}
    patients = sorted(means, key=means.__getitem__, reverse=not higher)
    cases = []
    for place in evenly_spaced(len(patients), count, ends=True):
        chosen = _typical(stacks[patients[place]], metric)
        words = (chosen.patient, f"slice {chosen.index}", rank(place, len(patients)))
        cases.append((" · ".join(filter(None, words)), chosen.path))
    return cases


def _mean(stack: list[ImageScore], metric: str) -> float:
    return float(np.mean([score.values[metric] for score in stack]))


def _typical(stack: list[ImageScore], metric: str) -> ImageScore:
    middle = np.median([score.values[metric] for score in stack])
    inner = stack[len(stack) // 4 : len(stack) - len(stack) // 4]
    return min(inner, key=lambda score: abs(score.values[metric] - middle))


def rank(place: int, number: int) -> str:
    """Which one of so many patients, the worst of which is 0: "median patient"; empty for a single one."""
    if number == 1:
        return ""
    names = {0: "worst patient", number - 1: "best patient", round((number - 1) / 2): "median patient"}
    return names.get(place, f"patient {place + 1} of {number}, worst first")
