"""Registers custom objects with Keras as soon as Keras is imported, before or after this package."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec

# The modules of classes that saved models may hold.
_MODULES = ("models", "models.spectral", "models.unet", "losses", "metrics", "training.srgan")


def register_with_keras() -> None:
    """Registers now where Keras is imported already; otherwise right after it is."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register() -> None:
    for name in _MODULES:
        importlib.import_module(f"keras_mrisr.{name}")


class _AfterKeras:
    """A finder that finds nothing itself, but sees Keras being imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: types.ModuleType) -> None:
                run(module)
                # Whichever of our modules imports Keras is not whole yet. So packages whose classes are
                # registered import Keras before their parts, and what these need elsewhere does not.
                _register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
