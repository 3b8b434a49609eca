"""The slices that figure and report show, from the patient that the first model did worst on to its best."""

from collections.abc import Sequence

import numpy as np

from keras_mrisr.evaluation.prepare import Task
from keras_mrisr.evaluation.scores import TUMOUR, ImageScore, channel_groups, choose_cases
from keras_mrisr.evaluation.views import Case


def make_cases(task: Task, scores: Sequence[ImageScore], count: int) -> tuple[Case, ...]:
    """The `Case`s of `count` patients, with an interpolation and all models and predictions."""
    if not count:
        return ()
    shown = _shown(task)
    channels = task.reader.hr(task.records[0]).shape[-1]
    channel = list(channel_groups(channels, task.kind))[-1]
    leader, higher = shown[min(1, len(shown) - 1)], task.measure.higher
    chosen = choose_cases(
        scores, count, method=leader, channel=channel, metric=task.measure.name, higher=higher
    )
    records = {record.path: record for record in task.records}
    # NIfTI counts x from left to right and y upwards.
    turn = np.rot90 if task.kind == "volumes" else np.asarray
    cases = []
    for label, path in chosen:
        images = task.images(records[path])
        mask = images.masks.get(TUMOUR)
        cases.append(
            Case(
                label=label,
                hr=turn(images.hr),
                lr=turn(images.lr),
                images={name: turn(images.images[name]) for name in shown},
                mask=None if mask is None else turn(mask),
                channel=images.groups[channel].start,
                channel_name=channel,
            )
        )
    return tuple(cases)


def _shown(task: Task) -> list[str]:
    """The names of the methods that are shown: one interpolation, and all that is none."""
    plain = [one.name for one in task.plain]
    others = [*(one.name for one in task.models), *(one.name for one in task.predictions)]
    baseline = next((name for name in ("bicubic", "cubic") if name in plain), None)
    return [*([baseline] if baseline else plain[:1]), *others]
