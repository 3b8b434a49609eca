"""An ONNX network run by OpenVINO on a CPU."""

import pathlib

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
        import openvino

        core = openvino.Core()
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


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
