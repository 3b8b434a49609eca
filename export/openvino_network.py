"""An ONNX network run by OpenVINO on a CPU."""

import pathlib
import sys
from typing import Any

import numpy as np

from keras_mrisr.errors import ModelError


class OpenVinoNetwork:
    """OpenVINO as `SuperResolver` takes a network.

    Args:
        path: The ONNX file, channels-last.
        threads: Of the CPU.

    Raises:
        ModelError: OpenVINO refuses the network.
    """

    def __init__(self, path: pathlib.Path, threads: int) -> None:
        core = _openvino().Core()
        # It computes in bfloat16 by default where the processor has it.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            self._request = core.compile_model(str(path), "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(
                f"{path}: OpenVINO cannot load this network ({_reason(error)}). Choose another `engine`."
            ) from error

    def predict_on_batch(self, lr: np.ndarray) -> np.ndarray:
        """(N, H, W, C) float32 -> the SR array."""
        try:
            results = self._request.infer({0: np.ascontiguousarray(lr)})
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO fails on {lr.shape}: {_reason(error)}. Choose another `engine`."
            ) from error
        return next(iter(results.values())).copy()


def _openvino() -> Any:
    """The package, imported without its telemetry, which writes an identity of the user and sends it."""
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:  # Whoever imported them first decided.
        import openvino

        return openvino
    sys.modules[name] = None  # type: ignore[assignment]  # As if it were not installed.
    try:
        import openvino
    finally:
        del sys.modules[name]
    return openvino


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
