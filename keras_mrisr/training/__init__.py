"""The training recipe, and what it is made of."""

import keras  # noqa: F401  Before any part of the package: see `registration`.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
