"""Several images at each place -> volumes, none of which mixes two, or a clear word that nobody can tell."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.elements import DIMENSION, FIXED, MADE, RANKED, Elements
from keras_mrisr.volumes.dicom.frames import Frame

Places = list[list[Frame]]  # The frames at each place along the normal, as many at each.
_LISTED = 12


def tell_apart(places: Places, name: str) -> tuple[list[list[Frame]], list[str]]:
    """Parts the images at each place into volumes.

    Elements tell volumes apart whose values are the same at each place: an echo time, say, of 5 and 10 ms.
    Where those leave several images at a place, the order of their times counts; at last that of their
    numbers, if these follow the volumes or the places.

    Args:
        places: As many frames at each, two or more.
        name: What messages call the series.

    Returns:
        The frames of each volume, in the order of the places; and what each volume has that others have
        not, such as "EchoTime 5".

    Raises:
        DataError: Something cannot be told apart.
    """
    elements = Elements([frame for place in places for frame in place])
    groups, used = _groups(places, elements)
    volumes = [[place[0] for place in group] for group in groups]
    mixed = [one for one in FIXED if one in elements.names and _mixes(places, volumes, elements, one)]
    if mixed or len(volumes) < len(places[0]):
        what = f" (they differ in {', '.join(mixed)} within one volume)" if mixed else ""
        raise DataError(
            f"{name} mixes volumes that cannot be told apart{what}. Export them as series of their own."
        )
    return volumes, [", ".join(elements.text(volume[0], one) for one in used) for volume in volumes]


def _groups(places: Places, elements: Elements) -> tuple[list[Places], list[str]]:
    """Frames in as many groups as can be told apart, and the elements that did so."""
    ranked = [one for one in elements.names if one.startswith(DIMENSION) or one in RANKED]
    made = [one for one in elements.names if one in MADE]
    groups, used = [places], []
    for split, names in ((_by_value, elements.names), (_by_rank, ranked), (_by_count, made)):
        for one in names:
            label = functools.partial(elements.label, name=one)
            parts = [part for group in groups for part in split(group, label)]
            if len(parts) > len(groups):
                used.append(one)
            groups = parts
    return [part for group in groups for part in _by_count(group, lambda frame: frame.instance)], used


def volume_list(differences: list[str]) -> str:
    """The numbers of volumes and what they differ in, as a phrase."""
    texts = [f"{number}: {text}" if text else f"{number}" for number, text in enumerate(differences)]
    more = f", ... to {len(texts) - 1}" if len(texts) > _LISTED else ""
    return "; ".join(texts[:_LISTED]) + more


def _by_value(group: Places, label: Callable[[Frame], int]) -> Iterator[Places]:
    """Parts a group by an element whose values are the same at each place, and else leaves it whole."""
    labels = [[label(frame) for frame in place] for place in group]
    usual = sorted(labels[0])
    if any(sorted(here) != usual for here in labels):
        yield group
        return
    for wanted in dict.fromkeys(usual):
        yield [
            [frame for frame, one in zip(place, here, strict=True) if one == wanted]
            for place, here in zip(group, labels, strict=True)
        ]


def _by_rank(group: Places, label: Callable[[Frame], float]) -> Iterator[Places]:
    """Parts a group by the order of values that differ from place to place, where all are different."""
    labels = [[label(frame) for frame in place] for place in group]
    if len(group[0]) == 1 or any(len(set(here)) < len(here) or -1 in here for here in labels):
        yield group
        return
    ordered = [sorted(place, key=label) for place in group]
    for rank in range(len(group[0])):
        yield [[place[rank]] for place in ordered]


def _by_count(group: Places, count: Callable[[Frame], float]) -> Iterator[Places]:
    """Parts a group by numbers that count volume after volume, or place after place.

    In any other order they are no sign of a volume, and the group stays whole.
    """
    numbers = np.array([sorted(count(frame) for frame in place) for place in group])
    by_volume, by_place = np.sort(numbers, axis=0).T.ravel(), numbers[np.argsort(numbers[:, 0])].ravel()
    if any((np.diff(one) > 0).all() for one in (by_volume, by_place)):
        yield from _by_rank(group, count)
    else:
        yield group


def _mixes(places: Places, volumes: Sequence[list[Frame]], elements: Elements, name: str) -> bool:
    """Whether an element tells images at one place apart, but is not the same throughout a volume."""

    def differs(frames: list[Frame]) -> bool:
        return len({elements.label(frame, name) for frame in frames}) > 1

    return any(differs(place) for place in places) and any(differs(volume) for volume in volumes)
