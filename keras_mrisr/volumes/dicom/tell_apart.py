"""Several images at each place -> volumes, none of which mixes two, or a clear word that nobody can tell."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_mrisr.errors import DataError
from keras_mrisr.volumes.dicom.elements import DIMENSION, FIXED, MADE, RANKED, Elements
from keras_mrisr.volumes.dicom.frames import Frame

Places = list[list[Frame]]  # The frames at each place along the normal, as many at each.
Label = Callable[[Frame], float]
Split = Callable[[Places, Label], Iterator[Places]]
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
    mixed = _mixed(places, volumes, elements)
    if mixed or len(volumes) < len(places[0]):
        what = f" (they differ in {', '.join(mixed)} within one volume)" if mixed else ""
        raise DataError(
            f"{name} mixes volumes that cannot be told apart{what}. Export them as series of their own."
        )
    return volumes, [", ".join(elements.text(volume[0], one) for one in used) for volume in volumes]


def _groups(places: Places, elements: Elements) -> tuple[list[Places], list[str]]:
    """Frames in as many groups as can be told apart, and the elements that did so."""
    groups, used = [places], []
    for split, name in _attempts(elements.names):
        parts = _parted(groups, split, functools.partial(elements.label, name=name))
        if len(parts) > len(groups):
            used.append(name)
        groups = parts
    return _parted(groups, _by_count, lambda frame: frame.instance), used


def _attempts(names: Sequence[str]) -> Iterator[tuple[Split, str]]:
    """By what to part frames, the surest sign first."""
    ranked = [name for name in names if name.startswith(DIMENSION) or name in RANKED]
    for split, ones in ((_by_value, names), (_by_rank, ranked), (_by_count, MADE)):
        yield from ((split, name) for name in ones if name in names)


def _parted(groups: list[Places], split: Split, label: Label) -> list[Places]:
    return [part for group in groups for part in split(group, label)]


def volume_list(differences: list[str]) -> str:
    """The numbers of volumes and what they differ in, as a phrase."""
    texts = [f"{number}: {text}" if text else f"{number}" for number, text in enumerate(differences)]
    more = f", ... to {len(texts) - 1}" if len(texts) > _LISTED else ""
    return "; ".join(texts[:_LISTED]) + more


def _by_value(group: Places, label: Label) -> Iterator[Places]:
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


def _by_rank(group: Places, label: Label) -> Iterator[Places]:
    """Parts a group by the order of values that differ from place to place, where all are different."""
    labels = [[label(frame) for frame in place] for place in group]
    if len(group[0]) == 1 or any(len(set(here)) < len(here) or -1 in here for here in labels):
        yield group
        return
    ordered = [sorted(place, key=label) for place in group]
    for rank in range(len(group[0])):
        yield [[place[rank]] for place in ordered]


def _by_count(group: Places, count: Label) -> Iterator[Places]:
    """Parts a group by numbers that count volume after volume, or place after place.

    In any other order they are no sign of a volume, and the group stays whole.
    """
    numbers = np.array([sorted(count(frame) for frame in place) for place in group])
    by_volume, by_place = np.sort(numbers, axis=0).T.ravel(), numbers[np.argsort(numbers[:, 0])].ravel()
    if any((np.diff(one) > 0).all() for one in (by_volume, by_place)):
        yield from _by_rank(group, count)
    else:
        yield group


def _mixed(places: Places, volumes: Places, elements: Elements) -> list[str]:
    """Elements that tell images at one place apart, but are not the same throughout a volume."""

    def differ(groups: Places, name: str) -> bool:
        return any(len({elements.label(frame, name) for frame in group}) > 1 for group in groups)

    there = [name for name in FIXED if name in elements.names]
    return [name for name in there if differ(places, name) and differ(volumes, name)]
