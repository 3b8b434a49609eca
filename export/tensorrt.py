"""Whether TensorRT takes an exported network, and the commands and configuration to run it there.

TensorRT itself was not run: it needs an NVIDIA GPU. The operators are checked against the documentation of
its ONNX parser, https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md as of TensorRT 10.15, and
their attributes against onnxOpImporters.cpp, onnxOpCheckers.cpp and importerUtils.cpp of the same repository.
"""

import pathlib
from typing import Any

import onnx
from onnx import numpy_helper

from keras_mrisr.export.onnx_nodes import attributes

RECIPES, TRITON = "tensorrt.md", "config.pbtxt"
# Operators with modes that are supported; the first is ONNX's default.
_MODES = {"DepthToSpace": ("DCR", "CRD"), "Pad": ("constant", "edge", "reflect", "wrap")}
_ALWAYS = {
    "Add", "Cast", "Concat", "Gather", "Mul", "PRelu", "Relu", "Reshape", "Shape", "Sin", "Slice",
    "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
_LARGEST_OPSET = 24
# Of a free dimension the smallest, the usual and the largest size; x, y and z are those of volumes.
_SIZES = {"batch": (1, 4, 8), "height": (64, 128, 512), "width": (64, 128, 512)}
_SIZES_3D = {"batch": (1, 1, 1), "x": (32, 96, 192), "y": (32, 96, 192), "z": (16, 32, 64)}


def unsupported(model: onnx.ModelProto) -> list[str]:
    """What TensorRT's parser would refuse.

    Args:
        model: `onnx.ModelProto`.

    Returns:
        List of lines "node (operator): reason"; empty where all is supported.
    """
    constants = {item.name: item for item in model.graph.initializer}
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    problems = [] if opset <= _LARGEST_OPSET else [f"opset {opset} is beyond {_LARGEST_OPSET}"]
    for node in model.graph.node:
        reason = _reason(node, attributes(node), constants)
        if reason:
            problems.append(f"{node.name} ({node.op_type}): {reason}")
    return problems


def _reason(node: onnx.NodeProto, values: dict[str, Any], constants: dict[str, Any]) -> str | None:
    """Why a node is not supported, or None."""
    kind = node.op_type
    if node.domain not in ("", "ai.onnx"):
        return f"it is of {node.domain}, not of ONNX"
    if kind in _ALWAYS:
        return None
    if kind in ("QuantizeLinear", "DequantizeLinear"):
        return _zero_point_reason(constants.get(node.input[2]) if len(node.input) > 2 else None)
    if kind in ("AveragePool", "Conv"):
        return None if len(values["kernel_shape"]) in (2, 3) else "only 2-D and 3-D"
    if kind in _MODES:
        mode = values.get("mode", _MODES[kind][0].encode()).decode()
        return None if mode in _MODES[kind] else f"mode {mode}"
    return "not in the list of supported operators"


def _zero_point_reason(point: Any) -> str | None:
    """Why a zero point of integers is not supported, or None."""
    if point is None:
        return "its zero point is no constant"
    if point.data_type == onnx.TensorProto.UINT8:
        return "activations are unsigned: export with `symmetric`"
    if point.data_type == onnx.TensorProto.INT32:
        return "biases are 32-bit integers: export with `symmetric`"
    return "its zero point is not 0" if numpy_helper.to_array(point).any() else None


def write_recipes(model: onnx.ModelProto, folder: pathlib.Path, values: dict[str, Any]) -> None:
    """Writes `tensorrt.md`, the commands for this network, and Triton's `config.pbtxt`.

    Args:
        model: `onnx.ModelProto` that was exported.
        folder: Where.
        values: Its metadata.
    """
    folder = pathlib.Path(folder)
    (folder / RECIPES).write_text(_recipes(model, values), encoding="utf-8")
    (folder / TRITON).write_text(_triton(model, values), encoding="utf-8")


def _recipes(model: onnx.ModelProto, values: dict[str, Any]) -> str:
    problems = unsupported(model)
    kinds = sorted({node.op_type for node in model.graph.node})
    if problems:
        verdict = "Its parser would refuse:\n\n" + "\n".join(f"- {line}" for line in problems)
    else:
        verdict = f"All {len(model.graph.node)} nodes are supported ({', '.join(kinds)})."
    shapes = _shapes(model)
    profile = [
        f"--{kind}Shapes=lr:" + "x".join(map(str, shape))
        for kind, shape in zip(("min", "opt", "max"), shapes, strict=True)
    ]
    command = " \\\n        ".join(["trtexec --onnx=model.onnx", "--saveEngine=model.plan", *profile])
    usual = ",".join(map(str, shapes[1]))
    return f"""# {values["name"]} on TensorRT

None of this was run: there was no NVIDIA GPU at hand. The nodes were checked one by one against the
documentation of TensorRT's ONNX parser
(https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md, TensorRT 10.15).

{verdict}

Build the engine for the sizes that will come (a profile's min, opt and max; opt is what it is tuned for):

    {command}

- FP16: add `--fp16` to the float32 network; or, where TensorRT shall take the types as they stand in the
  graph (`--stronglyTyped`), export with `--precision float16`: its last layers stay float32.
- INT8: export with `--precision int8 --symmetric --calibration FOLDER` and add `--int8`, or again
  `--stronglyTyped`. The scales stand in the graph (QuantizeLinear, DequantizeLinear): there is no calibration
  cache.
- Compare: `polygraphy run model.onnx --trt --onnxrt --atol 1e-3 --input-shapes lr:[{usual}]`.
  float32 is computed in full there; `trtexec` takes TF32 unless told `--noTF32`.
"""


def _shapes(model: onnx.ModelProto) -> list[list[int]]:
    """The smallest, the usual and the largest shape of the input, as lists."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    sizes = _SIZES if len(dims) == 4 else _SIZES_3D
    return [[dim.dim_value or sizes[dim.dim_param][kind] for dim in dims] for kind in range(3)]


def _triton(model: onnx.ModelProto, values: dict[str, Any]) -> str:
    def tensor(value: onnx.ValueInfoProto) -> str:
        dims = ", ".join(str(dim.dim_value or -1) for dim in value.type.tensor_type.shape.dim[1:])
        return f'{{ name: "{value.name}" data_type: TYPE_FP32 dims: [ {dims} ] }}'

    largest = _shapes(model)[2][0]
    return f"""\
# Triton: REPOSITORY/{values["name"]}/config.pbtxt, with model.onnx in REPOSITORY/{values["name"]}/1/.
# For an engine of trtexec: platform "tensorrt_plan", and model.plan in place of model.onnx.
name: "{values["name"]}"
platform: "onnxruntime_onnx"
max_batch_size: {largest}
input [ {tensor(model.graph.input[0])} ]
output [ {tensor(model.graph.output[0])} ]
# Requests of equal size are merged; wait at most 2 ms for another one.
dynamic_batching {{ max_queue_delay_microseconds: 2000 }}
instance_group [ {{ count: 1 }} ]
"""
