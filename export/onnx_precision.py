"""ONNX networks in half precision and in 8-bit integers."""

import contextlib
import io
import logging
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from keras_mrisr.errors import MissingDependencyError, ModelError
from keras_mrisr.export.onnx_file import INPUT
from keras_mrisr.export.onnx_graph import rewrite_for_cpu
from keras_mrisr.export.onnx_nodes import Nodes

# The end of the network adds its details to the upscaled image, and a half-precision number near 1 has
# fewer levels than a 12-bit image: it stays float32, as it does in mixed-precision training. So do the
# phases of `ContentNoise`, of hundreds of radians.
_FLOAT = ("output_", "to_nchw/", "to_nhwc/", "thin_noise/")


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes all but the last layers compute in half precision; input and output stay float32.

    Args:
        model: `onnx.ModelProto` of `onnx_file.convert`; changed in place.

    Returns:
        The model.
    """
    nodes = Nodes(model)
    half = set()  # Tensors in half precision.
    casts = {}

    def cast(tensor: str, kind: int, before: onnx.NodeProto) -> str:
        if (tensor, kind) not in casts:
            name = nodes.free(f"{tensor}_{'half' if kind == TensorProto.FLOAT16 else 'float'}")
            nodes.replace(before, [helper.make_node("Cast", [tensor], [name], name, to=kind), before])
            casts[tensor, kind] = name
        return casts[tensor, kind]

    for node in list(nodes.nodes):
        single = node.name.startswith(_FLOAT)
        for place, name in enumerate(node.input):
            if name in nodes.constants:
                if not single and nodes.constants[name].dtype == np.float32:
                    node.input[place] = nodes.constant(nodes.constants[name].astype("float16"), name)
            elif (name in half) == single and name:
                node.input[place] = cast(name, TensorProto.FLOAT if single else TensorProto.FLOAT16, node)
        if not single:
            half.update(node.output)
    nodes.save()
    onnx.checker.check_model(model, full_check=True)
    return model


def to_int8(model: onnx.ModelProto, slices: Sequence[np.ndarray], symmetric: bool = False) -> onnx.ModelProto:
    """Quantises a network to 8 bits: weights per channel, activations by the range that they have.

    The first convolution and the last layers stay float32: they are a few percent of the work, and their
    rounding would be seen as it is.

    Args:
        model: `onnx.ModelProto` of `onnx_file.convert`.
        slices: Real LR slices (H, W, C) in [0, 1] to calibrate on; a dozen of them is enough.
        symmetric: Signed activations with zero point 0, which TensorRT demands. The default, unsigned with
            any zero point, is what the integer instructions of x86 processors are fast with.

    Returns:
        A new `onnx.ModelProto` in QDQ form (QuantizeLinear and DequantizeLinear around each operator).

    Raises:
        ModelError: The network is one of volumes, or onnxruntime is missing.
    """
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise MissingDependencyError("INT8 needs onnxruntime: pip install onnxruntime") from error
    if not symmetric:  # Besides, there is no PRelu of integers, but there are such convolutions and sums.
        model = onnx.ModelProto.FromString(model.SerializeToString())
        rewrite_for_cpu(model)
    batches = _batches(model, slices)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    kept = [node.name for node in model.graph.node if node.name.startswith(_FLOAT)]
    with tempfile.TemporaryDirectory() as folder, _silence():
        before, after = (pathlib.Path(folder) / name for name in ("float32.onnx", "int8.onnx"))
        onnx.save(model, before)
        quantization.quantize_static(
            before,
            after,
            _Batches(batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Weights of 7 bits: processors without 8-bit dot products (AVX2) add pairs of products in 16 bits
            # and would saturate.
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QInt8 if symmetric else quantization.QuantType.QUInt8,
            nodes_to_exclude=[convolutions[0], *kept],
            # TensorRT takes no 32-bit biases; onnxruntime's integer convolutions take no others.
            extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
        )
        return onnx.load(after)


def _batches(model: onnx.ModelProto, slices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Slices (H, W, C) as batches of one, in the order of axes that a network takes."""
    shape = model.graph.input[0].type.tensor_type.shape.dim
    if len(shape) != 4:
        raise ModelError("INT8 is for networks of slices. Export this network of volumes as float32.")
    batches = [one[np.newaxis] for one in slices]
    if shape[3].dim_param == "width" or shape[1].dim_value == slices[0].shape[-1]:
        batches = [np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) for batch in batches]
    return batches


class _Batches:
    """onnxruntime's calibration reader: hands out one batch after the other."""

    def __init__(self, batches: Iterable[np.ndarray]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """onnxruntime's quantiser prints, and logs advice that does not hold for these graphs."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
