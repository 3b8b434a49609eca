"""keras-mrisr: super-resolution of MRI with Keras 3.

Public names are loaded when they are first used, so that `import keras_mrisr` stays quick and works
where Keras is not needed.
"""

import importlib
import os

from keras_mrisr.errors import MrisrError
from keras_mrisr.version import __version__

# onnxruntime 1.29 and later send usage data and write a device id when they are imported; names of files and
# texts of errors are among it. Only this variable, set before the import, prevents that. A user's own counts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_NAMES = {
    "FinetuneConfig": "finetune",
    "OnnxSuperResolver": "export",
    "PSNR": "metrics",
    "PatchDataset": "data.pipeline",
    "RunConfig": "config",
    "SSIM": "metrics",
    "ServingClient": "export",
    "ServingSuperResolver": "export",
    "SuperResolver": "inference",
    "Volume": "volumes",
    "VolumePatches": "data.volume_pairs",
    "build_generator": "models",
    "compare_image": "evaluation",
    "edsr": "models",
    "evaluate_model": "evaluation",
    "evaluate_models": "evaluation",
    "export_model": "export",
    "finetune_features": "finetune",
    "get_degradation": "degrade",
    "load_pairs": "data.pipeline",
    "load_trained": "models.storage",
    "load_volume_pairs": "data.volume_pairs",
    "preset_config": "presets",
    "read_config": "config",
    "read_dataset": "data",
    "read_image": "data",
    "read_volume": "volumes",
    "split_patients": "data",
    "srresnet": "models",
    "srresnet3d": "models",
    "train": "training",
    "interpolate": "degrade",
    "upscale_path": "inference",
    "upscale_volume": "inference",
    "write_image": "data",
    "write_volume": "volumes",
}

__all__ = ["MrisrError", "__version__", *_NAMES]


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__():
    return sorted(__all__)
