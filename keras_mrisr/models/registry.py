"""Generators by name. A new one is one file and one line here."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from keras_mrisr.checks import check_options, known
from keras_mrisr.errors import ConfigError
from keras_mrisr.factors import factors_of, scale_of
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.srresnet import srresnet
from keras_mrisr.models.srresnet3d import srresnet3d
from keras_mrisr.types import Model

GENERATORS: dict[str, Callable[..., Model]] = {
    "srresnet": srresnet,
    "edsr": edsr,
    "srresnet3d": srresnet3d,
}
# Of volumes (N, X, Y, Z, C); the others are of slices.
GENERATORS_3D = ("srresnet3d",)


def build_generator(
    name: str, scale: int | Sequence[int], channels: int, neighbours: int = 0, **options: Any
) -> Model:
    """Builds a generator.

    Args:
        name: A key of `GENERATORS`.
        scale: 2, 3, 4 or 8, or the factor of each axis, such as (1, 1, 2) for a 3-D generator.
        channels: Channels of a slice or volume, in and out.
        neighbours: Adjacent slices on each side that the generator also takes.
        **options: Other arguments of the builder, such as `blocks` and `filters`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ConfigError: Unknown name or option, or a value out of range.
    """
    check_generator(name, scale, neighbours, **options)
    if neighbours:
        options["neighbours"] = neighbours
    return GENERATORS[name](scale=scale_of(scale), channels=channels, **options)


def check_generator(name: str, scale: int | Sequence[int], neighbours: int = 0, **options: Any) -> None:
    """Raises ConfigError for a generator that is unknown, not made for such data or without such an option.

    Builds nothing, so that the values of the options are not looked at.

    Args:
        name: A key of `GENERATORS`.
        scale: A number, or the factor of each axis.
        neighbours: Adjacent slices on each side.
        **options: Other arguments of the builder.
    """
    known("generator", name, GENERATORS)
    if (name in GENERATORS_3D) != (len(factors_of(scale)) == 3):
        takes = "three factors, such as 1,1,2" if name in GENERATORS_3D else "one number, such as 2"
        raise ConfigError(f"The generator {name!r} takes a scale of {takes}. Received: scale={scale!r}")
    builder = GENERATORS[name]
    if neighbours and "neighbours" not in inspect.signature(builder).parameters:
        raise ConfigError(f"The generator {name!r} takes no neighbouring slices. Received: {neighbours}")
    check_options(name, builder, options, given=("scale", "channels", "neighbours", "name"))
