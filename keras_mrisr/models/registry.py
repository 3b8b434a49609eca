"""Generators by name. A new one is one file and one line here."""

import inspect

from keras_mrisr.errors import InputError
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.srresnet import srresnet
from keras_mrisr.models.srresnet3d import srresnet3d

GENERATORS = {
    "srresnet": srresnet,
    "edsr": edsr,
    "srresnet3d": srresnet3d,
}
# Of volumes (N, X, Y, Z, C); the others are of slices.
GENERATORS_3D = ("srresnet3d",)


def build_generator(name, scale, channels, neighbours=0, **options):
    """Builds a generator.

    Args:
        name: A key of `GENERATORS`.
        scale: 2, 3, 4 or 8; for a 3-D generator the factors of its axes, such as (1, 1, 2).
        channels: Channels of a slice or volume, in and out.
        neighbours: Adjacent slices on each side that the generator also takes.
        **options: Other arguments of the builder, such as `blocks` and `filters`.

    Returns:
        A functional `keras.Model`.

    Raises:
        InputError: Unknown name or option, or a value out of range.
    """
    check_generator(name, scale, neighbours)
    builder = GENERATORS[name]
    given = ("scale", "channels", "neighbours", "name")
    allowed = [p for p in inspect.signature(builder).parameters if p not in given]
    for key in options:
        if key not in allowed:
            raise InputError(f"Unknown option {key!r} of {name!r}. Allowed: {', '.join(allowed)}.")
    if neighbours:
        options["neighbours"] = neighbours
    return builder(scale=scale, channels=channels, **options)


def check_generator(name, scale, neighbours=0):
    """Raises InputError for a generator that is unknown or not made for such data; builds nothing.

    Args:
        name: A key of `GENERATORS`.
        scale: A number, or the factors of a 3-D generator.
        neighbours: Adjacent slices on each side.
    """
    if name not in GENERATORS:
        raise InputError(f"Unknown generator {name!r}. Known: {', '.join(sorted(GENERATORS))}.")
    if (name in GENERATORS_3D) != isinstance(scale, tuple | list):
        takes = "three factors, such as 1,1,2" if name in GENERATORS_3D else "one number, such as 2"
        raise InputError(f"The generator {name!r} takes a scale of {takes}. Received: scale={scale!r}")
    if neighbours and "neighbours" not in inspect.signature(GENERATORS[name]).parameters:
        raise InputError(f"The generator {name!r} takes no neighbouring slices. Received: {neighbours}")
