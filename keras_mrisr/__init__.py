"""keras-mrisr: super-resolution of MRI with Keras 3.

Public names and namespaces (`keras_mrisr.models`, `keras_mrisr.losses`, ...) are loaded when they are first
used, so that `import keras_mrisr` stays quick and works where Keras is not needed. `__init__.pyi` lists them.
"""

import os
import pathlib

import lazy_loader

from keras_mrisr.registration import register_with_keras

# onnxruntime 1.29 and later send usage data and write a device id when they are imported; names of files and
# texts of errors are among it. Only this variable, set before the import, prevents that. A user's own counts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# In a checkout that is not installed, `export` and `tuning` stand beside this folder and not in it.
_root = pathlib.Path(__file__).parents[1]
if (_root / "export" / "onnx_graph.py").is_file():
    __path__.append(str(_root))

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# Old public names, which go with the next release.
_OLD = {"upscale_image": "interpolate", "InputError": "MrisrError"}


def __getattr__(name: str) -> object:
    if name in _OLD:
        import warnings

        warnings.warn(f"{name} is now {_OLD[name]}.", DeprecationWarning, stacklevel=2)
        name = _OLD[name]
    return _load(name)


register_with_keras()
