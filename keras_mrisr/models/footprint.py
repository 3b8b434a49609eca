"""How much memory a generator needs for each pixel of its input."""

import math
from typing import Any

from keras_mrisr.models.receptive_field import nodes_in_order, zooms_along
from keras_mrisr.types import Model


def activation_bytes(generator: Model) -> float:
    """Bytes of the float32 tensors that are alive at once, at worst, for each LR pixel.

    The layers are taken one after the other, and each tensor lives until the last layer that reads it.
    What layers use inside (copies in other orders, PReLU's two halves) is not in it: TensorFlow 2.21 on a
    CPU took 0.8 to 2 times as much for the generators of the registry.

    Args:
        generator: Functional `keras.Model` for which there is a `receptive_field`.

    Raises:
        ModelError: See `receptive_field`.
    """
    zooms = [zooms_along(generator, axis) for axis in range(1, len(generator.inputs[0].shape) - 1)]
    nodes = nodes_in_order(generator)
    last_reader = {id(tensor): node for node in nodes for tensor in node.input_tensors}
    alive: dict[int, Any] = {}
    most: Any = 0
    for node in nodes:
        [tensor] = node.output_tensors
        alive[id(tensor)] = 4 * tensor.shape[-1] * math.prod(zoom[id(tensor)] for zoom in zooms)
        most = max(most, sum(alive.values()))
        for read in node.input_tensors:
            if last_reader[id(read)] is node:
                alive.pop(id(read), None)
    return float(most)
