"""Hyperparameter search over the training recipe; installed as `keras_mrisr.tuning`.

Public names are loaded when they are first used: a study can be read without Keras.
"""

import importlib
from typing import Any

_NAMES = {
    "Budget": "budget",
    "GeneratorHyperModel": "hypermodels",
    "Parameter": "space",
    "SRGANHyperModel": "hypermodels",
    "SearchSpace": "space",
    "Study": "study",
    "find_place": "cluster",
    "inference_cost": "budget",
    "read_results": "results",
    "read_study": "study",
    "search": "run",
    "write_study": "study",
}

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
