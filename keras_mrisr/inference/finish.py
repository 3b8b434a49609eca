"""One volume out of the estimates of two families of planes, by a 3-D network, in tiles."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_mrisr.errors import DataError, ModelError
from keras_mrisr.inference.tiles import plan_tiles, smallest_tile
from keras_mrisr.memory import memory_text, resident_memory
from keras_mrisr.types import Model

_VOXELS_TOGETHER = 1_500_000  # Of a tile: larger ones are no faster.
_OVERHEAD = 2.0  # What TensorFlow takes on a CPU over the tensors that are alive.


class Finish:
    """Makes one volume of two estimates with a network of `models.volume_finish`.

    Args:
        network: The `keras.Model`.
        name: What messages call it.
    """

    def __init__(self, network: Model, name: str = "the model") -> None:
        self.network = network
        self.name = name

    def __call__(
        self,
        estimates: Sequence[np.ndarray],
        axis: int,
        room: int | None = None,
        report: Callable[[float], Any] | None = None,
    ) -> np.ndarray:
        """Makes the volume; the result does not depend on how it is cut into tiles.

        Args:
            estimates: Two float32 arrays (X, Y, Z), nominally in [0, 1]: from the planes across the first of
                the other axes, and across the second.
            axis: The axis across the thick slices.
            room: Bytes that the network may take; by default as many as it likes.
            report: Called with the share of the volume that is done.

        Returns:
            float32 (X, Y, Z).

        Raises:
            DataError: Too little room for the smallest tiles.
            ModelError: The network gives something that is not finite.
        """
        order = (axis, *(other for other in range(3) if other != axis))
        turned = [np.transpose(one, order) for one in estimates]
        result = np.empty(estimates[0].shape, "float32")
        target = np.transpose(result, order)
        tiles = plan_tiles(target.shape, self._most_voxels(target.shape, room), self._radius)
        for done, tile in enumerate(tiles, start=1):
            batch = np.stack([one[tile.window] for one in turned], axis=-1)[np.newaxis]
            part = np.asarray(self.network.predict_on_batch(batch))[0, ..., 0]
            if not np.isfinite(part).all():
                raise ModelError(
                    f"{self.name} gives NaN or infinite values where it finishes both families of planes: "
                    "nothing is written. The model diverged: take another."
                )
            pairs = zip(tile.core, tile.window, strict=True)
            inside = tuple(slice(core.start - all_.start, core.stop - all_.start) for core, all_ in pairs)
            target[tile.core] = part[inside]
            if report is not None:
                report(done / len(tiles))
        return result

    @functools.cached_property
    def _radius(self) -> int:
        from keras_mrisr.models.receptive_field import receptive_field

        return receptive_field(self.network).radius

    def _most_voxels(self, sizes: Sequence[int], room: int | None) -> float:
        """Voxels that a tile may have."""
        from keras_mrisr.models.footprint import activation_bytes

        smallest = smallest_tile(sizes, self._radius)
        if room is None:
            return max(_VOXELS_TOGETHER, smallest)
        cost = _OVERHEAD * activation_bytes(self.network)
        if room < smallest * cost:
            needed = resident_memory() + smallest * cost
            raise DataError(
                f"Too little memory: this program and the smallest tiles of {self.name} take "
                f"{memory_text(needed)}. Allow more with `memory`."
            )
        return max(min(_VOXELS_TOGETHER, room / cost), smallest)
