"""Slices and volumes of any size in tiles that fit into memory, exactly as if they were whole.

A tile is a core and, where it does not end at the border of the image, a margin of the receptive field's
radius around it. What the network makes of the margin is thrown away: it depends on the zeros that
convolutions put around their input, which belong at the true borders only. The core cannot see them, so
that it is the same as in the whole image; there is no seam to blend over, and blending with outputs of the
margin would only bring errors in.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError


@dataclasses.dataclass(frozen=True)
class Tile:
    """Where one tile lies, in LR pixels; a slice for each spatial axis.

    Attributes:
        window: What the network is given.
        core: The part of it whose output is kept.
    """

    window: tuple[slice, ...]
    core: tuple[slice, ...]


def plan_tiles(sizes: Sequence[int], most_pixels: float, radius: int, period: int = 1) -> list[Tile]:
    """Cuts an image into as few tiles of one shape as fit.

    All have one shape, because each new shape costs a compilation on some backends.

    Args:
        sizes: LR size along each spatial axis.
        most_pixels: LR pixels that a tile may have, its margins included.
        radius: Margin towards a neighbouring tile: the network's `ReceptiveField.radius`.
        period: Tiles begin at multiples of this.

    Returns:
        List of `Tile`; the cores cover the image once.

    Raises:
        DataError: Tiles are needed, but the sizes are no multiples of the period.
        ValueError: `most_pixels` is less than `smallest_tile`.
    """
    margin = _margin(radius, period)
    counts = [1] * len(sizes)
    while math.prod(edges := _edges(sizes, counts, margin, period)) > most_pixels:
        # The longest edge is cut, so that margins stay a small part of a tile.
        longest = max(range(len(sizes)), key=lambda axis: (edges[axis] > 2 * margin + period, edges[axis]))
        inner = edges[longest] - period - 2 * margin
        if inner <= 0:
            raise ValueError(f"tiles have at least {math.prod(edges)} pixels. Received: {most_pixels}")
        counts[longest] = math.ceil((sizes[longest] - 2 * margin) / inner)
    if any(count > 1 and size % period for count, size in zip(counts, sizes, strict=True)):
        raise DataError(f"The network has strides: it takes sizes that are multiples of {period} in tiles.")
    axes = [_cut(size, edge, count, margin) for size, edge, count in zip(sizes, edges, counts, strict=True)]
    return [Tile(*zip(*parts, strict=True)) for parts in itertools.product(*axes)]


def smallest_tile(sizes: Sequence[int], radius: int, period: int = 1) -> int:
    """LR pixels of the smallest tiles that are reasonable: cores as wide as their margins."""
    edge = 3 * _margin(radius, period) + period
    return math.prod(min(size, edge) for size in sizes)


def run_tiles(
    run: Callable[[np.ndarray], np.ndarray],
    lr: np.ndarray,
    tiles: Sequence[Tile],
    factors: Sequence[int],
    at_once: int = 1,
    step: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Applies a network to a batch tile by tile.

    Args:
        run: Function from an array (n, ..., C) to one (n, ... * factor, D), float32.
        lr: Array (N, ..., C).
        tiles: From `plan_tiles` for the spatial sizes of `lr`.
        factors: Scale of each spatial axis.
        at_once: Items of the batch that go through `run` together.
        step: Called with the number of tiles that were just done.

    Returns:
        Array (N, ... * factor, D), float32.
    """
    sr: Any = None
    for first in range(0, len(lr), at_once):
        items = slice(first, first + at_once)
        for tile in tiles:
            part = run(np.ascontiguousarray(lr[(items, *tile.window)]))
            if len(tiles) == 1 and len(part) == len(lr):
                sr = part
            else:
                if sr is None:
                    sizes = [size * factor for size, factor in zip(lr.shape[1:-1], factors, strict=True)]
                    sr = np.empty((len(lr), *sizes, part.shape[-1]), "float32")
                inside = [
                    _scaled(core, factor, window.start)
                    for core, window, factor in zip(tile.core, tile.window, factors, strict=True)
                ]
                target = [_scaled(core, factor) for core, factor in zip(tile.core, factors, strict=True)]
                sr[(items, *target)] = part[(slice(None), *inside)]
            if step is not None:
                step(len(part))
    return sr


def _margin(radius, period):
    return math.ceil(radius / period) * period


def _edges(sizes, counts, margin, period):
    """The edge lengths of the smallest equal tiles of which `counts` cover `sizes`."""
    edges = []
    for size, count in zip(sizes, counts, strict=True):
        # The first and the last have one margin, all others two.
        edge = math.ceil((size + 2 * margin * (count - 1)) / count / period) * period
        edges.append(min(size, edge))
    return edges


def _cut(size, edge, count, margin):
    """(window, core) of each tile along one axis."""
    step = edge - 2 * margin
    parts, begin = [], 0
    for place in range(count):
        last = place == count - 1
        start = size - edge if last else place * step
        end = size if last else start + edge - margin
        parts.append((slice(start, start + edge), slice(begin, end)))
        begin = end
    return parts


def _scaled(part, factor, origin=0):
    return slice((part.start - origin) * factor, (part.stop - origin) * factor)
