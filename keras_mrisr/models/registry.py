"""Generators by name. A new one is one file and one line here."""

import inspect

from keras_mrisr.errors import InputError
from keras_mrisr.models.edsr import edsr
from keras_mrisr.models.srresnet import srresnet

GENERATORS = {
    "srresnet": srresnet,
    "edsr": edsr,
}


def build_generator(name, scale, channels, **options):
    """Builds a generator.

    Args:
        name: A key of `GENERATORS`.
        scale: 2, 3, 4 or 8.
        channels: Channels of input and output.
        **options: Other arguments of the builder, such as `blocks` and `filters`.

    Returns:
        A functional `keras.Model`.

    Raises:
        InputError: Unknown name or option, or a value out of range.
    """
    if name not in GENERATORS:
        raise InputError(f"Unknown generator {name!r}. Known: {', '.join(sorted(GENERATORS))}.")
    builder = GENERATORS[name]
    allowed = [p for p in inspect.signature(builder).parameters if p not in ("scale", "channels", "name")]
    for key in options:
        if key not in allowed:
            raise InputError(f"Unknown option {key!r} of {name!r}. Allowed: {', '.join(allowed)}.")
    return builder(scale=scale, channels=channels, **options)
