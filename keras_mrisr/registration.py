"""Custom objects that Keras must know to load a model: this package's, and those of a user.

This package's are registered as soon as Keras is imported, before or after it.
"""

import functools
import importlib
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec

from keras_mrisr.errors import ConfigError, ModelError

# The modules of classes that saved models may hold.
_MODULES = ("models", "models.spectral", "models.unet", "losses", "metrics", "training.srgan")
ENTRY_POINTS = "keras_mrisr.layers"  # The group in which other packages name modules that register layers.


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


def import_user_code(modules: Iterable[str]) -> None:
    """Imports modules that register a user's own layers and the like.

    Args:
        modules: Names of modules, which may lie in the working folder, or paths of `.py` files.

    Raises:
        ConfigError: One cannot be imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in modules:
        try:
            _import(name)
        except Exception as error:  # The user's code may raise anything.
            raise ConfigError(
                f"`import`: {name} cannot be imported ({type(error).__name__}: {error}). Give the name of a "
                "module, or the path of a .py file."
            ) from error


def _import(name: str) -> None:
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    path = pathlib.Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


@functools.cache
def load_entry_points() -> None:
    """Imports the modules that installed packages name in the entry point group `ENTRY_POINTS`.

    Raises:
        ModelError: One cannot be imported.
    """
    from importlib.metadata import entry_points

    for one in entry_points(group=ENTRY_POINTS):
        try:
            one.load()
        except Exception as error:
            raise ModelError(
                f"The entry point {one.name} = {one.value} of {ENTRY_POINTS} cannot be loaded "
                f"({type(error).__name__}: {error}). Mend or uninstall the package that has it."
            ) from error
