"""An ONNX network run by OpenVINO on a CPU."""

import functools
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
        precision: "float32", or "bfloat16", which is faster where the processor multiplies in it.

    Raises:
        ModelError: OpenVINO refuses the network, or the processor does not multiply in bfloat16.
    """

    def __init__(self, path: pathlib.Path, threads: int, precision: str = "float32") -> None:
        core = _core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError(
                "`precision` bfloat16: this processor does not multiply in it (it has neither AMX nor "
                "AVX512-BF16). Leave it out."
            )
        settings = {
            # Said in any case: it takes bfloat16 by default where the processor has it.
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
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


@functools.cache
def _core() -> Any:
    """OpenVINO of this process, one and kept.

    Its CPU plugin gives the thread the stack on which signals are handled, and takes it away when it is
    dropped. With several, dropped in another order or thread, Ctrl-C would end in a crash.
    """
    return _openvino().Core()


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
