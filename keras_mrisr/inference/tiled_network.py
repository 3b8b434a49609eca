"""A network that runs on tiles of its input where the whole does not fit into memory."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.neighbours import middle_channels
from keras_mrisr.errors import DataError, MrisrError
from keras_mrisr.inference.air import inside_air
from keras_mrisr.inference.tiles import Tile, plan_tiles, run_tiles, smallest_tile
from keras_mrisr.memory import available_memory, memory_text, parse_memory, resident_memory
from keras_mrisr.model_info import ModelInfo
from keras_mrisr.types import Model

# What TensorFlow 2.21 took on a CPU over the tensors that are alive between the layers, at most, and the
# first time besides (its kernels, the traced graph).
_OVERHEAD = 2.0
_FIXED = 96 * 10**6
# Without `memory`: larger tiles are no faster, and this much fits into most GPUs, too.
_USUAL = 4 * 10**9


class TiledNetwork:
    """A generator that is given no more at once than fits into memory; tiles change nothing in the result.

    Args:
        generator: `keras.Model` from (N, H, W, C) to (N, H * scale, W * scale, C), or of volumes.
        info: Its `ModelInfo`.
        memory: See `SuperResolver`.
    """

    def __init__(self, generator: Model, info: ModelInfo, memory: int | str | None = None) -> None:
        self.generator = generator
        self.info = info
        self.channels: int = info.channels
        self.factors: tuple[int, ...] = info.factors
        self.memory = parse_memory(memory) if isinstance(memory, str) else memory
        self._kept = 0

    def most_pixels(self, sizes: Sequence[int], memory: int | None = None) -> float:
        """How many LR pixels may go through the network at once.

        Args:
            sizes: LR size along each spatial axis.
            memory: Bytes for the whole process, instead of the resolver's own `memory`. What is read or
                allocated by now counts as taken.

        Returns:
            A number for `predict`, infinite where nothing is known of a network that needs no tiles.

        Raises:
            DataError: That memory is too little, or the network cannot be cut into tiles.
        """
        memory = self.memory if memory is None else memory
        try:
            field, cost = self._field, self._cost
        except MrisrError:
            if memory is None:
                return math.inf
            raise
        smallest = smallest_tile(sizes, field.radius, field.period)
        # SR is collected beside the network's own tensors, and an ensemble holds it four times.
        collected = 4 * 4 * self.channels * math.prod((*sizes, *self.factors))
        if memory is None:
            room = min(available_memory() + self._kept, _USUAL)
            return max((room - _FIXED - collected) / cost, smallest)
        most = (memory - resident_memory() + self._kept - _FIXED - collected) / cost
        if most < smallest:
            needed = memory + (smallest - most) * cost
            raise DataError(
                f"{memory_text(memory)} of memory are too little: this program, the images and the smallest "
                f"tiles take {memory_text(needed)}. Allow more with `memory`."
            )
        return most

    def count_tiles(self, sizes: Sequence[int], most_pixels: float) -> int:
        """How many tiles an image of these sizes is cut into."""
        return len(self._plan(sizes, most_pixels))

    @functools.cached_property
    def _field(self) -> Any:
        from keras_mrisr.models.receptive_field import receptive_field

        return receptive_field(self.generator)

    @property
    def may_skip_air(self) -> bool:
        """Whether parts of a slice can be left out: a network of slices, whose receptive field is known."""
        try:
            return self.info.dimensions == 2 and self._field.period == 1
        except MrisrError:
            return False

    @functools.cached_property
    def _cost(self) -> float:
        """Bytes that the network takes for each LR pixel."""
        from keras_mrisr.models.footprint import activation_bytes

        return _OVERHEAD * activation_bytes(self.generator)

    def _plan(self, sizes: Sequence[int], most_pixels: float) -> list[Tile]:
        if math.prod(sizes) <= most_pixels:  # Nothing needs to be known of the network.
            return plan_tiles(sizes, most_pixels, radius=0)
        return plan_tiles(sizes, most_pixels, self._field.radius, self._field.period)

    def _run_inside(
        self, lr: np.ndarray, most_pixels: float, step: Callable[[int], None] | None, air: float | None
    ) -> np.ndarray:
        """Runs the network where there is more than air."""
        inside = None if air is None else inside_air(lr, air, self._field.radius)
        if inside is None:
            return self._run(lr, most_pixels, step)
        part = self._run(lr[:, *inside.window], most_pixels, None)
        if step is not None:
            step(len(lr) * self.count_tiles(lr.shape[1:-1], most_pixels))
        return inside.fill(middle_channels(lr, self.channels), part, self.info.scale)

    def _run(self, lr: np.ndarray, most_pixels: float, step: Callable[[int], None] | None) -> np.ndarray:
        tiles = self._plan(lr.shape[1:-1], most_pixels)
        tile_pixels = math.prod(part.stop - part.start for part in tiles[0].window)
        at_once = max(1, int(min(most_pixels / tile_pixels, len(lr))))
        return run_tiles(self._forward, lr, tiles, self.factors, at_once, step)

    def _forward(self, lr: np.ndarray) -> np.ndarray:
        """The network itself: float32 (n, ..., D) to (n, ... * factor, C)."""
        before = resident_memory()
        sr = np.asarray(self.generator.predict_on_batch(lr))
        # TensorFlow gives the memory of its tensors back to its own pool, not to the system: it is there
        # for the next tiles, although it counts as taken.
        self._kept += max(resident_memory() - before, 0)
        return sr
