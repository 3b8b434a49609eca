"""An ONNX network of slices run by ncnn, whose float32 convolutions are Winograd's on a CPU."""

import pathlib
import tempfile
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from keras_mrisr.errors import ModelError
from keras_mrisr.export.onnx_nodes import attributes

_SAME = ("Transpose", "Cast", "Identity")  # ncnn has no batch axis, is channels-first and float32 here.


class NcnnNetwork:
    """ncnn as `SuperResolver` takes a network.

    Args:
        path: The ONNX file: float32 or half-precision weights, convolutions, ReLU, sums, DepthToSpace and
            edge padding.
        threads: Of the CPU.

    Raises:
        ModelError: The network has an operator that is not translated, or ncnn refuses it.
    """

    def __init__(self, path: pathlib.Path, threads: int) -> None:
        import ncnn

        self._ncnn = ncnn
        layers, weights, self.input, self.output = _translated(onnx.load(path), path)
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(options, f"use_{kind}", False)  # The numbers are those of the other engines.
        with tempfile.TemporaryDirectory() as folder:
            param, model = pathlib.Path(folder, "net.param"), pathlib.Path(folder, "net.bin")
            param.write_text(layers, encoding="ascii")
            model.write_bytes(weights)
            if self.net.load_param(str(param)) != 0 or self.net.load_model(str(model)) != 0:
                raise ModelError(f"{path}: ncnn cannot load this network. Choose another `engine`.")

    def predict_on_batch(self, lr: np.ndarray) -> np.ndarray:
        """(N, H, W, C) float32 -> the SR array."""
        return np.stack([self._slice(one) for one in lr])

    def _slice(self, lr: np.ndarray) -> np.ndarray:
        extractor = self.net.create_extractor()
        planes = np.ascontiguousarray(np.moveaxis(lr, -1, 0))
        extractor.input(self.input, self._ncnn.Mat(planes))
        status, sr = extractor.extract(self.output)
        if status != 0:
            raise ModelError(f"ncnn fails on {lr.shape}. Choose another `engine`.")
        return np.moveaxis(np.array(sr), 0, -1)


def _translated(model: onnx.ModelProto, path: pathlib.Path) -> tuple[str, bytes, str, str]:
    """(network as ncnn's text, its weights, name of the input, name of the output)."""
    graph = _Graph(model)
    lines, weights = [f"Input input 0 1 {graph.source}"], b""
    lines += graph.split(graph.source)
    for node in graph.nodes:
        layer = _LAYERS.get(node.op_type)
        if layer is None:
            raise ModelError(f"{path}: ncnn is not given {node.op_type}. Choose another `engine`.")
        kind, options, stored = layer(node, graph)
        inputs = [graph.take(name) for name in node.input if name and name not in graph.constants]
        words = [kind, node.name.replace(" ", "_"), len(inputs), 1, *inputs, graph.name(node.output[0])]
        lines.append(" ".join(map(str, [*words, *(f"{key}={value}" for key, value in options.items())])))
        lines += graph.split(node.output[0])
        weights += stored
    count = len(graph.users) + sum(users for users in graph.users.values() if users > 1)
    return f"7767517\n{len(lines)} {count}\n" + "\n".join(lines) + "\n", weights, graph.source, graph.result


class _Graph:
    """What of an ONNX graph is computed, and how often each tensor is used, which ncnn wants to know."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self._same: dict[str, str] = {}
        self.nodes = []
        for node in model.graph.node:
            if node.op_type == "Cast" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]].astype("float32")
            elif node.op_type in _SAME:
                self._same[node.output[0]] = node.input[0]
            else:
                self.nodes.append(node)
        output = self.name(model.graph.output[0].name)
        used = [name for node in self.nodes for name in node.input if name and name not in self.constants]
        self.users: dict[str, int] = {}
        for name in [*map(self.name, used), output]:
            self.users[name] = self.users.get(name, 0) + 1
        self._taken: dict[str, int] = {}
        self.source = self.name(model.graph.input[0].name)
        self.result = output if self.users[output] == 1 else f"{output}_{self.users[output] - 1}"

    def name(self, tensor: str) -> str:
        """What a tensor is called that only its layout or type tells from another one."""
        while tensor in self._same:
            tensor = self._same[tensor]
        return tensor

    def take(self, tensor: str) -> str:
        """The next copy of a tensor that several layers use."""
        tensor = self.name(tensor)
        if self.users[tensor] == 1:
            return tensor
        place = self._taken.get(tensor, 0)
        self._taken[tensor] = place + 1
        return f"{tensor}_{place}"

    def split(self, tensor: str) -> list[str]:
        """The layer that copies a tensor for those who use it, where there are several."""
        users = self.users.get(tensor, 0)
        copies = " ".join(f"{tensor}_{place}" for place in range(users))
        return [f"Split {tensor}_split 1 {users} {tensor} {copies}"] if users > 1 else []


Layer = tuple[str, dict[int, Any], bytes]


def _convolution(node: onnx.NodeProto, graph: _Graph) -> Layer:
    weights = graph.constants[node.input[1]].astype("float32")
    bias = graph.constants[node.input[2]].astype("float32") if len(node.input) > 2 else None
    values = attributes(node)
    top, left, bottom, right = values.get("pads", [0] * 4)
    options = {
        0: weights.shape[0], 1: weights.shape[3], 11: weights.shape[2], 4: left, 14: top, 15: right,
        16: bottom, 5: int(bias is not None), 6: weights.size,
    }  # fmt: skip
    kind = "Convolution"
    if values.get("group", 1) > 1:
        kind, options[7] = "ConvolutionDepthWise", values["group"]
    plain = np.uint32(0).tobytes()  # Marks weights that are stored as they are.
    return kind, options, plain + weights.tobytes() + (b"" if bias is None else bias.tobytes())


def _relu(node: onnx.NodeProto, graph: _Graph) -> Layer:
    return "ReLU", {}, b""


def _sum(node: onnx.NodeProto, graph: _Graph) -> Layer:
    return "BinaryOp", {0: 0}, b""


def _depth_to_space(node: onnx.NodeProto, graph: _Graph) -> Layer:
    values = attributes(node)
    depth_first = values.get("mode", b"DCR") == b"DCR"
    return "PixelShuffle", {0: values["blocksize"], 1: int(depth_first)}, b""


def _edge_pad(node: onnx.NodeProto, graph: _Graph) -> Layer:
    pads = graph.constants[node.input[1]].tolist()
    if attributes(node).get("mode") != b"edge":
        raise ModelError(f"ncnn is not given padding other than by the edge ({node.name}).")
    return "Padding", {0: pads[2], 1: pads[6], 2: pads[3], 3: pads[7], 4: 1}, b""


_LAYERS = {
    "Conv": _convolution,
    "Relu": _relu,
    "Add": _sum,
    "DepthToSpace": _depth_to_space,
    "Pad": _edge_pad,
}
