"""From a trained model directory to where it runs; installed as `keras_mrisr.export`."""

import importlib
from typing import Any

_NAMES = {
    "Export": "export",
    "OnnxSuperResolver": "onnx_resolver",
    "ServingClient": "client",
    "ServingSuperResolver": "client",
    "check_parity": "parity",
    "export_model": "export",
}

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the client needs no TensorFlow.
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
