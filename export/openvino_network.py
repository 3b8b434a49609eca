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
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"{path}: OpenVINO cannot load this network ({reason}). Choose another `engine`."
            ) from error

    def predict_on_batch(self, lr: np.ndarray) -> np.ndarray:
        """(N, H, W, C) float32 -> the SR array."""
        return next(iter(self._request.infer({0: np.ascontiguousarray(lr)}).values())).copy()
