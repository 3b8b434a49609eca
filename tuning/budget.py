"""What a search may cost: the size of its networks, and its time."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Self

from keras_mrisr.errors import ConfigError
from keras_mrisr.types import Model

SLICE = 256  # Edge of the HR slice that operations are counted for.
_SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a search; None is no limit.

    Attributes:
        parameters: Of the generator.
        gflops: Billions of floating point operations of the generator for one HR slice of 256x256.
        hours: After which no trial is begun.
    """

    parameters: float | None = None
    gflops: float | None = None
    hours: float | None = None

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Makes it from words such as "parameters=200k", "gflops=5" and "hours=8".

        Raises:
            ConfigError: An unknown limit, or no number over 0.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        found = {}
        for text in texts:
            name, _, value = text.partition("=")
            if name not in names:
                raise ConfigError(f"Unknown budget {text!r}. Known: {'=N, '.join(names)}=N.")
            found[name] = _number(text, value)
        return cls(**found)

    def to_dict(self) -> dict[str, float]:
        """What decides which networks are tried, as plain values; the time is no part of it."""
        limits = {"parameters": self.parameters, "gflops": self.gflops}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def limits_networks(self) -> bool:
        """Whether the size of the networks is limited at all."""
        return self.parameters is not None or self.gflops is not None

    def allows(self, cost: "InferenceCost") -> bool:
        """Whether an `InferenceCost` is within the limits."""
        over = self.parameters is not None and cost.parameters > self.parameters
        return not over and (self.gflops is None or cost.gflops <= self.gflops)


@dataclasses.dataclass(frozen=True)
class InferenceCost:
    """What a generator costs where it is used.

    Attributes:
        parameters: Number of weights.
        gflops: Billions of floating point operations for an HR slice of 256x256 (of 256x256x256 voxels for
            a 3-D generator), of the convolutions only: a multiplication and an addition are two.
    """

    parameters: int
    gflops: float


def inference_cost(generator: Model) -> InferenceCost:
    """The `InferenceCost` of a functional generator.

    Args:
        generator: Functional `keras.Model` for which there is a `models.receptive_field`.

    Raises:
        ConfigError: See `models.receptive_field`.
    """
    from keras_mrisr.models.receptive_field import nodes_in_order, zooms_along

    axes = range(1, len(generator.inputs[0].shape) - 1)
    zooms = [zooms_along(generator, axis) for axis in axes]
    upscaled = math.prod(zoom[id(generator.outputs[0])] for zoom in zooms)
    places = SLICE ** len(axes) / upscaled  # Of the LR input.
    operations = 0
    for node in nodes_in_order(generator):
        kernel = getattr(node.operation, "kernel", None)
        if kernel is not None:
            size = math.prod(zoom[id(node.output_tensors[0])] for zoom in zooms)
            operations += 2 * math.prod(kernel.shape) * size * places
    return InferenceCost(generator.count_params(), float(operations) / 1e9)


def _number(text: str, value: str) -> float:
    factor = _SUFFIXES.get(value[-1:], 1)
    try:
        number = float(value[:-1] if factor > 1 else value) * factor
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"A budget must be a number over 0, such as 200k. Received: {text!r}")
    return number
