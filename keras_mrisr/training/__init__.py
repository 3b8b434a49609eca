"""The training recipe, and what it is made of."""

import keras  # noqa: F401  Before any part of the package: see `registration`.
import lazy_loader

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name != "Interrupted":
        return _lazy(name)
    import warnings

    warnings.warn("Interrupted is now TrainingInterruptedError.", DeprecationWarning, stacklevel=2)
    return _lazy("TrainingInterruptedError")
